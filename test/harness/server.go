package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/funade/funade/internal/base/serverinfo"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Server is one funade server with its data directory. Its methods are for one goroutine.
type Server struct {
	Data  string
	flags []string

	ports   [3]string // of API, HTTP, HTTPS; kept over restarts
	env     map[string]string
	cmd     *exec.Cmd
	done    chan error
	logFile string
}

// NewServer makes a data directory under dir; nothing runs yet. Flags are further flags of funade server.
func NewServer(dir string, flags ...string) (*Server, error) {
	s := &Server{Data: filepath.Join(dir, "data"), flags: flags, logFile: filepath.Join(dir, "server.log")}
	if err := os.MkdirAll(s.Data, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make data directory: %w", err)
	}
	for i := range s.ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		s.ports[i] = l.Addr().String()
		defer l.Close() // together, so that the three differ
	}
	return s, nil
}

// Setenv gives the server a variable from its next start on; an empty value takes it away.
func (s *Server) Setenv(name, value string) {
	if s.env == nil {
		s.env = map[string]string{}
	}
	s.env[name] = value
}

// Start runs the server and waits until it is healthy.
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(); err != nil {
		return err
	}
	return s.AwaitHealthy(ctx)
}

// Launch runs the server and waits for nothing.
func (s *Server) Launch() error {
	bin, err := Funade()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot start server: %w", err)
	}
	defer log.Close()
	args := append([]string{"server", "--data", s.Data, "--api", s.ports[0], "--http", s.ports[1], "--https", s.ports[2]}, s.flags...)
	s.cmd = exec.Command(bin, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = os.Environ()
	for name, value := range s.env {
		if value != "" {
			s.cmd.Env = append(s.cmd.Env, name+"="+value)
		}
	}
	// A server that outlives its test would keep namespaces alive.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("cannot start server: %w", err)
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(s.cmd, s.done)
	return nil
}

// AwaitEnd waits until the server ends by itself and returns how it did.
func (s *Server) AwaitEnd(ctx context.Context) (ended bool, how error) {
	if s.cmd == nil {
		return true, nil
	}
	select {
	case how = <-s.done:
		s.cmd = nil
		return true, how
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// AwaitHealthy waits until a launched server answers at its health path.
func (s *Server) AwaitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	var last error
	for {
		resp, err := client.Get("http://" + s.ports[0] + "/_funade/health")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		last = err
		select {
		case err := <-s.done:
			s.cmd = nil
			return fmt.Errorf("server ended at once: %v\n%s", err, s.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("server is not healthy in time: %v\n%s", last, s.LogTail())
		case <-time.After(pollEvery):
		}
	}
}

// Running reports whether the server has been started and not stopped.
func (s *Server) Running() bool { return s.cmd != nil }

// PID is the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop ends the server by SIGTERM; its containers go on running.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server by SIGKILL.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("cannot signal server: %w", err)
	}
	select {
	case err := <-s.done:
		s.cmd = nil
		if sig == syscall.SIGTERM && err != nil {
			return fmt.Errorf("server ended badly after SIGTERM: %w\n%s", err, s.LogTail())
		}
		return nil
	case <-time.After(stopTimeout):
		err := s.cmd.Process.Kill()
		return errors.Join(fmt.Errorf("server did not end after %v\n%s", sig, s.LogTail()), err)
	}
}

// Purge stops the server and removes everything that it made.
func (s *Server) Purge(ctx context.Context) error {
	stopErr := s.Stop()
	bin, err := Funade()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Data, "install.json")); err != nil {
		return stopErr // it never came as far as making something
	}
	out, err := exec.CommandContext(ctx, bin, "purge", "--yes", "--data", s.Data).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cannot purge: %w: %s", err, out)
	}
	return errors.Join(stopErr, err)
}

// LogTail is the end of what the server logged.
func (s *Server) LogTail() string {
	data, err := os.ReadFile(s.logFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-8000):])
}

// API is the base URL of the API.
func (s *Server) API() string { return "http://" + s.ports[0] }

// Registry is host:port of the registry.
func (s *Server) Registry() string { return s.ports[0] }

// Info is what the server tells local programs about itself.
func (s *Server) Info() (serverinfo.Info, error) { return serverinfo.Read(s.Data) }

// Env is the environment that funade env sets, as NAME=value.
func (s *Server) Env(ctx context.Context) ([]string, error) {
	bin, err := Funade()
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	script := `eval "$("$1" env --data "$2")" && env`
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", script, "sh", bin, s.Data)
	// Debian's clients come before others that may be installed.
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.Getenv("PATH")}
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot evaluate funade env: %w: %s", err, &stderr)
	}
	var env []string
	for l := range strings.Lines(string(out)) {
		l = strings.TrimSuffix(l, "\n")
		if name, _, _ := strings.Cut(l, "="); strings.HasPrefix(name, "AWS_") || name == "PATH" {
			env = append(env, l)
		}
	}
	return env, nil
}

// Client is an HTTP client that reaches services at the front door by their names and trusts the install's
// authority. It follows no redirects and keeps no connections.
func (s *Server) Client() (*http.Client, error) {
	pem, err := os.ReadFile(filepath.Join(s.Data, "ca", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the install's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("cannot read the install's authority: no certificate")
	}
	return &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
	}, nil
}

// URL completes a ServiceUrl, or keeps what is a URL already.
func (s *Server) URL(hostOrURL string) string {
	if strings.Contains(hostOrURL, "://") {
		return hostOrURL
	}
	host, path, _ := strings.Cut(hostOrURL, "/")
	_, port, _ := net.SplitHostPort(s.ports[2])
	return (&url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}).String() + "/" + path
}

// Get requests a URL and returns status, head and body.
func (s *Server) Get(ctx context.Context, rawURL string) (status int, header http.Header, body string, err error) {
	client, err := s.Client()
	if err != nil {
		return 0, nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(rawURL), nil)
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, resp.Header, string(data), err
}
