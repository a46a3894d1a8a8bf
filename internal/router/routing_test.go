package router

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestTableIsAPlainValue(t *testing.T) {
	in := table(Target{Instance: "i", Interface: "eni-1", Addr: netip.MustParseAddrPort("100.64.0.1:80")})
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Table
	if err := json.Unmarshal(data, &out); err != nil || !reflect.DeepEqual(*in, out) {
		t.Errorf("came back as %+v, %v", out, err)
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"Hello.Test": "hello.test", "hello.test:443": "hello.test", "hello.test.": "hello.test", "hello.test.:80": "hello.test",
		"[::1]:443": "::1", "[::1]": "::1", "::1": "::1", "127.0.0.1:1": "127.0.0.1", "": "",
	} {
		if got := hostName(in); got != want {
			t.Errorf("hostName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRefusalsInWords(t *testing.T) {
	d := openDoor(t, nil)
	d.SetTable(&Table{Version: 7, Routes: []Route{
		{Service: "p", Hosts: []string{"paused.test"}, State: RoutePaused, Targets: []Target{{Instance: "x", Addr: netip.MustParseAddrPort("127.0.0.1:1")}}},
		{Service: "s", Hosts: []string{"starting.test"}, State: RouteStarting},
		{Service: "n", Hosts: []string{"none.test"}, State: RouteServing},
		{Service: "d", Hosts: []string{"none.test", "second.test"}, State: RoutePaused},
	}})
	if d.Version() != 7 {
		t.Errorf("version %d", d.Version())
	}
	for _, h2 := range []bool{false, true} {
		c := clientFor(t, d.https, h2)
		for host, want := range map[string]struct {
			status int
			words  string
			retry  string
		}{
			"unknown.test":  {404, `no service answers at "unknown.test"`, ""},
			"paused.test":   {503, "the service is paused", ""},
			"starting.test": {503, "no healthy instance; the service is starting", "1"},
			"none.test":     {503, "no healthy instance", "1"},
			"second.test":   {503, "the service is paused", ""},
		} {
			res, body := get(t, c, "https://"+host)
			if res.StatusCode != want.status || res.Header.Get("Retry-After") != want.retry || strings.Count(body, "\n") != 1 {
				t.Errorf("%s: %d, Retry-After %q, %q", host, res.StatusCode, res.Header.Get("Retry-After"), body)
			}
			has(t, body, want.words, res.Header.Get("X-Request-Id"))
		}
	}
}

func TestServerNameMustBeInTheTable(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", echoHeaders)
	d.SetTable(table(target))
	for server, want := range map[string]int{"hello.test": 200, "alias.test": 200, "gone.test": 421, "": 200} {
		c := raw(t, d.https, server)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: hello.test\r\n\r\n")
		if got, body := status(t, bufio.NewReader(c)); got != want {
			t.Errorf("server name %q: %d %s", server, got, body)
		}
	}
}

func TestRedirect(t *testing.T) {
	d := openDoor(t, nil)
	d.SetTable(table())
	c := clientFor(t, d.http, false)
	res, _ := get(t, c, "http://Hello.test:8080/a%2fb/c?x=1;y&z=%zz")
	if res.StatusCode != 301 || res.Header.Get("Location") != "https://hello.test:8443/a%2fb/c?x=1;y&z=%zz" {
		t.Errorf("%d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res, _ := get(t, c, "http://evil.test/"); res.StatusCode != 404 || res.Header.Get("Location") != "" {
		t.Errorf("unknown host: %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	inside := listen(t)
	go func() { _ = d.Serve(t.Context(), Front{HTTPSPort: 443, Caller: doorCaller}, inside) }()
	if res, _ := get(t, clientFor(t, inside.Addr().String(), false), "http://alias.test/"); res.Header.Get("Location") != "https://alias.test/" {
		t.Errorf("the door redirects to %s", res.Header.Get("Location"))
	}
	_ = inside.Close()
}

func TestHeaders(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", echoHeaders)
	d.SetTable(table(target))
	for _, h2 := range []bool{false, true} {
		req := request(t, "GET", "https://hello.test/p%2fq?a=1;b=%zz", nil)
		req.Host = "Hello.test:8443"
		for name, value := range map[string]string{
			"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil", "X-Forwarded-Port": "1",
			"Forwarded": "for=6.6.6.6", "X_forwarded_for": "6.6.6.6", "Transfer_encoding": "chunked", "Content_length": "5",
			"X-Request-Id": "bad id", "Custom_name": "kept", "Te": "trailers",
		} {
			req.Header.Set(name, value)
		}
		if !h2 {
			req.Header.Set("Connection", "X-Hop")
			req.Header.Set("X-Hop", "1")
			req.Header.Set("Proxy-Authorization", "secret")
		}
		res, body := do(t, clientFor(t, d.https, h2), req)
		id := res.Header.Get("X-Request-Id")
		_, port, _ := strings.Cut(d.https, ":")
		has(t, body, "GET /p%2fq?a=1;b=%zz\n", "Host: Hello.test:8443\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n",
			"X-Forwarded-Host: Hello.test:8443\r\n", "X-Forwarded-Port: "+port+"\r\n", "X-Request-Id: "+id+"\r\n", "Custom_name: kept\r\n", "Te: trailers\r\n")
		for _, gone := range []string{"6.6.6.6", "gopher", "evil", "encoding: chunked", "Content_length", "bad id", "X-Hop", "secret", "Forwarded: for"} {
			if strings.Contains(strings.ToLower(body), strings.ToLower(gone)) {
				t.Errorf("h2 %v: %q reached the instance:\n%s", h2, gone, body)
			}
		}
		if len(id) != 32 {
			t.Errorf("request id %q", id)
		}
	}
	req := request(t, "GET", "https://hello.test/", nil)
	req.Header.Set("X-Request-Id", "my-id_1.2")
	_, body := do(t, clientFor(t, d.inside, true), req)
	has(t, body, "X-Forwarded-For: "+doorCaller.String()+"\r\n", "X-Request-Id: my-id_1.2\r\n")
}

// Everything here must be answered 400 without a byte reaching the instance; see also package strict.
func TestSmugglingNeverReachesAnInstance(t *testing.T) {
	d := openDoor(t, nil)
	reached := make(chan string, 100)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		reached <- r.RequestURI + " " + string(body)
	})
	d.SetTable(table(target))
	head := "POST /smuggle HTTP/1.1\r\nHost: hello.test\r\n"
	for name, message := range map[string]string{
		"length and encoding": head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: hello.test\r\n\r\n",
		"two equal lengths":   head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		"two lengths":         head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
		"encoding on 1.0":     "POST / HTTP/1.0\r\nHost: hello.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":              head + "X: 1\r\n 2\r\n\r\n",
		"bare line feed":      head + "X: 1\nY: 2\r\n\r\n",
		"version":             "GET / HTTP/1.9\r\nHost: hello.test\r\n\r\n",
		"target's host":       "GET http://other.test/ HTTP/1.1\r\nHost: hello.test\r\n\r\n",
		"xchunked":            head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"encoding with space": head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"CONNECT":             "CONNECT hello.test:443 HTTP/1.1\r\nHost: hello.test:443\r\n\r\n",
	} {
		c := raw(t, d.https, "hello.test")
		_, _ = io.WriteString(c, message)
		if got, body := status(t, bufio.NewReader(c)); got != 400 {
			t.Errorf("%s: %d %s", name, got, body)
		}
	}
	select {
	case what := <-reached:
		t.Errorf("an instance saw %q", what)
	default:
	}
	for name, size := range map[string]string{"0x0": "0x0", "plus": "+0", "overflow": "10000000000000002", "extension": "1;a\nb"} {
		c := raw(t, d.https, "hello.test")
		_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n0\r\n\r\n", head, size)
		if got, body := status(t, bufio.NewReader(c)); got != 400 {
			t.Errorf("chunk size %s: %d %s", name, got, body)
		}
	}
}

func TestHeadTooLarge(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	d.SetTable(table(target))
	for size, want := range map[int]int{60 << 10: 200, 65 << 10: 431, 200 << 10: 431} {
		c := raw(t, d.https, "hello.test")
		go func() {
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: hello.test\r\nX: %s\r\n\r\n", strings.Repeat("x", size))
		}()
		if got, body := status(t, bufio.NewReader(c)); got != want {
			t.Errorf("%d bytes: %d %s", size, got, body)
		}
	}
}

func TestPipelinedRequests(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	})
	d.SetTable(table(target))
	c := raw(t, d.https, "hello.test")
	_, _ = io.WriteString(c, "POST /1 HTTP/1.1\r\nHost: hello.test\r\nContent-Length: 3\r\n\r\none"+
		"POST /2 HTTP/1.1\r\nHost: hello.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"+
		"GET /3 HTTP/1.1\r\nHost: hello.test\r\n\r\n")
	r := bufio.NewReader(c)
	for _, want := range []string{"/1 one", "/2 two", "/3 "} {
		if got, body := status(t, r); got != 200 || body != want {
			t.Errorf("%d %q, want %q", got, body, want)
		}
	}
}

// curl --http1.0 offers no other protocol in its handshake.
func TestOldestProtocol(t *testing.T) {
	d := openDoor(t, nil)
	d.SetTable(table(backend(t, "i-1", echoHeaders)))
	for _, offer := range []string{"http/1.0", "http/1.1"} {
		c, err := tls.Dial("tcp", d.https, &tls.Config{InsecureSkipVerify: true, ServerName: "hello.test", NextProtos: []string{offer}})
		if err != nil {
			t.Errorf("%s: %v", offer, err)
			continue
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.0\r\nHost: hello.test\r\n\r\n")
		if code, _ := status(t, bufio.NewReader(c)); code != http.StatusOK {
			t.Errorf("%s: status %d", offer, code)
		}
	}
}
