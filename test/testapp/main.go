// Command testapp is the application of the stories: its environment says how it behaves, its paths say what it sees.
//
//	LISTEN      port to listen on instead of PORT
//	MESSAGE     what GET / answers
//	EXIT_CODE   end at once with this code, after a line on stderr
//	READY_AFTER wait before listening, such as 2s
//	PING        an address to ping three times before listening; the result is printed
//	TICK        print "line 1", "line 2" … this often, such as 5ms; GET /lines answers the last number
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	lines  atomic.Int64 // printed because of TICK
	asleep atomic.Int64 // requests that /sleep holds
)

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		person(os.Args[1:])
	}
	if code := os.Getenv("EXIT_CODE"); code != "" {
		n, err := strconv.Atoi(code)
		if err != nil {
			log.Fatalf("EXIT_CODE %q is no number", code)
		}
		log.Printf("fatal: the testapp was told to exit with %d", n)
		os.Exit(n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if d, err := time.ParseDuration(os.Getenv("READY_AFTER")); err == nil {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	if to := os.Getenv("PING"); to != "" {
		fmt.Printf("ping %s: %s\n", to, pings(to, 3))
	}
	if d, err := time.ParseDuration(os.Getenv("TICK")); err == nil {
		go tick(ctx, d)
	}
	srv := &http.Server{Addr: ":" + cmp.Or(os.Getenv("LISTEN"), os.Getenv("PORT"), "8080"), Handler: routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	log.Printf("testapp listens on %s", srv.Addr)
	<-ctx.Done()
	log.Print("testapp got SIGTERM")
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		log.Fatal(err)
	}
}

func tick(ctx context.Context, every time.Duration) {
	for t := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fmt.Printf("line %d\n", lines.Load()+1)
			lines.Add(1)
		}
	}
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/lines", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, lines.Load()) })
	mux.HandleFunc("/asleep", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, asleep.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, cmp.Or(os.Getenv("MESSAGE"), "testapp"))
	})
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s=%s\n", r.FormValue("name"), os.Getenv(r.FormValue("name")))
	})
	mux.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.FormValue("text"))
		fmt.Fprintln(w, "logged")
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		_ = r.Header.Write(w) // the client notices a cut answer
		fmt.Fprintf(w, "Host: %s\nRemote: %s\n", r.Host, r.RemoteAddr)
	})
	mux.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asleep.Add(1)
		defer asleep.Add(-1)
		select {
		case <-r.Context().Done():
		case <-time.After(d):
		}
		fmt.Fprintln(w, "slept")
	})
	mux.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			n = 1
		}
		os.Exit(n)
	})
	mux.HandleFunc("/fetch", fetch)
	networkRoutes(mux)
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		name, err := os.Hostname()
		fmt.Fprintln(w, name, err)
	})
	return mux
}

// fetch calls another URL from inside the instance.
func fetch(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, "cannot fetch: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	fmt.Fprintf(w, "fetched %d %s %v\n", resp.StatusCode, body, err)
}
