package ec2

import (
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	control "github.com/funade/funade/internal/control/ec2"
)

// hosts is how private hosts are selected.
var hosts = described[control.HostDetail]{
	id:   func(d control.HostDetail) string { return string(d.ID) },
	tags: func(d control.HostDetail) app.Tags { return d.Tags },
	filters: map[string]func(control.HostDetail) []string{
		"architecture":                                 one(func(d control.HostDetail) string { return string(architecture(d.InstanceType)) }),
		"availability-zone":                            ofPrimary(func(i control.InterfaceDetail) string { return i.Zone }),
		"block-device-mapping.attach-time":             ofDisks(func(v app.Volume) string { return v.AttachedAt.Format(time.RFC3339) }),
		"block-device-mapping.delete-on-termination":   ofDisks(func(v app.Volume) string { return strconv.FormatBool(v.DeleteOnTermination) }),
		"block-device-mapping.device-name":             ofDisks(func(v app.Volume) string { return v.Device }),
		"block-device-mapping.status":                  ofDisks(func(app.Volume) string { return "attached" }),
		"block-device-mapping.volume-id":               ofDisks(func(v app.Volume) string { return string(v.ID) }),
		"client-token":                                 one(func(d control.HostDetail) string { return d.ClientToken }),
		"dns-name":                                     fixed[control.HostDetail](),
		"ebs-optimized":                                flag(func(d control.HostDetail) bool { return d.EBSOptimized }),
		"hibernation-options.configured":               fixed[control.HostDetail]("false"),
		"hypervisor":                                   fixed[control.HostDetail]("xen"),
		"iam-instance-profile.arn":                     one(func(d control.HostDetail) string { return d.ProfileARN }),
		"image-id":                                     one(func(d control.HostDetail) string { return d.Image }),
		"instance-id":                                  one(func(d control.HostDetail) string { return string(d.ID) }),
		"instance-lifecycle":                           fixed[control.HostDetail](),
		"instance-state-code":                          one(func(d control.HostDetail) string { return strconv.Itoa(int(stateCodes[d.State])) }),
		"instance-state-name":                          one(func(d control.HostDetail) string { return string(d.State) }),
		"instance-type":                                one(func(d control.HostDetail) string { return d.InstanceType }),
		"instance.group-id":                            hostGroups(func(g app.SecurityGroup) string { return string(g.ID) }),
		"instance.group-name":                          hostGroups(func(g app.SecurityGroup) string { return g.Name }),
		"ip-address":                                   ofPrimary(publicAddress),
		"key-name":                                     one(func(d control.HostDetail) string { return d.KeyName }),
		"launch-index":                                 one(func(d control.HostDetail) string { return strconv.Itoa(d.LaunchIndex) }),
		"launch-time":                                  one(func(d control.HostDetail) string { return d.LaunchedAt.Format("2006-01-02T15:04:05.000Z") }),
		"metadata-options.http-endpoint":               one(func(d control.HostDetail) string { return d.HTTPEndpoint }),
		"metadata-options.http-put-response-hop-limit": one(func(d control.HostDetail) string { return strconv.Itoa(d.HopLimit) }),
		"metadata-options.http-tokens":                 one(func(d control.HostDetail) string { return d.HTTPTokens }),
		"metadata-options.instance-metadata-tags":      one(func(d control.HostDetail) string { return d.MetadataTags }),
		"monitoring-state":                             one(func(d control.HostDetail) string { return string(monitoringState(d.Host)) }),
		"network-interface.addresses.association.public-ip": ofNICs(publicAddress),
		"network-interface.addresses.primary":               eachNIC(addressPrimaries),
		"network-interface.addresses.private-ip-address": eachNIC(func(i control.InterfaceDetail) (out []string) {
			for _, a := range i.Addresses {
				out = append(out, a.String())
			}
			return out
		}),
		"network-interface.association.public-ip":            ofNICs(publicAddress),
		"network-interface.attachment.attachment-id":         ofNICs(func(i control.InterfaceDetail) string { return i.Attachment.ID }),
		"network-interface.attachment.delete-on-termination": ofNICs(func(i control.InterfaceDetail) string { return strconv.FormatBool(i.Attachment.DeleteOnTermination) }),
		"network-interface.attachment.device-index":          ofNICs(func(i control.InterfaceDetail) string { return strconv.Itoa(i.Attachment.DeviceIndex) }),
		"network-interface.attachment.instance-id":           ofNICs(func(i control.InterfaceDetail) string { return i.Owner }),
		"network-interface.attachment.status":                ofNICs(func(control.InterfaceDetail) string { return "attached" }),
		"network-interface.availability-zone":                ofNICs(func(i control.InterfaceDetail) string { return i.Zone }),
		"network-interface.description":                      ofNICs(func(i control.InterfaceDetail) string { return i.Description }),
		"network-interface.group-id":                         nicGroups(func(g app.SecurityGroup) string { return string(g.ID) }),
		"network-interface.group-name":                       nicGroups(func(g app.SecurityGroup) string { return g.Name }),
		"network-interface.mac-address":                      ofNICs(func(i control.InterfaceDetail) string { return i.MAC }),
		"network-interface.network-interface-id":             ofNICs(func(i control.InterfaceDetail) string { return string(i.ID) }),
		"network-interface.owner-id":                         ofNICs(func(i control.InterfaceDetail) string { return string(i.Scope.Account) }),
		"network-interface.private-dns-name":                 ofNICs(privateName),
		"network-interface.private-ip-address":               ofNICs(privateAddress),
		"network-interface.requester-managed":                ofNICs(func(i control.InterfaceDetail) string { return strconv.FormatBool(managed(i)) }),
		"network-interface.source-dest-check":                ofNICs(func(i control.InterfaceDetail) string { return strconv.FormatBool(i.SourceDestCheck) }),
		"network-interface.status":                           ofNICs(func(control.InterfaceDetail) string { return "in-use" }),
		"network-interface.subnet-id":                        ofNICs(func(i control.InterfaceDetail) string { return string(i.Subnet) }),
		"network-interface.vpc-id":                           ofNICs(func(i control.InterfaceDetail) string { return string(i.VPC) }),
		"owner-id":                                           one(func(d control.HostDetail) string { return string(d.Scope.Account) }),
		"placement-group-name":                               fixed[control.HostDetail](),
		"platform":                                           fixed[control.HostDetail](),
		"platform-details":                                   fixed[control.HostDetail]("Linux/UNIX"),
		"private-dns-name":                                   ofPrimary(privateName),
		"private-ip-address":                                 ofPrimary(privateAddress),
		"product-code":                                       fixed[control.HostDetail](),
		"reason":                                             one(func(d control.HostDetail) string { return transition(d.Host) }),
		"requester-id":                                       fixed[control.HostDetail](),
		"reservation-id":                                     one(func(d control.HostDetail) string { return d.Reservation }),
		"root-device-name":                                   fixed[control.HostDetail](control.RootDevice),
		"root-device-type":                                   fixed[control.HostDetail]("ebs"),
		"source-dest-check":                                  ofPrimary(func(i control.InterfaceDetail) string { return strconv.FormatBool(i.SourceDestCheck) }),
		"spot-instance-request-id":                           fixed[control.HostDetail](),
		"state-reason-code":                                  one(func(d control.HostDetail) string { return d.StateCode }),
		"state-reason-message":                               one(func(d control.HostDetail) string { return d.StateReason }),
		"subnet-id":                                          ofPrimary(func(i control.InterfaceDetail) string { return string(i.Subnet) }),
		"tenancy":                                            fixed[control.HostDetail]("default"),
		"usage-operation":                                    fixed[control.HostDetail]("RunInstances"),
		"virtualization-type":                                fixed[control.HostDetail]("hvm"),
		"vpc-id":                                             ofPrimary(func(i control.InterfaceDetail) string { return string(i.VPC) }),
	},
}

// hostStatuses is how states of private hosts are selected.
var hostStatuses = described[control.HostDetail]{
	id:   hosts.id,
	tags: hosts.tags,
	filters: map[string]func(control.HostDetail) []string{
		"availability-zone":            hosts.filters["availability-zone"],
		"event.code":                   fixed[control.HostDetail](),
		"instance-state-code":          hosts.filters["instance-state-code"],
		"instance-state-name":          hosts.filters["instance-state-name"],
		"instance-status.reachability": one(reachabilityOf),
		"instance-status.status":       one(summaryOf),
		"system-status.reachability":   one(reachabilityOf),
		"system-status.status":         one(summaryOf),
	},
}

func reachabilityOf(d control.HostDetail) string { _, check := healthOf(d); return string(check) }

func summaryOf(d control.HostDetail) string { status, _ := healthOf(d); return string(status) }

func eachNIC(of func(control.InterfaceDetail) []string) func(control.HostDetail) []string {
	return func(d control.HostDetail) (out []string) {
		for _, i := range d.NICs {
			out = append(out, of(i)...)
		}
		return out
	}
}

func ofNICs(of func(control.InterfaceDetail) string) func(control.HostDetail) []string {
	return eachNIC(one(of))
}

func ofPrimary(of func(control.InterfaceDetail) string) func(control.HostDetail) []string {
	return func(d control.HostDetail) []string {
		if len(d.NICs) == 0 {
			return nil
		}
		return one(of)(d.NICs[0])
	}
}

func ofDisks(of func(app.Volume) string) func(control.HostDetail) []string {
	return func(d control.HostDetail) []string { return shapes(d.Disks, of) }
}

func nicGroups(of func(app.SecurityGroup) string) func(control.HostDetail) []string {
	return eachNIC(func(i control.InterfaceDetail) []string { return shapes(i.Groups, of) })
}

// hostGroups are the groups of the primary interface.
func hostGroups(of func(app.SecurityGroup) string) func(control.HostDetail) []string {
	return func(d control.HostDetail) []string {
		if len(d.NICs) == 0 {
			return nil
		}
		return shapes(d.NICs[0].Groups, of)
	}
}

func privateAddress(i control.InterfaceDetail) string { return i.Addresses[0].String() }

func privateName(i control.InterfaceDetail) string {
	return app.PrivateNames(i.Addresses[0], i.Scope.Region)[0]
}

func publicAddress(i control.InterfaceDetail) string {
	if i.Public == nil {
		return ""
	}
	return i.Public.Address.String()
}
