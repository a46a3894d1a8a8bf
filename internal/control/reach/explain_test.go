package reach

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

func (b *bench) explain(in ExplainInput) Explanation {
	b.t.Helper()
	e, err := b.Explain(ctx, scope, in)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// TestStory is the one of the README: a service reaches a private host through its connector, and not the internet.
func TestStory(t *testing.T) {
	b := newBench(t)
	b.putApp()
	e := b.explain(ExplainInput{Source: "service/shop", Destination: "192.168.3.194", Protocol: "icmp"})
	if text := e.String(); !e.Allowed || !strings.HasPrefix(text, "allowed: route local; egress rule "+string(ruleAll)) ||
		!strings.HasSuffix(text, "ingress rule "+string(ruleICMP)+" of "+string(sgPrivate)+" admits members of "+string(sgConnector)) {
		t.Errorf("got %s", text)
	}
	if e.Source != addr("192.168.1.77") || e.Destination != addr("192.168.3.194") || e.Protocol != "icmp" || e.Port != 0 {
		t.Errorf("judged %v to %v, %s/%d", e.Source, e.Destination, e.Protocol, e.Port)
	}
	e = b.explain(ExplainInput{Source: "shop", Destination: "10.9.8.7:443"})
	if e.Allowed || e.String() != "denied: no route: 192.168.1.0/24 has no NAT gateway" || e.Port != 443 || e.Protocol != "tcp" {
		t.Errorf("got %s, %s/%d", e, e.Protocol, e.Port)
	}
	e = b.explain(ExplainInput{Source: "shop", Destination: "192.168.3.194", Port: new(5432)})
	if e.Allowed || !strings.Contains(e.String(), "no rule of "+string(sgPrivate)+" allows tcp/5432 from 192.168.1.77") {
		t.Errorf("got %s", e)
	}
}

func TestSources(t *testing.T) {
	b := newBench(t)
	b.putApp()
	svc := app.Service{ID: serviceApp, Scope: scope, Name: "shop"}
	for _, in := range []ExplainInput{
		{Source: "shop"}, {Source: "service/shop"}, {Source: svc.ARN()}, {Source: string(eniApp)}, {Source: "192.168.1.77", VPC: vpcA},
	} {
		in.Destination, in.Protocol = string(hostA), "icmp"
		if e := b.explain(in); !e.Allowed || e.Source != addr("192.168.1.77") || e.Destination != addr("192.168.3.194") {
			t.Errorf("%+v: %s, from %v to %v", in, e, e.Source, e.Destination)
		}
	}
	// The private host has no egress rule.
	if e := b.explain(ExplainInput{Source: string(hostA), Destination: "ip-192-168-1-77.ec2.internal:80"}); e.Allowed || e.Steps[len(e.Steps)-1].Kind != vpc.StepEgress {
		t.Errorf("got %s", e)
	}
	for name, c := range map[string]struct {
		in    ExplainInput
		kind  app.Kind
		words string
	}{
		"no such service":  {ExplainInput{Source: "service/nope"}, app.KindNotFound, "no service service/nope"},
		"no such host":     {ExplainInput{Source: "i-00000000000000fff"}, app.KindNotFound, "i-00000000000000fff"},
		"no such eni":      {ExplainInput{Source: "eni-00000000000000fff"}, app.KindNotFound, "eni-00000000000000fff"},
		"gone host":        {ExplainInput{Source: string(hostOff)}, app.KindInvalidState, "terminated"},
		"address alone":    {ExplainInput{Source: "192.168.1.77"}, app.KindInvalidRequest, "VpcId"},
		"unknown vpc":      {ExplainInput{Source: "192.168.1.77", VPC: "vpc-x"}, app.KindNotFound, "vpc-x"},
		"nobody's address": {ExplainInput{Source: "192.168.1.78", VPC: vpcA}, app.KindNotFound, "192.168.1.78"},
		"foreign arn":      {ExplainInput{Source: "arn:aws:apprunner:eu-west-1:000000000000:service/shop/" + string(serviceApp)}, app.KindNotFound, "us-east-1"},
		"other arn":        {ExplainInput{Source: "arn:aws:s3:us-east-1:000000000000:bucket"}, app.KindInvalidRequest, "not a service's"},
		"other id":         {ExplainInput{Source: "arn:aws:apprunner:us-east-1:000000000000:service/shop/" + string(servicePlain)}, app.KindNotFound, "no service"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Destination, c.in.Protocol = "192.168.3.194", "icmp"
			_, err := b.Explain(ctx, scope, c.in)
			fails(t, err, c.kind, c.words)
		})
	}
}

func TestDestinationsAndProtocols(t *testing.T) {
	b := newBench(t)
	b.putApp()
	for _, in := range []ExplainInput{
		{Destination: "192.168.3.194", Protocol: "ICMP"}, {Destination: string(eniA), Protocol: "1"}, {Destination: string(hostA), Protocol: "icmp"},
		{Destination: "IP-192-168-3-194.us-east-1.compute.internal", Protocol: "icmp"},
	} {
		in.Source = "shop"
		if e := b.explain(in); !e.Allowed || e.Protocol != "icmp" {
			t.Errorf("%+v: %s by %s", in, e, e.Protocol)
		}
	}
	for name, c := range map[string]struct {
		in    ExplainInput
		words string
	}{
		"no port":        {ExplainInput{Destination: "192.168.3.194"}, "tcp needs a port"},
		"port of icmp":   {ExplainInput{Destination: "192.168.3.194:80", Protocol: "icmp"}, "has no ports"},
		"two ports":      {ExplainInput{Destination: "192.168.3.194:80", Port: new(81)}, "differ"},
		"bad port":       {ExplainInput{Destination: "192.168.3.194:0"}, "HOST:PORT"},
		"large port":     {ExplainInput{Destination: "192.168.3.194", Port: new(65536)}, "65535"},
		"ipv6":           {ExplainInput{Destination: "::1"}, "IPv4"},
		"no such name":   {ExplainInput{Destination: "db.example.com:5432"}, "Give the address"},
		"protocol name":  {ExplainInput{Destination: "192.168.3.194", Protocol: "sctpx"}, "tcp, udp, icmp"},
		"protocol range": {ExplainInput{Destination: "192.168.3.194", Protocol: "256"}, "0 to 255"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Source = "shop"
			_, err := b.Explain(ctx, scope, c.in)
			fails(t, err, app.KindInvalidRequest, c.words)
		})
	}
}

func TestOtherVPC(t *testing.T) {
	b := newBench(t)
	b.putApp()
	// The same address exists in the service's own VPC; the host that was named is another one.
	e := b.explain(ExplainInput{Source: "shop", Destination: string(hostB), Protocol: "icmp"})
	if e.Allowed || !strings.Contains(e.String(), "VPCs never meet") {
		t.Errorf("got %s", e)
	}
}

// TestBeyondTheVPC: what a NAT gateway lets out of a VPC, this machine may not.
func TestBeyondTheVPC(t *testing.T) {
	b := newBench(t, "10.7.0.0/16")
	b.putApp()
	b.update(func(tx *store.Tx) {
		const igw, nat, lan = "igw-00000000000000001", "nat-00000000000000001", "lan-00000000000000001"
		anywhere := netip.MustParsePrefix("0.0.0.0/0")
		store.Control.InternetGateways.Put(tx, app.InternetGateway{ID: igw, Scope: scope, VPC: vpcA})
		store.Control.NATGateways.Put(tx, app.NATGateway{ID: nat, Scope: scope, VPC: vpcA, Subnet: privateNet, Public: true, PrivateIP: addr("192.168.3.9")})
		store.Control.LANs.Put(tx, app.LAN{ID: lan, Scope: scope, VPC: vpcA, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/16")}})
		store.Control.RouteTables.Put(tx, app.RouteTable{
			ID: "rtb-00000000000000003", Scope: scope, VPC: vpcA, Associations: []app.TableAssociation{{ID: "rtbassoc-3", Subnet: privateNet}},
			Routes: []app.Route{{CIDR: anywhere, Kind: app.TargetIGW, Target: igw}},
		})
		store.Control.RouteTables.Put(tx, app.RouteTable{
			ID: "rtb-00000000000000001", Scope: scope, VPC: vpcA, Associations: []app.TableAssociation{{ID: "rtbassoc-1", Subnet: connectorNet}},
			Routes: []app.Route{{CIDR: anywhere, Kind: app.TargetNAT, Target: nat}, {CIDR: netip.MustParsePrefix("10.8.0.0/16"), Kind: app.TargetLAN, Target: lan}},
		})
	})
	for to, want := range map[string]string{
		"198.51.100.7:443": "", "10.7.1.1:443": "", "10.8.1.1:443": "", "100.64.0.3:443": "",
		"10.9.8.7:443":       "this machine lets nothing out to 10.9.8.7: it is private",
		"100.64.0.3:22":      "it is private",
		"10.8.0.1:8080":      "10.8.0.1 is this machine's own address",
		"198.51.100.1:8080":  "198.51.100.1 is this machine's own address",
		"169.254.169.254:80": "this machine lets nothing out to 169.254.169.254: it is its own, link-local or reserved",
	} {
		e := b.explain(ExplainInput{Source: "shop", Destination: to})
		if e.Allowed != (want == "") || !strings.Contains(e.String(), want) {
			t.Errorf("%s: %s", to, e)
		}
	}
}

// TestNoInstance: a service of which nothing runs is judged by its connector.
func TestNoInstance(t *testing.T) {
	b := newBench(t)
	e := b.explain(ExplainInput{Source: "shop", Destination: "192.168.3.194", Protocol: "icmp"})
	if !e.Allowed || e.Source != addr("192.168.1.4") || !strings.Contains(e.String(), "no instance of service shop runs through its connector; judged as one in "+string(connectorNet)) {
		t.Errorf("got %s from %v", e, e.Source)
	}
	if e := b.explain(ExplainInput{Source: "shop", Destination: "192.168.1.4", Protocol: "icmp"}); e.Source != addr("192.168.1.5") {
		t.Errorf("judged as %v sending to itself", e.Source)
	}
	b.update(func(tx *store.Tx) { store.Control.Subnets.Delete(tx, connectorNet) })
	_, err := b.Explain(ctx, scope, ExplainInput{Source: "shop", Destination: "192.168.3.194", Protocol: "icmp"})
	fails(t, err, app.KindInvalidState, "None of the subnets")
	b.update(func(tx *store.Tx) { store.Control.VPCConnectors.Delete(tx, "cccccccccccccccccccccccccccccccc") })
	_, err = b.Explain(ctx, scope, ExplainInput{Source: "shop", Destination: "192.168.3.194", Protocol: "icmp"})
	fails(t, err, app.KindInvalidState, "no longer exists")
}

func TestDefaultEgress(t *testing.T) {
	b := newBench(t, "10.20.0.0/16")
	for to, want := range map[string]string{
		"93.184.216.34":   "allowed: DEFAULT egress reaches public addresses",
		"10.9.8.7":        "denied: DEFAULT egress reaches public addresses only, and 10.9.8.7 is private",
		"10.20.8.7":       "allowed: DEFAULT egress reaches 10.20.0.0/16 of this machine's network",
		"198.51.100.1":    "denied: 198.51.100.1 is this machine's own address",
		"127.0.0.1":       "denied: DEFAULT egress never reaches 127.0.0.1",
		"169.254.169.254": "denied: DEFAULT egress never reaches 169.254.169.254",
		string(hostA):     "denied: DEFAULT egress reaches no VPC, and 192.168.3.194 is in " + string(vpcA),
	} {
		e := b.explain(ExplainInput{Source: "plain", Destination: to, Port: new(443)})
		if !strings.HasPrefix(e.String(), want) || e.Allowed != strings.HasPrefix(want, "allowed") || e.Source.IsValid() {
			t.Errorf("%s: got %s; want %s", to, e, want)
		}
	}
}
