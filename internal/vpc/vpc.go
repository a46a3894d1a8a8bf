// Package vpc says what a data plane for instances must do. Implementations live in
// subpackages; dataplanetest is the suite that each must pass.
package vpc

import (
	"context"
	"net"
	"net/netip"

	"github.com/funade/funade/internal/app"
)

// Interface is the complete desired state of one instance's network. All numbers come from rows;
// a data plane allocates nothing.
type Interface struct {
	ID       app.InterfaceID
	Instance app.InstanceID
	// Index is the slot in the install's managed range, from 0. Address = base + Index, inside the managed prefix.
	Index int
	// UIDBase is the first host uid of the instance's user namespace; 0 = none.
	UIDBase uint32
	// ENIs are its interfaces in a VPC, eth1 and up, the primary one first. Every name and every packet that the instance
	// sends by itself then goes through the VPC; the managed link only answers the router. None = DEFAULT egress.
	ENIs []ENI
}

// ENI is a network interface of a VPC inside an instance.
type ENI struct {
	ID  app.InterfaceID
	VPC app.VPCID
	// Addresses are its private addresses, the primary one first; Subnet is the block that they are in.
	Addresses []netip.Addr
	Subnet    netip.Prefix
	MAC       string
	// Resolvers answer names inside the instance: the VPC's base+2, or what the DHCP options say.
	Resolvers []netip.Addr
}

// Attachment is an interface as it stands in the kernel. It pins the network namespace and, where there is
// one, the user namespace that owns it; an instance joins both by path.
type Attachment struct {
	ID         app.InterfaceID
	NetnsPath  string
	UsernsPath string
	Address    netip.Addr
	// Resolvers answer names inside the instance.
	Resolvers []netip.Addr
}

// Dataplane puts interfaces into the kernel. Every method may be repeated: the same input again changes nothing.
type Dataplane interface {
	// Attach makes the interface with all its rules, before any process lives there. It refuses ENIs that their VPC has not
	// been programmed with.
	Attach(ctx context.Context, i Interface) (Attachment, error)
	// Detach removes it and everything that belongs to it. Unknown ids are fine.
	Detach(ctx context.Context, id app.InterfaceID) error
	// List returns every attachment of this install, also what no row knows.
	List(ctx context.Context) ([]Attachment, error)
	// Program makes the routers and rules of all VPCs those of the ruleset: what no longer appears is removed, with
	// its connections. It changes only what differs from the last call, comparing by pointer (see Ruleset). A VPC that
	// cannot be programmed does not keep the others from it.
	Program(ctx context.Context, r *Ruleset) error
	// Apply installs the install-wide rules and repairs what somebody else flushed or removed, of VPCs too.
	Apply(ctx context.Context, r InstallRules) error
	// Close stops listeners and goroutines; the kernel state stays.
	Close() error
}

// InstallRules is the whole desired install-wide state.
type InstallRules struct {
	// EgressAllow opens private ranges to DEFAULT egress, beside the internet (--default-egress-allow).
	EgressAllow []netip.Prefix
	// DoorNames reports whether the install serves a name; the instance's resolver answers such names with the
	// front door's address inside. Nil = none.
	DoorNames func(name string) bool
}

// Sockets makes sockets inside instances' networks.
type Sockets interface {
	// Dial connects to a TCP port of the instance.
	Dial(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error)
	// ListenDoor listens on the front door's address, where every instance reaches it.
	ListenDoor(ctx context.Context, port int) (net.Listener, error)
	// ListeningPorts returns the TCP ports that something in the instance listens on, sorted.
	ListeningPorts(ctx context.Context, id app.InterfaceID) ([]int, error)
}

// Inside acts in the place of an instance's processes: under its groups and routes, and with its resolvers.
type Inside interface {
	// DialFrom connects by TCP from inside the instance's network namespace.
	DialFrom(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error)
	// LookupFrom returns the IPv4 addresses that the instance's resolvers know for a name.
	LookupFrom(ctx context.Context, id app.InterfaceID, name string) ([]netip.Addr, error)
}
