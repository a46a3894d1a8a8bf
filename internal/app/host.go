package app

import "time"

// HostState is EC2's instance state.
type HostState string

// The states (ec2 model, InstanceStateName).
const (
	HostPending      HostState = "pending"
	HostRunning      HostState = "running"
	HostStopping     HostState = "stopping"
	HostStopped      HostState = "stopped"
	HostShuttingDown HostState = "shutting-down"
	HostTerminated   HostState = "terminated"
)

// Host is what EC2 calls an instance: a private host, a container of an image with network interfaces of a VPC.
// Control is its only writer.
type Host struct {
	ID          HostID
	Scope       Scope
	Reservation string // r-
	LaunchIndex int
	// Image is what the caller wrote, an image reference or an ami- alias; Reference is the image reference that it means.
	Image, Reference string
	// Asked counts the requests for the image: a start after a failure asks anew.
	Asked        int
	InstanceType string
	// CPU (1/1024 of a core) and Memory (MiB) are what the type means.
	CPU, Memory int
	KeyName     string
	State       HostState
	// StateReason is one line for people and its code, as EC2's StateReason.
	StateCode, StateReason string
	// Wanted is running, stopped or terminated.
	Wanted HostState
	// Interfaces are its network interfaces; the first is the primary one.
	Interfaces []InterfaceID
	// Run is the Instance row while it is or should be running; "" = none.
	Run InstanceID
	// UserData is base64 as the caller sent it. Sensitive.
	UserData        string
	ProfileARN      string
	Volumes         []VolumeID
	SourceDestCheck bool
	// Attributes that are kept and shown.
	DisableTermination, DisableStop, EBSOptimized, Monitoring bool
	ShutdownBehavior, CPUCredits                              string
	HTTPTokens, HTTPEndpoint, MetadataTags, HTTPIPv6          string
	HopLimit                                                  int
	ClientToken                                               string
	LaunchedAt, CreatedAt                                     time.Time
	// TerminatedAt is zero until it is terminated; the row then stays for an hour.
	TerminatedAt time.Time
}

// LogGroup returns the key of the host's log group: what it writes, and the stream "events" about it.
func (h *Host) LogGroup() LogGroupKey {
	return LogGroupKey{h.Scope, "/aws/ec2/instance/" + string(h.ID)}
}

// Console is the stream of what its container writes.
func (h *Host) Console() LogStreamKey { return LogStreamKey{h.LogGroup(), "console"} }

// ImageKey is under which the host's image is asked for and answered.
func (h *Host) ImageKey() RevisionKey {
	return RevisionKey{Service: ServiceID(h.ID), Number: RevisionNumber(h.Asked)}
}

// Volume is a folder on this machine that outlives the host it is attached to; control is its only writer.
type Volume struct {
	ID    VolumeID
	Scope Scope
	// Name is the value of the tag funade:volume, unique in its scope; "" = none.
	Name string
	Zone string
	// Host has it, "" = available. The host that is to have it next lists it in its Volumes already.
	Host       HostID
	Device     string
	AttachedAt time.Time
	// DeleteOnTermination: it is removed a while after its host, not never.
	DeleteOnTermination bool
	// DeleteAfter is when an unattached volume is removed; zero = never.
	DeleteAfter time.Time
	// Attributes that are kept and shown.
	Size             int // GiB
	Type             string
	IOPS, Throughput int
	Encrypted        bool
	KMSKey           string
	CreatedAt        time.Time
	// Modification is the last change of the attributes; a zero At = there was none.
	Modification VolumeModification
}

// VolumeSizing is what a modification of a volume can change; the size is in GiB.
type VolumeSizing struct {
	Size             int
	Type             string
	IOPS, Throughput int
}

// VolumeModification is a change of a volume's sizing, complete as soon as it is asked for.
type VolumeModification struct {
	At       time.Time
	From, To VolumeSizing
}
