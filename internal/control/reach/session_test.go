package reach

import (
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

const root = "arn:aws:iam::000000000000:root"

// events returns the lines of the event log.
func (b *bench) events() (out []app.Event) {
	b.t.Helper()
	if err := b.st.View(ctx, func(tx *store.Tx) error {
		for e := range store.Events.All(tx) {
			out = append(out, e)
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func TestSessionOnService(t *testing.T) {
	b := newBench(t)
	b.putApp()
	s, err := b.OpenSession(ctx, scope, SessionInput{Target: "shop", Command: []string{"sh", "-c", `echo "hi"`, ""}, Caller: root})
	if err != nil || s.Instance != instanceApp || s.Interface != "if-"+app.InterfaceID(instanceApp) {
		t.Fatalf("got %+v, %v", s, err)
	}
	s, err = b.OpenSession(ctx, scope, SessionInput{Target: "service/shop", Instance: instanceOld, Host: "db.internal", Port: 5432, Caller: root})
	if err != nil || s.Instance != instanceOld || s.Host != "db.internal" {
		t.Fatalf("got %+v, %v", s, err)
	}
	e := b.events()
	if len(e) != 2 || e[0].Service != serviceApp || e[0].Name != "shop" || e[0].Host != "" || e[0].Target != app.ToEvents || !e[0].At.Equal(began) {
		t.Fatalf("events %+v", e)
	}
	if want := "A session was opened on instance " + string(instanceApp) + " by " + root + `: command sh -c "echo \"hi\"" "".`; e[0].Message != want {
		t.Errorf("told %s\nwant %s", e[0].Message, want)
	}
	if want := "A session was opened on instance " + string(instanceOld) + " by " + root + ": connection to db.internal port 5432."; e[1].Message != want {
		t.Errorf("told %s\nwant %s", e[1].Message, want)
	}
}

func TestSessionOnHost(t *testing.T) {
	b := newBench(t)
	b.putApp()
	s, err := b.OpenSession(ctx, scope, SessionInput{Target: string(hostA), Instance: app.InstanceID(hostA), Command: []string{"psql"}, Caller: root})
	if err != nil || s.Instance != instanceA {
		t.Fatalf("got %+v, %v", s, err)
	}
	// The host's own port, and the host's port from a service of its VPC.
	for _, from := range []string{string(hostA), "shop"} {
		s, err := b.OpenSession(ctx, scope, SessionInput{Target: from, Host: string(hostA), Port: 5432, Caller: root})
		if err != nil || s.Host != "192.168.3.194" {
			t.Errorf("from %s: %+v, %v", from, s, err)
		}
	}
	e := b.events()
	if len(e) != 3 || e[0].Host != hostA || e[0].Service != "" || !strings.Contains(e[0].Message, "on instance "+string(hostA)+" by "+root+": command psql.") {
		t.Errorf("events %+v", e)
	}
}

func TestSessionRefused(t *testing.T) {
	b := newBench(t)
	b.putApp()
	for name, c := range map[string]struct {
		in    SessionInput
		kind  app.Kind
		words string
	}{
		"no such service":  {SessionInput{Target: "nope"}, app.KindNotFound, "no service nope"},
		"nothing runs":     {SessionInput{Target: "plain"}, app.KindInvalidState, "PAUSED"},
		"no such instance": {SessionInput{Target: "shop", Instance: idle}, app.KindNotFound, string(idle)},
		"stopped host":     {SessionInput{Target: string(hostB)}, app.KindInvalidState, "is stopped, not running"},
		"other instance":   {SessionInput{Target: string(hostA), Instance: idle}, app.KindInvalidRequest, "Leave it out"},
		"other vpc":        {SessionInput{Target: "shop", Host: string(hostB), Port: 1}, app.KindInvalidRequest, "no VPC that the source"},
		"no such host":     {SessionInput{Target: "shop", Host: "i-00000000000000fff", Port: 1}, app.KindNotFound, "i-00000000000000fff"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.in.Host == "" {
				c.in.Command = []string{"sh"}
			}
			_, err := b.OpenSession(ctx, scope, c.in)
			fails(t, err, c.kind, c.words)
		})
	}
	if e := b.events(); len(e) != 0 {
		t.Errorf("refused sessions are told: %+v", e)
	}
}

func TestTold(t *testing.T) {
	if text := told([]string{"echo", strings.Repeat("ä", 2000)}); len(text) > maxTold+len("…") || !strings.HasSuffix(text, "…") {
		t.Errorf("%d bytes told, ending in %q", len(text), text[len(text)-5:])
	}
}
