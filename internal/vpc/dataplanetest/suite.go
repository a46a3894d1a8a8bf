// Package dataplanetest is the suite that every data plane must pass.
package dataplanetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// World is one install's kernel, real or not, with the means to act from inside its instances.
type World interface {
	// Layout is the division of the install's managed prefix.
	Layout() vpc.Layout
	// Open starts a data plane over what the world holds; after Close of the last one it adopts what stands. The sockets
	// implement vpc.Inside too.
	Open(t testing.TB) (vpc.Dataplane, vpc.Sockets)
	// Serve runs a TCP server inside the attachment's network until the test ends; it sends greeting on every
	// connection and closes it.
	Serve(t testing.TB, a vpc.Attachment, port int, greeting string)
	// DialDoor connects from inside the attachment's network to the front door.
	DialDoor(t testing.TB, a vpc.Attachment, port int) (net.Conn, error)
}

const patience = 10 * time.Second

// Interface returns an interface for a slot; equal slots have equal ids.
func Interface(index int) vpc.Interface {
	return vpc.Interface{ID: app.InterfaceID(fmt.Sprintf("eni-%017x", 0xabc000+index)), Instance: app.InstanceID(fmt.Sprintf("%032x", index)), Index: index}
}

// Run runs every test of the suite, each in a fresh world.
func Run(t *testing.T, fresh func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		test func(*testing.T, World)
	}{
		{"AttachListDetach", attachListDetach},
		{"AttachAgainChangesNothing", attachAgain},
		{"AttachRefusesBadInput", attachBadInput},
		{"DetachOfUnknownIsFine", detachUnknown},
		{"CancelledContextIsHonoured", cancelled},
		{"DialReachesThePort", dialReaches},
		{"DialFailsWhereNothingIs", dialFails},
		{"PortsAreListed", portsListed},
		{"DoorShowsOneCaller", doorCaller},
		{"RestartAdopts", restartAdopts},
		{"ApplyAgainChangesNothing", applyAgain},
		{"AnAddressMovesOn", addressMovesOn},
		{"PrivateNetwork", privateNetwork},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

func open(t *testing.T, w World) (vpc.Dataplane, vpc.Sockets) {
	t.Helper()
	d, s := w.Open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return d, s
}

func attach(t *testing.T, d vpc.Dataplane, i vpc.Interface) vpc.Attachment {
	t.Helper()
	a, err := d.Attach(t.Context(), i)
	if err != nil {
		t.Fatalf("Attach(%d): %v", i.Index, err)
	}
	return a
}

func list(t *testing.T, d vpc.Dataplane) []vpc.Attachment {
	t.Helper()
	l, err := d.List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	slices.SortFunc(l, func(a, b vpc.Attachment) int { return a.Address.Compare(b.Address) })
	return l
}

func attachListDetach(t *testing.T, w World) {
	d, _ := open(t, w)
	var want []vpc.Attachment
	for index := range 3 {
		a := attach(t, d, Interface(index))
		address, err := w.Layout().Address(index)
		if err != nil {
			t.Fatal(err)
		}
		if a.ID != Interface(index).ID || a.Address != address || !slices.Equal(a.Resolvers, []netip.Addr{w.Layout().Resolver()}) || a.NetnsPath == "" || a.UsernsPath != "" {
			t.Errorf("attachment %d = %+v, want address %v and resolver %v", index, a, address, w.Layout().Resolver())
		}
		want = append(want, a)
	}
	if got := list(t, d); !reflect.DeepEqual(got, want) {
		t.Errorf("List = %+v, want %+v", got, want)
	}
	for _, a := range want {
		if err := d.Detach(t.Context(), a.ID); err != nil {
			t.Errorf("Detach: %v", err)
		}
	}
	if got := list(t, d); len(got) != 0 {
		t.Errorf("List after Detach = %+v, want none", got)
	}
}

func attachAgain(t *testing.T, w World) {
	d, s := open(t, w)
	a := attach(t, d, Interface(5))
	w.Serve(t, a, 8080, "still here")
	if again := attach(t, d, Interface(5)); !reflect.DeepEqual(again, a) {
		t.Errorf("second Attach = %+v, first %+v", again, a)
	}
	if got := list(t, d); len(got) != 1 {
		t.Errorf("List = %+v, want one", got)
	}
	expectGreeting(t, s, a, 8080, "still here")
}

func attachBadInput(t *testing.T, w World) {
	d, _ := open(t, w)
	attach(t, d, Interface(0))
	twice := Interface(1)
	twice.Index = 0
	badID := Interface(2)
	badID.ID = "../eni-1"
	low, high := Interface(3), Interface(4)
	low.Index, high.Index = -1, w.Layout().Slots()
	for name, i := range map[string]vpc.Interface{"index in use": twice, "id": badID, "index below": low, "index above": high} {
		if a, err := d.Attach(t.Context(), i); err == nil {
			t.Errorf("Attach with bad %s = %+v, want an error", name, a)
		}
	}
	if got := list(t, d); len(got) != 1 {
		t.Errorf("List = %+v, want one", got)
	}
}

func detachUnknown(t *testing.T, w World) {
	d, _ := open(t, w)
	if err := d.Detach(t.Context(), Interface(7).ID); err != nil {
		t.Errorf("Detach of an unknown id: %v", err)
	}
	a := attach(t, d, Interface(7))
	for range 2 {
		if err := d.Detach(t.Context(), a.ID); err != nil {
			t.Errorf("Detach: %v", err)
		}
	}
}

func cancelled(t *testing.T, w World) {
	d, s := open(t, w)
	a := attach(t, d, Interface(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Attach(ctx, Interface(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Attach with a cancelled context: %v", err)
	}
	if _, err := s.Dial(ctx, a.ID, netip.AddrPortFrom(a.Address, 8080)); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a cancelled context: %v", err)
	}
	if got := list(t, d); len(got) != 1 {
		t.Errorf("List = %+v, want one", got)
	}
}

// expectGreeting dials the port and compares what it says.
func expectGreeting(t *testing.T, s vpc.Sockets, a vpc.Attachment, port int, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := s.Dial(ctx, a.ID, netip.AddrPortFrom(a.Address, uint16(port)))
	if err != nil {
		t.Errorf("Dial: %v", err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); string(got) != want || err != nil {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
}

func dialReaches(t *testing.T, w World) {
	d, s := open(t, w)
	one, two := attach(t, d, Interface(1)), attach(t, d, Interface(2))
	w.Serve(t, one, 8080, "one")
	w.Serve(t, two, 8080, "two")
	for range 3 {
		expectGreeting(t, s, one, 8080, "one")
		expectGreeting(t, s, two, 8080, "two")
	}
}

func dialFails(t *testing.T, w World) {
	d, s := open(t, w)
	a := attach(t, d, Interface(1))
	other, _ := w.Layout().Address(2)
	for name, c := range map[string]struct {
		id   app.InterfaceID
		addr netip.AddrPort
	}{
		"a port where nothing listens": {a.ID, netip.AddrPortFrom(a.Address, 9)},
		"an unknown interface":         {Interface(2).ID, netip.AddrPortFrom(other, 8080)},
		"somebody else's address":      {a.ID, netip.AddrPortFrom(other, 8080)},
		"an address outside":           {a.ID, netip.MustParseAddrPort("203.0.113.1:80")},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, err := s.Dial(ctx, c.id, c.addr)
		if err == nil {
			conn.Close()
			t.Errorf("Dial to %s succeeded", name)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial to %s took until the deadline", name)
		}
		cancel()
	}
}

func portsListed(t *testing.T, w World) {
	d, s := open(t, w)
	a := attach(t, d, Interface(1))
	if got, err := s.ListeningPorts(t.Context(), a.ID); len(got) != 0 || err != nil {
		t.Errorf("ListeningPorts of an idle instance = %v, %v", got, err)
	}
	w.Serve(t, a, 9000, "")
	w.Serve(t, a, 80, "")
	if got, err := s.ListeningPorts(t.Context(), a.ID); !slices.Equal(got, []int{80, 9000}) || err != nil {
		t.Errorf("ListeningPorts = %v, %v; want 80 and 9000", got, err)
	}
	if got, err := s.ListeningPorts(t.Context(), Interface(2).ID); err == nil {
		t.Errorf("ListeningPorts of an unknown interface = %v, want an error", got)
	}
}

func doorCaller(t *testing.T, w World) {
	d, s := open(t, w)
	for _, port := range []int{80, 443} {
		l, err := s.ListenDoor(t.Context(), port)
		if err != nil {
			t.Fatalf("ListenDoor(%d): %v", port, err)
		}
		defer l.Close()
		for index := range 2 {
			expectCaller(t, w, l, attach(t, d, Interface(index)), port)
		}
	}
}

func expectCaller(t *testing.T, w World, l net.Listener, a vpc.Attachment, port int) {
	t.Helper()
	called := make(chan error, 1)
	go func() {
		c, err := w.DialDoor(t, a, port)
		if err == nil {
			_, err = c.Write([]byte("hello"))
			c.Close()
		}
		called <- err
		if err != nil {
			l.Close() // ends the Accept below
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept: %v (caller: %v)", err, <-called)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("the door read %q, %v", got, err)
	}
	peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || peer.Addr() != w.Layout().DoorCaller() {
		t.Errorf("the door's peer is %v, want %v", c.RemoteAddr(), w.Layout().DoorCaller())
	}
	if err := <-called; err != nil {
		t.Errorf("call of the door: %v", err)
	}
}

func restartAdopts(t *testing.T, w World) {
	d, _ := w.Open(t)
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	a := attach(t, d, Interface(3))
	w.Serve(t, a, 8080, "survivor")
	before := list(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, s := open(t, w)
	if got := list(t, d); !reflect.DeepEqual(got, before) {
		t.Errorf("List after a restart = %+v, before %+v", got, before)
	}
	expectGreeting(t, s, a, 8080, "survivor")
	if again := attach(t, d, Interface(3)); !reflect.DeepEqual(again, a) {
		t.Errorf("Attach after a restart = %+v, before %+v", again, a)
	}
	expectGreeting(t, s, a, 8080, "survivor")
	if err := d.Detach(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
}

func applyAgain(t *testing.T, w World) {
	d, s := open(t, w)
	a := attach(t, d, Interface(0))
	w.Serve(t, a, 8080, "x")
	r := vpc.InstallRules{EgressAllow: []netip.Prefix{netip.MustParsePrefix("192.168.88.0/24"), netip.MustParsePrefix("192.168.88.0/25")}}
	for range 3 {
		if err := d.Apply(t.Context(), r); err != nil {
			t.Fatalf("Apply: %v", err)
		}
		expectGreeting(t, s, a, 8080, "x")
	}
	for _, bad := range []string{"fd00::/8", "127.0.0.0/8", "169.254.169.254/32"} {
		if err := d.Apply(t.Context(), vpc.InstallRules{EgressAllow: []netip.Prefix{netip.MustParsePrefix(bad)}}); err == nil {
			t.Errorf("Apply opened %s", bad)
		}
	}
}

func addressMovesOn(t *testing.T, w World) {
	d, s := open(t, w)
	first := attach(t, d, Interface(0))
	w.Serve(t, first, 8080, "first")
	expectGreeting(t, s, first, 8080, "first")
	if err := d.Detach(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	next := Interface(1)
	next.Index = 0
	second := attach(t, d, next)
	if second.Address != first.Address {
		t.Fatalf("address %v, want %v", second.Address, first.Address)
	}
	w.Serve(t, second, 8080, "second")
	expectGreeting(t, s, second, 8080, "second")
}

// Greet sends greeting on every connection that l accepts and closes it, until l closes.
func Greet(l net.Listener, greeting string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, greeting) // a caller that left misses it
		c.Close()
	}
}
