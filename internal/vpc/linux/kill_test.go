package linux

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

// A process that is to be killed gets its configuration and seed in these.
const (
	victimEnv     = "FUNADE_TEST_VICTIM"
	victimSeedEnv = "FUNADE_TEST_VICTIM_SEED"
)

type victimConfig struct {
	Install         app.InstallID
	RunDir          string
	Prefix, Transit netip.Prefix
	Upstreams       []netip.AddrPort
}

const (
	kills         = 24
	killPatience  = 10 * time.Second
	killedInStart = 4 // every n-th kill comes while the process opens and adopts
)

// killRows are interfaces in a VPC, some of them with a user namespace, and at the end one outside VPCs; variants are
// rulesets that all let the former ping each other. The first variant is the one that is wanted in the end.
func killRows() (rows []vpc.Interface, variants []*vpc.Ruleset) {
	p, beside := newPlan(1), newPlan(2)
	p.group('c', icmpFrom('c'), everything())
	p.group('h', tcpFrom("192.168.1.0/24", 80, 90), nothing())
	p.n.NATs[natA] = &vpc.NAT{ID: natA, Subnet: subnetB}
	p.route(anywhere(vpc.RouteNAT, string(natA)))
	for n, address := range []string{"192.168.1.50", "192.168.3.10", "192.168.1.51", "192.168.3.11"} {
		row := p.port(n, address, 'c', 'h')
		if n == 2 && os.Getenv(privateEnv) == "root" {
			row.UIDBase = 300000
		}
		rows = append(rows, row)
	}
	rows = append(rows, dataplanetest.Interface(len(rows)))
	variants = append(variants, rulesetOf(p))
	p.change()
	p.group('h', tcpFrom("192.168.0.0/16", 22, 5432), icmpFrom('h'))
	variants = append(variants, rulesetOf(p, beside))
	p.change()
	const guarded = app.NetworkACLID("acl-0000000000000000c")
	all := app.ACLEntry{Number: 100, Allow: true, Protocol: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	some := app.ACLEntry{Number: 90, Protocol: unix.IPPROTO_TCP, CIDR: netip.MustParsePrefix("192.168.1.0/24"), FromPort: 22, ToPort: 22}
	p.n.ACLs[guarded] = &vpc.ACL{ID: guarded, Ingress: []app.ACLEntry{some, all}, Egress: []app.ACLEntry{all}}
	p.n.Subnets[subnetB] = &vpc.Subnet{ID: subnetB, CIDR: netip.MustParsePrefix("192.168.3.0/24"), Table: tableA, ACL: guarded}
	variants = append(variants, rulesetOf(p))
	p.change()
	p.route()
	return rows, append(variants, rulesetOf(p))
}

// victim changes the kernel until somebody kills it. It says what it has done: "+n" for an attached row, "-n" for one that
// it is about to attach or detach, "0n" for one that is gone.
func victim() error {
	var given victimConfig
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &given); err != nil {
		return err
	}
	c := Config{Install: given.Install, RunDir: given.RunDir, Prefix: given.Prefix, TransitPrefix: given.Transit, DNSUpstreams: given.Upstreams}
	seed, err := strconv.ParseUint(os.Getenv(victimSeedEnv), 10, 64)
	if err != nil {
		return err
	}
	ctx, r := context.Background(), rand.New(rand.NewPCG(seed, 5))
	rows, variants := killRows()
	d, err := Open(ctx, c)
	if err != nil {
		return err
	}
	if err := d.Program(ctx, variants[0]); err != nil {
		return err
	}
	attached := map[int]bool{}
	list, err := d.List(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		attached[slices.IndexFunc(rows, func(i vpc.Interface) bool { return i.ID == a.ID })] = true
	}
	fmt.Println("ready")
	for {
		n := r.IntN(len(rows))
		switch choice := r.IntN(8); {
		case choice == 0:
			err = d.Apply(ctx, vpc.InstallRules{})
		case choice < 3:
			err = d.Program(ctx, variants[r.IntN(len(variants))])
		case attached[n] && choice < 7:
			fmt.Printf("-%d\n", n)
			err, attached[n] = d.Detach(ctx, rows[n].ID), false
			fmt.Printf("0%d\n", n)
		default: // one that is attached stays promised
			if !attached[n] {
				fmt.Printf("-%d\n", n)
			}
			_, err = d.Attach(ctx, rows[n])
			attached[n] = true
			fmt.Printf("+%d\n", n)
		}
		if err != nil {
			return err
		}
	}
}

// killing is an install whose processes are killed one after the other.
type killing struct {
	*testing.T
	c        Config
	names    names
	rng      *rand.Rand
	rows     []vpc.Interface
	variants []*vpc.Ruleset
	// known says of each row whether it is attached, as far as somebody has promised that.
	known map[int]bool
	// full and empty are what the kernel holds when every row is attached, and none.
	full, empty []string
}

// TestSIGKILLAtAnyMomentIsRepaired kills a process that attaches, detaches, programs and applies. What was promised
// works on, also while no process is there, and the next process makes the rest whole.
func TestSIGKILLAtAnyMomentIsRepaired(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FUNADE_KILL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FUNADE_KILL_SEED=%d repeats the moments", seed)
	k := &killing{T: t, c: freshConfig(t), rng: rand.New(rand.NewPCG(seed, 1)), known: map[int]bool{}}
	k.rows, k.variants = killRows()
	d := openPlane(t, k.c)
	k.names = d.names
	k.programAll(d)
	k.empty = steady(kernelState(t, d.names))
	k.attachAll(d)
	k.full = steady(kernelState(t, d.names))
	d.Close()
	said := 0
	for n := range kills {
		said += k.kill(n%killedInStart == killedInStart-1)
		k.promisesHold("after kill " + strconv.Itoa(n+1))
		k.repair(n + 1)
		if t.Failed() {
			return
		}
	}
	if said < kills {
		t.Errorf("the processes did %d things before they were killed, so little is shown", said)
	}
	k.kill(false) // what is left is purged as it is
}

// steady leaves out what packets make.
func steady(state []string) []string {
	return slices.DeleteFunc(state, func(l string) bool {
		return strings.Contains(l, " flow ") || strings.Contains(l, " element "+flowsSet+" ")
	})
}

// kill starts a process and kills it: somewhere in its start, or at work. It notes what the process has promised.
func (k *killing) kill(starting bool) (said int) {
	k.Helper()
	config, err := json.Marshal(victimConfig{k.c.Install, k.c.RunDir, k.c.Prefix, k.c.TransitPrefix, k.c.DNSUpstreams})
	if err != nil {
		k.Fatal(err)
	}
	var errs strings.Builder
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+string(config), fmt.Sprintf("%s=%d", victimSeedEnv, k.rng.Uint64()))
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		k.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if !starting {
		if line, err := out.ReadString('\n'); line != "ready\n" {
			cmd.Process.Kill()
			cmd.Wait()
			k.Fatalf("the process began with %q, %v: %s", line, err, errs.String())
		}
	}
	<-time.After(time.Duration(k.rng.Int64N(int64(150 * time.Millisecond))))
	if err := cmd.Process.Kill(); err != nil {
		k.Fatal(err)
	}
	all, err := io.ReadAll(out)
	if err != nil {
		k.Fatal(err)
	}
	cmd.Wait() // it says "killed"
	if errs.Len() > 0 {
		k.Fatalf("the process failed by itself: %s", errs.String())
	}
	for line := range strings.Lines(string(all)) {
		line, whole := strings.CutSuffix(line, "\n")
		if line == "ready" || !whole {
			continue
		}
		n, err := strconv.Atoi(line[1:])
		if err != nil {
			k.Fatalf("the process said %q", line)
		}
		switch line[0] {
		case '+':
			k.known[n] = true
		case '-':
			delete(k.known, n)
		case '0':
			k.known[n] = false
		}
		said++
	}
	return said
}

func (k *killing) attachment(n int) vpc.Attachment {
	return vpc.Attachment{ID: k.rows[n].ID, NetnsPath: k.names.netnsPin(k.rows[n].ID)}
}

// promisesHold sends packets between all rows that were promised to be attached, and looks that nothing is left of those
// that were promised to be gone. No process needs to be there for either.
func (k *killing) promisesHold(when string) {
	k.Helper()
	first := -1
	for n := range k.rows {
		promised, ok := k.known[n]
		switch {
		case ok && !promised:
			if path := k.names.netnsPin(k.rows[n].ID); pinned(path) {
				k.Errorf("%s: %s is pinned", when, path)
			}
		case !ok:
		case len(k.rows[n].ENIs) == 0:
			if got := outcomeOf(k.T, k.attachment(n), internet.String()+":80"); got != reached+" as "+wanHost.String() {
				k.Errorf("%s: the internet from row %d: %s", when, n, got)
			}
		case first < 0:
			first = n
		default:
			expectPing(k.T, when+" row "+strconv.Itoa(first), k.attachment(first), k.rows[n].ENIs[0].Addresses[0].String(), answered)
		}
	}
}

func (k *killing) programAll(d *Dataplane) {
	k.Helper()
	if err := d.Program(k.Context(), k.variants[0]); err != nil {
		k.Fatal(err)
	}
	if err := d.Apply(k.Context(), vpc.InstallRules{}); err != nil {
		k.Fatal(err)
	}
}

func (k *killing) attachAll(d *Dataplane) {
	k.Helper()
	for n, row := range k.rows {
		attach(k, d, row)
		k.known[n] = true
	}
}

func (k *killing) detach(d *Dataplane, n int) {
	k.Helper()
	if err := d.Detach(k.Context(), k.rows[n].ID); err != nil {
		k.Fatal(err)
	}
	k.known[n] = false
}

// repair is the next process: it finds what the killed one left, makes it whole, and leaves a part to the one after it.
func (k *killing) repair(n int) {
	k.Helper()
	when := fmt.Sprintf("after kill %d, in the next process,", n)
	d := openPlane(k, k.c)
	defer d.Close()
	list, err := d.List(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	for i, row := range k.rows {
		promised, ok := k.known[i]
		if listed := slices.ContainsFunc(list, func(a vpc.Attachment) bool { return a.ID == row.ID }); ok && listed != promised {
			k.Errorf("%s row %d is listed: %v", when, i, listed)
		}
	}
	for _, a := range list {
		if !slices.ContainsFunc(k.rows, func(i vpc.Interface) bool { return i.ID == a.ID }) {
			k.Errorf("%s %s is listed, which nobody made", when, a.ID)
		}
	}
	k.programAll(d)
	k.promisesHold(when)
	if n%3 == 0 {
		for i := range k.rows {
			k.detach(d, i)
		}
		k.expect(when+" with nothing attached", d, k.empty)
	}
	k.attachAll(d)
	k.expect(when+" with everything attached", d, k.full)
	k.promisesHold(when + " with everything attached")
	if got := outcomeOf(k.T, k.attachment(0), internet.String()+":80"); got != reached+" as "+wanHost.String() {
		k.Errorf("%s the internet through the NAT gateway: %s", when, got)
	}
	for i := range k.rows {
		if k.rng.IntN(2) == 0 {
			k.detach(d, i)
		}
	}
}

func (k *killing) expect(when string, d *Dataplane, want []string) {
	k.Helper()
	expectState(k, when, want, func() []string { return steady(kernelState(k, d.names)) })
}
