package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside runs f on a thread of its own that is in a network namespace and ends with f.
func inside(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	onOwnThread(func() {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("cannot enter network namespace %s: %w", ns.Name(), err)
			return
		}
		done <- f()
	})
	return <-done
}

// onOwnThread starts f on a thread that ends with it: never the process's first one, which cannot end.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f() // never unlocked: the thread dies with the goroutine
			return
		}
		taken := make(chan struct{})
		onOwnThread(func() { // elsewhere, as this thread is locked
			close(taken)
			f()
		})
		<-taken
		runtime.UnlockOSThread()
	}()
}

// pair is two network namespaces between which packets travel; address is the second one's.
type pair struct {
	from, to *os.File
	address  netip.Addr
}

const (
	streamPort  = 7001
	connectPort = 7002
	probePort   = 7003
)

// effort is what a round moved, and what it took: time, and processor time of all threads that took part.
type effort struct {
	amount    float64
	wall, cpu time.Duration
}

func (e effort) perSecond() float64    { return e.amount / e.wall.Seconds() }
func (e effort) perCPUSecond() float64 { return e.amount / e.cpu.Seconds() }

// onCPU binds the calling thread to a processor, as the scheduler's choice of one changes what a round measures.
func onCPU(n int) error {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	var list []int
	for i := range 1024 {
		if allowed.IsSet(i) {
			list = append(list, i)
		}
	}
	one.Set(list[n%len(list)])
	return unix.SchedSetaffinity(0, &one)
}

func threadCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err) // the arguments are constant
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// listen returns a listening socket on every address of a namespace.
func listen(t *testing.T, ns *os.File, port int) int {
	t.Helper()
	fd := -1
	check(t, inside(ns, func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		return errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: port}), unix.Listen(fd, 4096))
	}))
	return fd
}

// dial connects from the calling thread's namespace; it gives up after some seconds.
func dial(to netip.Addr, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_SYNCNT, 2),
		unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4(), Port: port})); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot connect to %v:%d: %w", to, port, err)
	}
	return fd, nil
}

// stream sends over one TCP connection for a while; the amount is bytes. Sender and receiver have a processor each.
func stream(t *testing.T, p pair, duration time.Duration) effort {
	t.Helper()
	listener := listen(t, p.to, streamPort)
	defer unix.Close(listener)
	received := make(chan effort, 1)
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		failed = inside(p.to, func() error { return receive(listener, received) })
	})
	var sent time.Duration
	err := inside(p.from, func() error {
		if err := onCPU(0); err != nil {
			return err
		}
		fd, err := dial(p.address, streamPort)
		if err != nil {
			_ = unix.Shutdown(listener, unix.SHUT_RD) // nobody comes
			return err
		}
		defer unix.Close(fd)
		buffer := make([]byte, 128<<10)
		before := threadCPU()
		for began := time.Now(); time.Since(began) < duration; {
			if _, err := unix.Write(fd, buffer); err != nil {
				return err
			}
		}
		sent = threadCPU() - before
		return nil
	})
	wg.Wait()
	check(t, errors.Join(err, failed))
	out := <-received
	out.cpu += sent
	return out
}

func receive(listener int, done chan<- effort) error {
	if err := onCPU(1); err != nil {
		return err
	}
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var out effort
	buffer := make([]byte, 128<<10)
	before, began := threadCPU(), time.Now()
	for {
		n, err := unix.Read(fd, buffer)
		if err != nil {
			return err
		}
		if n == 0 {
			out.wall, out.cpu = time.Since(began), threadCPU()-before
			done <- out
			return nil
		}
		out.amount += float64(n)
	}
}

// connects opens connections one after the other on each processor for a while, and ends each at once with a reset; the
// amount is connections.
func connects(t *testing.T, p pair, duration time.Duration) effort {
	t.Helper()
	const loops = 2
	listener := listen(t, p.to, connectPort)
	defer unix.Close(listener)
	var mu sync.Mutex
	var out effort
	var clientErr, serverErr error
	took := func(n int, cpu time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		out.amount, out.cpu = out.amount+float64(n), out.cpu+cpu
	}
	var clients, servers sync.WaitGroup
	began := time.Now()
	for n := range loops {
		servers.Go(func() {
			err := inside(p.to, func() error { return acceptLoop(n, listener, took) })
			mu.Lock()
			defer mu.Unlock()
			serverErr = errors.Join(serverErr, err)
		})
		clients.Go(func() {
			err := inside(p.from, func() error { return connectLoop(n, p.address, began.Add(duration), took) })
			mu.Lock()
			defer mu.Unlock()
			clientErr = errors.Join(clientErr, err)
		})
	}
	clients.Wait()
	out.wall = time.Since(began)
	check(t, unix.Shutdown(listener, unix.SHUT_RD)) // wakes those that accept
	servers.Wait()
	check(t, errors.Join(clientErr, serverErr))
	return out
}

func connectLoop(cpu int, to netip.Addr, until time.Time, took func(int, time.Duration)) error {
	if err := onCPU(cpu); err != nil {
		return err
	}
	before, n := threadCPU(), 0
	for ; time.Now().Before(until); n++ {
		fd, err := dial(to, connectPort)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	took(n, threadCPU()-before)
	return nil
}

func acceptLoop(cpu, listener int, took func(int, time.Duration)) error {
	if err := onCPU(cpu + 1); err != nil {
		return err
	}
	before := threadCPU()
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINVAL) { // shut down
			took(0, threadCPU()-before)
			return nil
		}
		if errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
}

// probe sends datagrams that nobody answers, so that each of them is judged as a new flow.
type probe struct {
	t        *testing.T
	from, to int
	tick     *time.Ticker
}

// newProbe opens the sockets of a probe, whose datagrams come from a port of their own.
func newProbe(t *testing.T, p pair) *probe {
	t.Helper()
	out := &probe{t: t, tick: time.NewTicker(250 * time.Microsecond)}
	open := func(ns *os.File, fd *int, f func(int) error) {
		check(t, inside(ns, func() (err error) {
			if *fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
				return err
			}
			return f(*fd)
		}))
	}
	open(p.to, &out.to, func(fd int) error { return unix.Bind(fd, &unix.SockaddrInet4{Port: probePort}) })
	open(p.from, &out.from, func(fd int) error {
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: p.address.As4(), Port: probePort})
	})
	return out
}

func (p *probe) close() {
	p.tick.Stop()
	unix.Close(p.from)
	unix.Close(p.to)
}

// passes sends one datagram and tells whether one has arrived.
func (p *probe) passes() bool {
	p.t.Helper()
	<-p.tick.C
	if _, err := unix.Write(p.from, []byte("probe")); err != nil && !errors.Is(err, unix.EAGAIN) {
		p.t.Fatal(err)
	}
	got := false
	for buffer := make([]byte, 16); ; got = true {
		if _, err := unix.Read(p.to, buffer); err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				p.t.Fatal(err)
			}
			return got
		}
	}
}

const (
	probePatience = 10 * time.Second
	// refusals in a row mean that packets no longer pass, and not that one is late.
	refusals = 20
)

// opens waits until datagrams pass and returns when the first one did.
func (p *probe) opens() time.Time {
	p.t.Helper()
	for deadline := time.Now().Add(probePatience); time.Now().Before(deadline); {
		if p.passes() {
			return time.Now()
		}
	}
	p.t.Fatalf("no datagram passes within %v", probePatience)
	return time.Time{}
}

// closes waits until datagrams no longer pass and returns when the first one was refused.
func (p *probe) closes() time.Time {
	p.t.Helper()
	var first time.Time
	in := 0
	for deadline := time.Now().Add(probePatience); time.Now().Before(deadline); {
		if p.passes() {
			in = 0
			continue
		}
		if in++; in == 1 {
			first = time.Now()
		}
		if in == refusals {
			return first
		}
	}
	p.t.Fatalf("datagrams still pass after %v", probePatience)
	return time.Time{}
}
