package fake_test

import (
	"net"
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
	"github.com/funade/funade/internal/vpc/fake"
)

type world struct{ k *fake.Kernel }

func (w world) Layout() vpc.Layout { return w.k.Layout() }

func (w world) Open(testing.TB) (vpc.Dataplane, vpc.Sockets) {
	d := w.k.Open()
	return d, d
}

func (w world) Serve(t testing.TB, a vpc.Attachment, port int, greeting string) {
	l, err := w.k.Listen(a.ID, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go dataplanetest.Greet(l, greeting)
}

func (w world) DialDoor(t testing.TB, a vpc.Attachment, port int) (net.Conn, error) {
	return w.k.DialDoor(t.Context(), a.ID, port)
}

func TestConformance(t *testing.T) {
	dataplanetest.Run(t, func(*testing.T) dataplanetest.World { return world{fake.NewKernel()} })
}

func TestLeaksAndReboot(t *testing.T) {
	k := fake.NewKernel()
	d := k.Open()
	one, two := dataplanetest.Interface(1), dataplanetest.Interface(2)
	for _, i := range []vpc.Interface{one, two, one} {
		if _, err := d.Attach(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if got := k.Leaks(one.ID); !slices.Equal(got, []app.InterfaceID{two.ID}) {
		t.Errorf("Leaks = %v, want %v", got, two.ID)
	}
	if got := k.Counts(); got.Attached != 2 {
		t.Errorf("Attached = %d, want 2", got.Attached)
	}
	k.Reboot()
	if got := k.Leaks(); len(got) != 0 {
		t.Errorf("Leaks after a reboot = %v", got)
	}
}
