// Package linux is the data plane for instances on Linux: network namespaces,
// veth pairs and nftables rules, all made through netlink; no program is run.
//
// One management namespace per install stands between the instances and the
// host. Every instance has a namespace of its own with one routed /32 link into
// the management namespace. What an instance may reach is decided there; a
// transit link leads from there to the host, which masquerades.
//
// Refused connections end with ICMP's "administratively prohibited". A connecting socket that the kernel answers
// before connect() has let go of it notices at its first retransmission, one second later.
//
//	instance eth0 --- v<eni> [management namespace] up0 --- fn<install>t [host]
//
// A VPC is a namespace too, its router. An interface in a VPC is a routed /32 link into it, whose rules stand before it
// does; the instance's managed link then only answers. What leaves the VPC goes through the management namespace as
// the router's own, and meets the same rules there as an instance's. VPCs never meet, so their blocks may be the same.
//
//	instance eth1 --- v<eni> [router] up0 --- r<vpc> [management namespace]
package linux

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/flowlog"
)

// Config is what an install's data plane needs to know. All of it is constant while namespaces exist.
type Config struct {
	// Install is part of every name that the host can see.
	Install app.InstallID
	// RunDir is the folder for pinned namespaces, on a file system that a reboot empties: /run/funade/<install>.
	RunDir string
	// Prefix is the install's slice of 100.64.0.0/10, /16 to /27.
	Prefix netip.Prefix
	// TransitPrefix is the install's /30 of 100.127.0.0/16 between the host and the management namespace.
	TransitPrefix netip.Prefix
	// DNSUpstreams answer names that the install does not serve; empty follows the host's resolv.conf.
	DNSUpstreams []netip.AddrPort
	// MaxFlows bounds the connections that one instance may have open to the outside at a time; 0 means 4096.
	MaxFlows int
	// RevokedFlows says what happens to connections inside VPCs that the rules no longer allow.
	RevokedFlows RevokedFlows
	// FlowRecords takes the records of VPCs' flow logs; nil = they are not made.
	FlowRecords flowlog.Sink
	Logger      *slog.Logger
}

// RevokedFlows is the fate of established connections that a change of rules would not have let begin.
type RevokedFlows int

// The fates.
const (
	AfterGrace RevokedFlows = iota // cut five seconds after the change, unless another change allows them again
	Now                            // cut with the change
	Keep                           // left alone, as on AWS
)

const (
	defaultMaxFlows = 4096
	maxUpstreams    = 8
)

var (
	installForm   = regexp.MustCompile(`^[0-9a-f]{8}$`)
	interfaceForm = regexp.MustCompile(`^eni-[0-9a-f]{17}$`)
	transitRange  = netip.MustParsePrefix("100.127.0.0/16")
)

// names holds what follows from a Config: every name and address of an install.
type names struct {
	vpc.Layout
	install                  app.InstallID
	runDir                   string
	transit                  netip.Prefix
	hostTransit, mgmtTransit netip.Addr
	maxFlows                 uint32
}

func (c Config) names() (names, error) {
	if !installForm.MatchString(string(c.Install)) {
		return names{}, fmt.Errorf("cannot use install id %q: expected 8 hex digits", c.Install)
	}
	if !filepath.IsAbs(c.RunDir) {
		return names{}, fmt.Errorf("cannot use run folder %q: expected an absolute path", c.RunDir)
	}
	layout, err := vpc.NewLayout(c.Prefix)
	if err != nil {
		return names{}, err
	}
	t := c.TransitPrefix
	if !t.IsValid() || t.Bits() != 30 || t != t.Masked() || !transitRange.Contains(t.Addr()) {
		return names{}, fmt.Errorf("cannot use transit prefix %v: expected a /30 inside %v", t, transitRange)
	}
	if c.Prefix.Overlaps(t) {
		return names{}, fmt.Errorf("cannot use managed prefix %v: it overlaps the transit prefix %v", c.Prefix, t)
	}
	flows := c.MaxFlows
	if flows == 0 {
		flows = defaultMaxFlows
	}
	if flows < 1 || flows > 1<<20 {
		return names{}, fmt.Errorf("cannot use a limit of %d flows: expected 1 to %d", flows, 1<<20)
	}
	if len(c.DNSUpstreams) > maxUpstreams {
		return names{}, fmt.Errorf("cannot use %d DNS upstreams: at most %d", len(c.DNSUpstreams), maxUpstreams)
	}
	for _, u := range c.DNSUpstreams {
		if !u.IsValid() || u.Port() == 0 {
			return names{}, fmt.Errorf("cannot use DNS upstream %v: expected address:port", u)
		}
	}
	host := t.Addr().Next()
	return names{
		Layout: layout, install: c.Install, runDir: c.RunDir,
		transit: t, hostTransit: host, mgmtTransit: host.Next(), maxFlows: uint32(flows),
	}, nil
}

// hostLink is the host's end of the transit link.
func (n names) hostLink() string { return hostLinkPrefix + string(n.install) + "t" }

// hostTable is the install's nftables table in the host's namespace.
func (n names) hostTable() string { return hostTablePrefix + string(n.install) }

// tag marks rules of ours in tables of others.
func (n names) tag() string { return tagPrefix + string(n.install) }

func (n names) netnsDir() string  { return filepath.Join(n.runDir, "netns") }
func (n names) usernsDir() string { return filepath.Join(n.runDir, "userns") }
func (n names) mgmtPin() string   { return filepath.Join(n.netnsDir(), mgmtName) }

func (n names) netnsPin(id app.InterfaceID) string  { return filepath.Join(n.netnsDir(), string(id)) }
func (n names) usernsPin(id app.InterfaceID) string { return filepath.Join(n.usernsDir(), string(id)) }

const (
	mgmtName        = "mgmt"
	mgmtTable       = "funade"
	mgmtUplink      = "up0"
	instanceLink    = "eth0"
	hostLinkPrefix  = "fn"
	hostTablePrefix = "funade_"
	tagPrefix       = "funade "
	// linkPrefix begins the management namespace's ends of instances' links and nothing else there.
	linkPrefix = "v"
)

// linkName is the management end of an interface's link: 15 characters, the most that Linux allows.
// The last fourteen of the id's seventeen random digits tell interfaces apart; the link's alias holds the whole id.
func linkName(id app.InterfaceID) string { return linkPrefix + string(id[7:]) }

func checkInterfaceID(id app.InterfaceID) error {
	if !interfaceForm.MatchString(string(id)) {
		return fmt.Errorf("cannot use interface id %q: expected eni- and 17 hex digits", id)
	}
	return nil
}
