package store

import (
	"fmt"
	"time"

	"github.com/funade/funade/internal/app"
)

// The tables of internal/control, for reading.
var (
	Scopes        = define("scopes", func(r app.ScopeRow) app.Scope { return r.Scope }, scope)
	Services      = define("services", func(r app.Service) app.ServiceID { return r.ID }, text[app.ServiceID])
	Revisions     = define("revisions", func(r app.Revision) app.RevisionKey { return app.RevisionKey{Service: r.Service, Number: r.Number} }, revision)
	Operations    = define("operations", func(r app.Operation) app.OperationID { return r.ID }, text[app.OperationID])
	Events        = define("events", func(r app.Event) int64 { return r.Seq }, number)
	Instances     = define("instances", func(r app.Instance) app.InstanceID { return r.ID }, text[app.InstanceID])
	Interfaces    = define("interfaces", func(r app.Interface) app.InterfaceID { return r.ID }, text[app.InterfaceID])
	ImageRequests = define("image_requests", func(r app.ImageRequest) app.RevisionKey {
		return app.RevisionKey{Service: r.Service, Number: r.Revision}
	}, revision)
	Settings        = define("settings", func(r app.SettingsRow) app.ServiceID { return r.Service }, text[app.ServiceID])
	AutoScalings    = define("auto_scalings", func(r app.AutoScaling) app.ConfigurationKey { return r.Key() }, configuration)
	Observabilities = define("observabilities", func(r app.Observability) app.ConfigurationKey { return r.Key() }, configuration)
	Connections     = define("connections", func(r app.Connection) app.NamedKey { return app.NamedKey{Scope: r.Scope, Name: r.Name} }, named)
	TagSets         = define("tag_sets", func(r app.TagSet) app.Resource { return r.Resource }, text[app.Resource])
	Repositories    = define("repositories", func(r app.Repository) app.RepositoryKey { return r.Key }, repository)
	Manifests       = define("manifests", func(r app.Manifest) app.ManifestKey { return r.Key() }, manifest)
	BlobLinks       = define("blob_links", func(r app.BlobLink) app.BlobKey { return app.BlobKey{Repository: r.Repository, Digest: r.Digest} }, blob)
	LogGroups       = define("log_groups", func(r app.LogGroup) app.LogGroupKey { return r.Key }, logGroup)
	LogStreams      = define("log_streams", func(r app.LogStream) app.LogStreamKey { return r.Key }, logStream)
)

// The tables of internal/converge, for reading.
var (
	InstanceStatuses  = define("instance_statuses", func(r app.InstanceStatus) app.InstanceID { return r.ID }, text[app.InstanceID])
	InstanceHealths   = define("instance_healths", func(r app.InstanceHealth) app.InstanceID { return r.ID }, text[app.InstanceID])
	InterfaceStatuses = define("interface_statuses", func(r app.InterfaceStatus) app.InterfaceID { return r.ID }, text[app.InterfaceID])
	RouteStatuses     = define("route_statuses", func(r app.RouteStatus) app.ServiceID { return r.Service }, text[app.ServiceID])
	ImageStatuses     = define("image_statuses", func(r app.ImageStatus) app.RevisionKey {
		return app.RevisionKey{Service: r.Service, Number: r.Revision}
	}, revision)
	EventCursors = define("event_cursors", func(app.EventCursor) struct{} { return struct{}{} }, func(struct{}) string { return parts("cursor") })
)

// The indexes.
var (
	// ServicesByName finds services that are not DELETED, in the order of their names.
	ServicesByName  = index(Services, named, liveService)
	ServicesByScope = narrow(ServicesByName, scope)
	// ServicesByStatus finds services of a status, DELETED too.
	ServicesByStatus = index(Services, text[app.ServiceStatus], func(s app.Service) string { return parts(string(s.Status)) })
	// ServicesByScaling finds services that are not DELETED by the ARN of their auto scaling configuration.
	ServicesByScaling = index(Services, text[app.Resource], scalingOf)

	RevisionsByService = prefix(Revisions, text[app.ServiceID])
	// OperationsByService finds operations, newest first.
	OperationsByService = index(Operations, text[app.ServiceID], func(o app.Operation) string {
		return parts(string(o.Service), newestFirst(o.StartedAt))
	})
	// OperationsInFlight finds the operations that have not ended.
	OperationsInFlight = index(Operations, func(struct{}) string { return parts("in-flight") }, func(o app.Operation) string {
		if o.Status.Ended() {
			return ""
		}
		return parts("in-flight")
	})
	InstancesByService       = index(Instances, text[app.ServiceID], func(i app.Instance) string { return partsOf(string(i.Service)) })
	InterfacesByInstance     = index(Interfaces, text[app.InstanceID], func(i app.Interface) string { return parts(string(i.Instance)) })
	ImageRequestsByService   = prefix(ImageRequests, text[app.ServiceID])
	AutoScalingsByName       = prefix(AutoScalings, named)
	AutoScalingsByScope      = prefix(AutoScalings, scope)
	ObservabilitiesByName    = prefix(Observabilities, named)
	ObservabilitiesByScope   = prefix(Observabilities, scope)
	ConnectionsByScope       = prefix(Connections, scope)
	RepositoriesByScope      = prefix(Repositories, scope)
	ManifestsByRepository    = prefix(Manifests, repository)
	ManifestsByTag           = indexMany(Manifests, manifestTag, tagsOf)
	BlobLinksByRepository    = prefix(BlobLinks, repository)
	LogGroupsByScope         = prefix(LogGroups, scope)
	LogStreamsByGroup        = prefix(LogStreams, logGroup)
	ManifestTagsByRepository = narrow(ManifestsByTag, repository)
)

// Control holds the writing handles of internal/control; no other package may use it.
var Control = struct {
	Scopes             RWTable[app.Scope, app.ScopeRow]
	Services           RWTable[app.ServiceID, app.Service]
	Revisions          RWTable[app.RevisionKey, app.Revision]
	Operations         RWTable[app.OperationID, app.Operation]
	Events             EventTable
	Instances          RWTable[app.InstanceID, app.Instance]
	Interfaces         RWTable[app.InterfaceID, app.Interface]
	ImageRequests      RWTable[app.RevisionKey, app.ImageRequest]
	Settings           RWTable[app.ServiceID, app.SettingsRow]
	AutoScalings       RWTable[app.ConfigurationKey, app.AutoScaling]
	Observabilities    RWTable[app.ConfigurationKey, app.Observability]
	Connections        RWTable[app.NamedKey, app.Connection]
	TagSets            RWTable[app.Resource, app.TagSet]
	Repositories       RWTable[app.RepositoryKey, app.Repository]
	Manifests          RWTable[app.ManifestKey, app.Manifest]
	BlobLinks          RWTable[app.BlobKey, app.BlobLink]
	LogGroups          RWTable[app.LogGroupKey, app.LogGroup]
	LogStreams         RWTable[app.LogStreamKey, app.LogStream]
	VPCs               RWTable[app.VPCID, app.VPC]
	Subnets            RWTable[app.SubnetID, app.Subnet]
	RouteTables        RWTable[app.RouteTableID, app.RouteTable]
	InternetGateways   RWTable[app.IGWID, app.InternetGateway]
	NATGateways        RWTable[app.NATGatewayID, app.NATGateway]
	ElasticIPs         RWTable[app.AllocationID, app.ElasticIP]
	NetworkACLs        RWTable[app.NetworkACLID, app.NetworkACL]
	SecurityGroups     RWTable[app.GroupID, app.SecurityGroup]
	SecurityGroupRules RWTable[app.RuleID, app.SecurityGroupRule]
	PrefixLists        RWTable[app.PrefixListID, app.PrefixList]
	NetworkInterfaces  RWTable[app.InterfaceID, app.NetworkInterface]
	DHCPOptionSets     RWTable[app.DHCPOptionsID, app.DHCPOptions]
	Endpoints          RWTable[app.EndpointID, app.Endpoint]
	FlowLogs           RWTable[app.FlowLogID, app.FlowLog]
	KeyPairs           RWTable[app.KeyPairID, app.KeyPair]
	VPCConnectors      RWTable[app.VPCConnectorID, app.VPCConnector]
	LANs               RWTable[app.LANID, app.LAN]
	Hosts              RWTable[app.HostID, app.Host]
	Volumes            RWTable[app.VolumeID, app.Volume]
}{
	rw(Scopes), rw(Services), rw(Revisions), rw(Operations), EventTable{rw(Events)}, rw(Instances), rw(Interfaces),
	rw(ImageRequests), rw(Settings), rw(AutoScalings), rw(Observabilities), rw(Connections), rw(TagSets),
	rw(Repositories), rw(Manifests), rw(BlobLinks), rw(LogGroups), rw(LogStreams),
	rw(VPCs), rw(Subnets), rw(RouteTables), rw(InternetGateways), rw(NATGateways), rw(ElasticIPs), rw(NetworkACLs), rw(SecurityGroups), rw(SecurityGroupRules), rw(PrefixLists), rw(NetworkInterfaces), rw(DHCPOptionSets), rw(Endpoints), rw(FlowLogs), rw(KeyPairs), rw(VPCConnectors), rw(LANs), rw(Hosts), rw(Volumes),
}

// Observed holds the writing handles of internal/converge; no other package may use it.
var Observed = struct {
	InstanceStatuses  RWTable[app.InstanceID, app.InstanceStatus]
	InstanceHealths   RWTable[app.InstanceID, app.InstanceHealth]
	InterfaceStatuses RWTable[app.InterfaceID, app.InterfaceStatus]
	RouteStatuses     RWTable[app.ServiceID, app.RouteStatus]
	ImageStatuses     RWTable[app.RevisionKey, app.ImageStatus]
	EventCursors      RWTable[struct{}, app.EventCursor]
	VPCStatuses       RWTable[app.VPCID, app.VPCStatus]
}{rw(InstanceStatuses), rw(InstanceHealths), rw(InterfaceStatuses), rw(RouteStatuses), rw(ImageStatuses), rw(EventCursors), rw(VPCStatuses)}

// schema lists every table; the order is that of the snapshots.
var schema = numbered(
	Scopes.def, Services.def, Revisions.def, Operations.def, Events.def, Instances.def, Interfaces.def, ImageRequests.def,
	Settings.def, AutoScalings.def, Observabilities.def, Connections.def, TagSets.def, Repositories.def, Manifests.def,
	BlobLinks.def, LogGroups.def, LogStreams.def,
	InstanceStatuses.def, InstanceHealths.def, InterfaceStatuses.def, RouteStatuses.def, ImageStatuses.def, EventCursors.def,
	VPCs.def, Subnets.def, RouteTables.def, InternetGateways.def, NATGateways.def, ElasticIPs.def, NetworkACLs.def, SecurityGroups.def, SecurityGroupRules.def, PrefixLists.def, NetworkInterfaces.def, DHCPOptionSets.def, Endpoints.def, FlowLogs.def, KeyPairs.def, VPCConnectors.def, LANs.def, Hosts.def, Volumes.def, VPCStatuses.def,
)

// EventTable is the events' writing handle.
type EventTable struct{ RWTable[int64, app.Event] }

// Append writes an event with the next sequence number.
func (t EventTable) Append(tx *Tx, e app.Event) {
	last, _ := t.Last(tx)
	e.Seq = last.Seq + 1
	t.Put(tx, e)
}

func numbered(defs ...*definition) []*definition {
	for n, d := range defs {
		d.slot = n
	}
	return defs
}

func rw[K, T any](t Table[K, T]) RWTable[K, T] { return RWTable[K, T]{t} }

func text[S ~string](s S) string { return parts(string(s)) }

// number encodes so that the order of the texts is the order of the numbers, for n >= 0.
func number(n int64) string { return parts(fmt.Sprintf("%016x", n)) }

func newestFirst(t time.Time) string { return fmt.Sprintf("%016x", ^uint64(t.UnixNano())) }

func scope(s app.Scope) string { return parts(string(s.Account), string(s.Region)) }

func named(k app.NamedKey) string { return scope(k.Scope) + parts(k.Name) }

func revision(k app.RevisionKey) string { return parts(string(k.Service)) + number(int64(k.Number)) }

func configuration(k app.ConfigurationKey) string {
	return scope(k.Scope) + parts(k.Name) + number(int64(k.Revision))
}

func repository(k app.RepositoryKey) string { return scope(k.Scope) + parts(k.Name) }

func manifest(k app.ManifestKey) string { return repository(k.Repository) + parts(string(k.Digest)) }

func blob(k app.BlobKey) string { return repository(k.Repository) + parts(string(k.Digest)) }

func manifestTag(k app.ManifestTag) string { return repository(k.Repository) + parts(k.Tag) }

func logGroup(k app.LogGroupKey) string { return scope(k.Scope) + parts(k.Name) }

func logStream(k app.LogStreamKey) string { return logGroup(k.Group) + parts(k.Stream) }

func liveService(s app.Service) string {
	if s.Status == app.ServiceDeleted {
		return ""
	}
	return named(app.NamedKey{Scope: s.Scope, Name: s.Name})
}

func scalingOf(s app.Service) string {
	if s.Status == app.ServiceDeleted {
		return ""
	}
	return parts(s.Config.ScalingARN)
}

func tagsOf(m app.Manifest) []string {
	values := make([]string, len(m.Tags))
	for n, tag := range m.Tags {
		values[n] = manifestTag(app.ManifestTag{Repository: m.Repository, Tag: tag})
	}
	return values
}
