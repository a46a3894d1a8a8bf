package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	protocol "github.com/funade/funade/internal/session"
)

func TestExplain(t *testing.T) {
	d := newDouble(t)
	d.answer("ExplainConnectivity", object{"Allowed": true, "Summary": "allowed: route local; ingress rule sgr-1 of sg-a admits members of sg-b", "DestinationAddress": "192.168.3.194",
		"Protocol": "icmp", "Steps": []object{{"Kind": "route", "Allowed": true, "Text": "route local", "ResourceId": "rtb-1"}, {"Kind": "ingress", "Allowed": true, "Text": "ingress rule sgr-1"}}})
	code, out, _ := run(t, "explain", "--from", "service/app", "--to", "192.168.3.194", "--protocol", "icmp")
	if code != 0 || out != "allowed: route local; ingress rule sgr-1 of sg-a admits members of sg-b\n" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if in := d.input("ExplainConnectivity"); in["Source"] != "service/app" || in["Destination"] != "192.168.3.194" || in["Protocol"] != "icmp" || in["VpcId"] != nil {
		t.Errorf("input %v", in)
	}
	if code, out, _ := run(t, "explain", "--from", "service/app", "--to", "192.168.3.194", "--steps"); code != 0 || !strings.Contains(out, "route     yes      rtb-1     route local") {
		t.Errorf("exit code %d, steps\n%s", code, out)
	}
	d.answer("ExplainConnectivity", object{"Allowed": false, "Summary": "denied: no route: 192.168.1.0/24 has no NAT gateway", "Steps": []object{}})
	code, out, errOut := run(t, "explain", "--from", "service/app", "--to", "10.9.8.7:443", "--json")
	if code != 1 || !strings.Contains(out, `"allowed": false`) || !strings.Contains(out, "no NAT gateway") || errOut != "" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errOut)
	}
	d.answer("ExplainConnectivity", refusal{"ResourceNotFoundException", "There is no service nope."})
	code, out, errOut = run(t, "explain", "--from", "service/nope", "--to", "10.9.8.7:443")
	if code != 2 || out != "" || !strings.Contains(errOut, "There is no service nope.") {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errOut)
	}
	if code, _, _ := run(t, "explain", "--from", "app"); code != 2 {
		t.Errorf("without --to: exit code %d", code)
	}
}

func TestVPC(t *testing.T) {
	d := newDouble(t)
	lan := object{"NetworkId": "lan-1", "VpcId": "vpc-1", "Via": "192.168.1.20", "Cidrs": []string{"192.168.50.0/24", "192.168.51.0/24"}}
	d.answer("AttachNetwork", object{"Network": lan})
	code, out, errOut := run(t, "vpc", "attach", "--vpc", "vpc-1", "--cidr", "192.168.50.0/24", "--cidr", "192.168.51.0/24", "--via", "192.168.1.20")
	if code != 0 || out != "lan-1\n" || !strings.Contains(errOut, "create-route") {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errOut)
	}
	if in := d.input("AttachNetwork"); in["VpcId"] != "vpc-1" || in["Via"] != "192.168.1.20" || len(in["Cidrs"].([]any)) != 2 || in["Interface"] != nil {
		t.Errorf("input %v", in)
	}
	for _, args := range [][]string{{}, {"--cidr", "10.0.0.0/24"}, {"--via", "192.168.1.20"}, {"--cidr", "10.0.0.0/24", "--via", "192.168.1.20", "--interface", "eth1"}} {
		if code, _, errOut := run(t, append([]string{"vpc", "attach", "--vpc", "vpc-1"}, args...)...); code != 2 || !strings.Contains(errOut, "either --interface NAME or --via ADDRESS") {
			t.Errorf("%v: exit code %d, errors %q", args, code, errOut)
		}
	}
	d.answer("ListNetworks", object{"Networks": []object{lan}})
	if code, out, _ := run(t, "vpc", "list", "--vpc", "vpc-1"); code != 0 || !strings.Contains(out, "lan-1") || !strings.Contains(out, "192.168.50.0/24,192.168.51.0/24") {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if code, out, _ := run(t, "vpc", "list", "--json"); code != 0 || !strings.Contains(out, `"via": "192.168.1.20"`) {
		t.Errorf("exit code %d, output %q", code, out)
	}
	d.answer("DetachNetwork", object{})
	if code, out, _ := run(t, "vpc", "detach", "lan-1"); code != 0 || out != "lan-1 is detached.\n" || d.input("DetachNetwork")["NetworkId"] != "lan-1" {
		t.Errorf("exit code %d, output %q", code, out)
	}
}

// command answers like a process: it echoes its input in upper case, complains and exits with 7.
func command(c *protocol.Conn) {
	var in bytes.Buffer
	for {
		k, p, err := c.Receive()
		if err != nil {
			return
		}
		if k == protocol.Input && len(p) == 0 {
			break
		}
		in.Write(p)
	}
	_, _ = fmt.Fprint(c.Writer(protocol.Output), strings.ToUpper(in.String()))
	_, _ = fmt.Fprint(c.Writer(protocol.Errors), "alas")
	_ = c.SendExit(7)
	_, _, _ = c.Receive() // until the client closes
}

// program runs the program with an input.
func program(ctx context.Context, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	p := &Program{Version: "test", Stdin: stdin, Stdout: &out, Stderr: &errOut}
	code = p.Run(ctx, args)
	return code, out.String(), errOut.String()
}

func TestExec(t *testing.T) {
	d := newDouble(t)
	d.withSessions(command)
	code, out, errOut := program(t.Context(), strings.NewReader("hello"), "exec", "-u", "app", "--instance", "i1", "shop", "--", "sh", "-c", "cat; exit 7")
	if code != 7 || out != "HELLO" || errOut != "alas" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errOut)
	}
	in := d.input("CreateSession")
	if words, _ := in["Command"].([]any); in["Target"] != "shop" || in["Kind"] != "exec" || in["User"] != "app" || in["InstanceId"] != "i1" || in["Terminal"] != nil ||
		fmt.Sprint(words) != "[sh -c cat; exit 7]" {
		t.Errorf("input %v", in)
	}
}

func TestExecFails(t *testing.T) {
	d := newDouble(t)
	if code, _, errOut := program(t.Context(), strings.NewReader(""), "exec", "shop"); code != 2 || !strings.Contains(errOut, "COMMAND") && !strings.Contains(errOut, "command") {
		t.Errorf("without a command: exit code %d, errors %q", code, errOut)
	}
	d.answer("CreateSession", refusal{"InvalidStateException", "No instance of the service shop runs; its status is PAUSED."})
	if code, _, errOut := program(t.Context(), strings.NewReader(""), "exec", "shop", "--", "sh"); code != 1 || !strings.Contains(errOut, "PAUSED") {
		t.Errorf("exit code %d, errors %q", code, errOut)
	}
	d.withSessions(func(c *protocol.Conn) {
		_ = c.SendFailure(errors.New(`the command "zsh" does not exist in the instance`))
		_, _, _ = c.Receive()
	})
	if code, _, errOut := program(t.Context(), strings.NewReader(""), "exec", "shop", "--", "zsh"); code != 1 || !strings.Contains(errOut, "zsh") {
		t.Errorf("exit code %d, errors %q", code, errOut)
	}
	d.withSessions(func(*protocol.Conn) {})
	if code, _, errOut := program(t.Context(), strings.NewReader(""), "exec", "shop", "--", "sh"); code != 1 || !strings.Contains(errOut, "the session was lost") {
		t.Errorf("exit code %d, errors %q", code, errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.withSessions(func(c *protocol.Conn) { cancel(); _, _, _ = c.Receive(); _, _, _ = c.Receive() })
	if code, _, errOut := program(ctx, strings.NewReader(""), "exec", "shop", "--", "sleep", "1000"); code != 130 || !strings.Contains(errOut, "killed") {
		t.Errorf("interrupted: exit code %d, errors %q", code, errOut)
	}
}

// TestExecTerminal: keys arrive as they are typed, sizes too, and the terminal's mode comes back.
func TestExecTerminal(t *testing.T) {
	master, slave := pty(t)
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 90, Row: 33}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TERM", "xterm-test")
	d := newDouble(t)
	d.withSessions(func(c *protocol.Conn) {
		k, p, err := c.Receive()
		if err != nil || k != protocol.Input || !bytes.Equal(p, []byte{3}) { // ^C is a key like any other
			t.Errorf("kind %d, %q, %v", k, p, err)
		}
		_ = c.SendExit(0)
		_, _, _ = c.Receive()
	})
	go func() {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
			if mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err == nil && mode.Lflag&unix.ISIG == 0 {
				break
			}
		}
		_, _ = master.Write([]byte{3})
	}()
	code, _, errOut := program(t.Context(), slave, "exec", "shop", "sh")
	if code != 0 {
		t.Errorf("exit code %d, errors %q", code, errOut)
	}
	if in := d.input("CreateSession"); in["Terminal"] != true || in["TerminalType"] != "xterm-test" || in["Width"] != 90.0 || in["Height"] != 33.0 {
		t.Errorf("input %v", in)
	}
	if after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal's mode is %+v, %v; it was %+v", after, err, before)
	}
}

// pty makes a pseudo terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestForwardArguments(t *testing.T) {
	newDouble(t)
	for _, args := range [][]string{
		{"forward", "5432:10.0.1.10:5432"}, {"forward", "--from", "shop", "5432:10.0.1.10"}, {"forward", "--from", "shop", "x:10.0.1.10:5432"},
		{"forward", "--from", "shop", "5432:10.0.1.10:0"}, {"forward", "--from", "shop", "5432::5432"}, {"forward", "--from", "shop", "5432:10.0.1.10:99999"},
	} {
		if code, _, errOut := program(t.Context(), strings.NewReader(""), args...); code != 2 || !strings.Contains(errOut, "--from") && !strings.Contains(errOut, "LOCALPORT:HOST:PORT") {
			t.Errorf("%v: exit code %d, errors %q", args, code, errOut)
		}
	}
	c := forwardCmd{Spec: "0:i-0123456789abcdef0:5432"}
	if local, host, port, err := c.parse(); err != nil || local != "0" || host != "i-0123456789abcdef0" || port != 5432 || c.From != host {
		t.Errorf("%s %s %d from %s, %v", local, host, port, c.From, err)
	}
}

// said is an output that a test waits for.
type said chan string

func (s said) Write(p []byte) (int, error) { s <- string(p); return len(p), nil }

func TestForward(t *testing.T) {
	d := newDouble(t)
	d.withSessions(func(c *protocol.Conn) {
		k, p, err := c.Receive()
		if err != nil || k != protocol.Input {
			t.Errorf("kind %d, %v", k, err)
			return
		}
		if bytes.Equal(p, []byte("fail")) {
			_ = c.SendFailure(errors.New("cannot connect to 10.0.1.10:5432: timed out"))
			_, _, _ = c.Receive()
			return
		}
		fmt.Fprintf(c.Writer(protocol.Output), "you said %s", p)
		_ = c.End(protocol.Output)
		for k != protocol.Input || len(p) != 0 { // our direction ends first, the client's afterwards
			if k, p, err = c.Receive(); err != nil {
				t.Error(err)
				return
			}
		}
		_ = c.SendExit(0)
		_, _, _ = c.Receive()
	})
	ctx, cancel := context.WithCancel(t.Context())
	out, errOut, ended := make(said, 8), make(said, 8), make(chan int)
	p := &Program{Version: "test", Stdin: strings.NewReader(""), Stdout: out, Stderr: errOut}
	go func() { ended <- p.Run(ctx, []string{"forward", "--from", "shop", "0:10.0.1.10:5432"}) }()
	first := <-out
	address := strings.Fields(first)[1]
	if !strings.HasPrefix(address, "127.0.0.1:") || !strings.Contains(first, "to 10.0.1.10:5432 from inside shop") {
		t.Fatalf("output %q", first)
	}
	dial := func() *net.TCPConn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn.(*net.TCPConn)
	}
	conn := dial()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || string(text) != "you said hello" {
		t.Errorf("answer %q, %v", text, err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Errorf("the client's direction: %v", err)
	}
	if in := d.input("CreateSession"); in["Kind"] != "forward" || in["Target"] != "shop" || in["Host"] != "10.0.1.10" || in["Port"] != 5432.0 {
		t.Errorf("input %v", in)
	}
	conn = dial()
	if _, err := io.WriteString(conn, "fail"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("a failed connection ends like one that was closed")
	}
	if text := <-errOut; !strings.Contains(text, "timed out") {
		t.Errorf("errors %q", text)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestHelpNamesTheVerbs(t *testing.T) {
	code, out, _ := run(t, "--help")
	missing := slices.DeleteFunc([]string{"exec", "forward", "explain", "vpc attach", "vpc detach", "vpc list"}, func(verb string) bool { return strings.Contains(out, verb) })
	if code != 0 || len(missing) > 0 {
		t.Errorf("exit code %d, help lacks %v:\n%s", code, missing, out)
	}
}
