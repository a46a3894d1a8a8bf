package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// networkRoutes answer what the instance can reach. Each answers 200 with words, whether it worked or not.
//
//	/ping?to=ADDRESS       "3 of 3 answered" (ICMP echo, 1 s each)
//	/dial?to=HOST:PORT     "connected from ADDRESS to ADDRESS", "timeout" or the error (2 s)
//	/lookup?name=NAME      the addresses, or the error
//	/addresses             the interfaces' addresses
func networkRoutes(mux *http.ServeMux) {
	mux.HandleFunc("/ping", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, pings(r.FormValue("to"), 3)) })
	mux.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, dial(r.FormValue("to"))) })
	mux.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", r.FormValue("name"))
		fmt.Fprintln(w, addrs, err)
	})
	mux.HandleFunc("/addresses", func(w http.ResponseWriter, _ *http.Request) {
		addrs, err := net.InterfaceAddrs()
		fmt.Fprintln(w, addrs, err)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("name")
		if text := r.FormValue("write"); text != "" {
			fmt.Fprintln(w, os.WriteFile(name, []byte(text), 0o644))
			return
		}
		b, err := os.ReadFile(name)
		fmt.Fprintln(w, string(b), err)
	})
}

// dial connects and says what came of it.
func dial(to string) string {
	conn, err := net.DialTimeout("tcp4", to, 2*time.Second)
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case err != nil:
		return err.Error()
	}
	defer conn.Close()
	return fmt.Sprintf("connected from %v to %v", conn.LocalAddr(), conn.RemoteAddr())
}

// pings sends echo requests over an unprivileged ICMP socket and counts the answers.
func pings(to string, n int) string {
	a, err := netip.ParseAddr(to)
	if err != nil || !a.Is4() {
		return fmt.Sprintf("%q is no IPv4 address", to)
	}
	answered := 0
	for seq := range n {
		ok, err := ping(a, uint16(seq+1))
		if err != nil {
			return err.Error()
		}
		if ok {
			answered++
		}
	}
	return fmt.Sprintf("%d of %d answered", answered, n)
}

func ping(to netip.Addr, seq uint16) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	wait := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return false, os.NewSyscallError("setsockopt", err)
	}
	echo := []byte{8, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(echo[6:], seq)
	if err := unix.Sendto(fd, echo, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return false, nil // refused aloud: no route
	}
	answer := make([]byte, 64)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	return err == nil && n >= 8 && answer[0] == 0 && binary.BigEndian.Uint16(answer[6:]) == seq, nil
}
