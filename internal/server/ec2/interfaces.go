package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// amazon is who EC2 names as the owner of what it attaches itself.
const amazon = "amazon-aws"

// CreateNetworkInterface makes a network interface.
func (h *Handler) CreateNetworkInterface(ctx context.Context, in *api.CreateNetworkInterfaceInput) (*api.CreateNetworkInterfaceOutput, error) {
	err := onlyIPv4([]parameter{
		{"Ipv6AddressCount", member.Value(in.Ipv6AddressCount) > 0, false}, {"Ipv6Addresses", len(in.Ipv6Addresses) > 0, false}, {"EnablePrimaryIpv6", member.Value(in.EnablePrimaryIpv6), false},
		{"Ipv6Prefixes", len(in.Ipv6Prefixes) > 0, false}, {"Ipv6PrefixCount", member.Value(in.Ipv6PrefixCount) > 0, false},
	})
	if err != nil {
		return nil, err
	}
	if err := noPrefixes(len(in.Ipv4Prefixes), in.Ipv4PrefixCount); err != nil {
		return nil, err
	}
	if in.InterfaceType != "" {
		return nil, invalid("InterfaceType " + string(in.InterfaceType) + " cannot be had: leave it out for a plain interface")
	}
	if in.ConnectionTrackingSpecification != nil {
		return nil, noTracking()
	}
	wanted, count, err := wantedAddresses(in)
	if err != nil {
		return nil, err
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeNetworkInterface)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	i, err := h.control.CreateInterface(ctx, caller.Scope(ctx), control.CreateInterfaceInput{
		Subnet: app.SubnetID(*in.SubnetId), Addresses: wanted, Count: count, Groups: groupIDs(in.Groups), Description: member.Value(in.Description),
		ClientToken: member.Value(in.ClientToken), Tags: tags[api.ResourceTypeNetworkInterface],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateNetworkInterfaceOutput{NetworkInterface: new(interfaceShape(i)), ClientToken: in.ClientToken}, nil
}

func noPrefixes(given int, count *int32) error {
	if given > 0 || member.Value(count) > 0 {
		return invalid("Ipv4Prefixes and Ipv4PrefixCount cannot be given: interfaces have single addresses here. Give PrivateIpAddresses or SecondaryPrivateIpAddressCount")
	}
	return nil
}

func noTracking() error {
	return invalid("ConnectionTrackingSpecification cannot be given: the kernel's own time-outs apply to every interface. Leave it out")
}

// wantedAddresses reads the addresses of a new interface, the primary one first, and how many there are to be in all.
func wantedAddresses(in *api.CreateNetworkInterfaceInput) (wanted []netip.Addr, count int, err error) {
	more := int(member.Value(in.SecondaryPrivateIpAddressCount))
	primary, err := address("PrivateIpAddress", in.PrivateIpAddress)
	if err != nil {
		return nil, 0, err
	}
	for _, spec := range in.PrivateIpAddresses {
		a, err := address("PrivateIpAddresses", spec.PrivateIpAddress)
		switch {
		case err != nil:
			return nil, 0, err
		case !a.IsValid():
			return nil, 0, invalid("PrivateIpAddresses holds an element without PrivateIpAddress: give the address, or SecondaryPrivateIpAddressCount")
		case !member.Value(spec.Primary):
			wanted = append(wanted, a)
		case primary.IsValid() && primary != a:
			return nil, 0, invalid("Only one primary private IP address can be specified: " + primary.String() + " and " + a.String() + " were given")
		default:
			primary = a
		}
	}
	if len(wanted) > 0 && more > 0 {
		return nil, 0, invalid("Secondary PrivateIpAddresses and SecondaryPrivateIpAddressCount cannot both be given: leave one out")
	}
	if primary.IsValid() {
		wanted = append([]netip.Addr{primary}, slices.DeleteFunc(wanted, func(a netip.Addr) bool { return a == primary })...)
	}
	return wanted, max(len(wanted), 1) + more, nil
}

// ofElastic makes a filter of the Elastic IPs of an interface.
func ofElastic(of func(app.ElasticIP) string) func(control.InterfaceDetail) []string {
	return func(i control.InterfaceDetail) []string { return shapes(i.Elastic, of) }
}

// ofAttachment makes a filter of an interface's attachment, "" = it has none.
func ofAttachment(of func(*api.NetworkInterfaceAttachment) string) func(control.InterfaceDetail) []string {
	return one(func(i control.InterfaceDetail) string {
		if a := attachmentShape(i); a != nil {
			return of(a)
		}
		return ""
	})
}

var publicFilter = ofElastic(func(e app.ElasticIP) string { return e.Address.String() })

// networkInterfaces is how network interfaces are selected.
var networkInterfaces = described[control.InterfaceDetail]{
	id:   func(i control.InterfaceDetail) string { return string(i.ID) },
	tags: func(i control.InterfaceDetail) app.Tags { return i.Tags },
	filters: map[string]func(control.InterfaceDetail) []string{
		"addresses.association.owner-id":   ofElastic(func(e app.ElasticIP) string { return string(e.Scope.Account) }),
		"addresses.association.public-ip":  publicFilter,
		"addresses.primary":                addressPrimaries,
		"addresses.private-ip-address":     func(i control.InterfaceDetail) []string { return shapes(i.Addresses, netip.Addr.String) },
		"association.allocation-id":        ofElastic(func(e app.ElasticIP) string { return string(e.ID) }),
		"association.association-id":       ofElastic(func(e app.ElasticIP) string { return string(e.Association) }),
		"association.ip-owner-id":          ofElastic(func(e app.ElasticIP) string { return string(e.Scope.Account) }),
		"association.public-dns-name":      fixed[control.InterfaceDetail](),
		"association.public-ip":            publicFilter,
		"attachment.attach-time":           ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return a.AttachTime.Format(time.RFC3339) }),
		"attachment.attachment-id":         ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return *a.AttachmentId }),
		"attachment.delete-on-termination": ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return strconv.FormatBool(*a.DeleteOnTermination) }),
		"attachment.device-index":          ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return decimal(*a.DeviceIndex) }),
		"attachment.instance-id":           ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return member.Value(a.InstanceId) }),
		"attachment.instance-owner-id":     ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return *a.InstanceOwnerId }),
		"attachment.status":                ofAttachment(func(a *api.NetworkInterfaceAttachment) string { return string(a.Status) }),
		"availability-zone":                one(func(i control.InterfaceDetail) string { return i.Zone }),
		"description":                      one(func(i control.InterfaceDetail) string { return i.Description }),
		"group-id":                         ofGroups(func(g app.SecurityGroup) string { return string(g.ID) }),
		"group-name":                       ofGroups(func(g app.SecurityGroup) string { return g.Name }),
		"interface-type":                   one(func(i control.InterfaceDetail) string { return string(interfaceType(i)) }),
		"ipv6-addresses.ipv6-address":      fixed[control.InterfaceDetail](),
		"mac-address":                      one(func(i control.InterfaceDetail) string { return i.MAC }),
		"network-interface-id":             one(func(i control.InterfaceDetail) string { return string(i.ID) }),
		"owner-id":                         one(func(i control.InterfaceDetail) string { return string(i.Scope.Account) }),
		"private-dns-name":                 one(privateName),
		"private-ip-address":               one(privateAddress),
		"requester-id":                     one(requester),
		"requester-managed":                flag(managed),
		"source-dest-check":                flag(func(i control.InterfaceDetail) bool { return i.SourceDestCheck }),
		"status":                           one(func(i control.InterfaceDetail) string { return string(interfaceStatus(i)) }),
		"subnet-id":                        one(func(i control.InterfaceDetail) string { return string(i.Subnet) }),
		"vpc-id":                           one(func(i control.InterfaceDetail) string { return string(i.VPC) }),
	},
}

func addressPrimaries(i control.InterfaceDetail) []string {
	return shapes(i.Addresses, func(a netip.Addr) string { return strconv.FormatBool(a == i.Addresses[0]) })
}

func ofGroups(of func(app.SecurityGroup) string) func(control.InterfaceDetail) []string {
	return func(i control.InterfaceDetail) []string { return shapes(i.Groups, of) }
}

func managed(i control.InterfaceDetail) bool { return i.Kind != app.InterfaceOfUser }

// requester is who asked for an interface that is managed.
func requester(i control.InterfaceDetail) string {
	if managed(i) {
		return amazon
	}
	return ""
}

// interfaceType is the type on the wire, where NAT gateways have another word than in the model.
func interfaceType(i control.InterfaceDetail) api.NetworkInterfaceType {
	switch i.Kind {
	case app.InterfaceOfNAT, app.InterfaceOfEndpoint:
		return api.NetworkInterfaceType(i.Kind)
	}
	return api.NetworkInterfaceTypeInterface
}

func interfaceStatus(i control.InterfaceDetail) api.NetworkInterfaceStatus {
	if i.Owner == "" {
		return api.NetworkInterfaceStatusAvailable
	}
	return api.NetworkInterfaceStatusInUse
}

// DescribeNetworkInterfaces shows network interfaces.
func (h *Handler) DescribeNetworkInterfaces(ctx context.Context, in *api.DescribeNetworkInterfacesInput) (*api.DescribeNetworkInterfacesOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeInterfaces, query{ids: in.NetworkInterfaceIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("eni-")}, networkInterfaces)
	if err != nil {
		return nil, err
	}
	return &api.DescribeNetworkInterfacesOutput{NetworkInterfaces: shapes(page, interfaceShape), NextToken: next}, nil
}

func interfaceShape(i control.InterfaceDetail) api.NetworkInterface {
	return api.NetworkInterface{
		NetworkInterfaceId: new(string(i.ID)), SubnetId: new(string(i.Subnet)), VpcId: new(string(i.VPC)), AvailabilityZone: &i.Zone, OwnerId: new(string(i.Scope.Account)),
		Description: &i.Description, InterfaceType: interfaceType(i), MacAddress: &i.MAC, Groups: groupShapes(i.Groups), SourceDestCheck: &i.SourceDestCheck,
		PrivateIpAddress: new(privateAddress(i)), PrivateDnsName: new(privateName(i)), Ipv6Addresses: []api.NetworkInterfaceIpv6Address{},
		RequesterId: member.Text(requester(i)), RequesterManaged: new(managed(i)), Status: interfaceStatus(i), Attachment: attachmentShape(i), Association: associationShape(i, i.Addresses[0]),
		PrivateIpAddresses: shapes(i.Addresses, func(a netip.Addr) api.NetworkInterfacePrivateIpAddress {
			return api.NetworkInterfacePrivateIpAddress{
				PrivateIpAddress: new(a.String()), PrivateDnsName: new(app.PrivateNames(a, i.Scope.Region)[0]), Primary: new(a == i.Addresses[0]), Association: associationShape(i, a),
			}
		}),
		TagSet: tagList(i.Tags),
	}
}

// attachmentShape is nil for an interface that is attached to nothing.
func attachmentShape(i control.InterfaceDetail) *api.NetworkInterfaceAttachment {
	if i.Attachment.ID == "" {
		return nil
	}
	out := &api.NetworkInterfaceAttachment{
		AttachmentId: &i.Attachment.ID, AttachTime: &i.Attachment.At, DeleteOnTermination: &i.Attachment.DeleteOnTermination,
		DeviceIndex: member.Int32(i.Attachment.DeviceIndex), NetworkCardIndex: member.Int32(0), Status: api.AttachmentStatusAttached, InstanceOwnerId: new(amazon),
	}
	if strings.HasPrefix(i.Owner, "i-") {
		out.InstanceId, out.InstanceOwnerId = &i.Owner, new(string(i.Scope.Account))
	}
	return out
}

// associationShape is the Elastic IP of a private address, nil for none.
func associationShape(i control.InterfaceDetail, private netip.Addr) *api.NetworkInterfaceAssociation {
	for _, e := range i.Elastic {
		if e.Private != private {
			continue
		}
		out := &api.NetworkInterfaceAssociation{
			AllocationId: new(string(e.ID)), AssociationId: new(string(e.Association)), PublicIp: new(e.Address.String()), PublicDnsName: new(""), IpOwnerId: new(addressOwner(e)),
		}
		if e.Launched {
			out.AllocationId, out.AssociationId = nil, nil
		}
		return out
	}
	return nil
}

// addressOwner is whose a public address is: those that hosts get at their launch are not the account's.
func addressOwner(e app.ElasticIP) string {
	if e.Launched {
		return "amazon"
	}
	return string(e.Scope.Account)
}

// DeleteNetworkInterface removes a network interface.
func (h *Handler) DeleteNetworkInterface(ctx context.Context, in *api.DeleteNetworkInterfaceInput) (*api.DeleteNetworkInterfaceOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteInterface(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId)))
}

// DescribeNetworkInterfaceAttribute shows one attribute of a network interface.
func (h *Handler) DescribeNetworkInterfaceAttribute(ctx context.Context, in *api.DescribeNetworkInterfaceAttributeInput) (*api.DescribeNetworkInterfaceAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	i, err := h.control.Interface(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DescribeNetworkInterfaceAttributeOutput{NetworkInterfaceId: in.NetworkInterfaceId}
	switch in.Attribute {
	case api.NetworkInterfaceAttributeDescription:
		out.Description = &api.AttributeValue{Value: &i.Description}
	case api.NetworkInterfaceAttributeGroupSet:
		out.Groups = groupShapes(i.Groups)
	case api.NetworkInterfaceAttributeSourceDestCheck:
		out.SourceDestCheck = &api.AttributeBooleanValue{Value: &i.SourceDestCheck}
	case api.NetworkInterfaceAttributeAttachment:
		out.Attachment = attachmentShape(i)
	case api.NetworkInterfaceAttributeAssociatePublicIpAddress:
		out.AssociatePublicIpAddress = new(false)
	default:
		return nil, invalid("Attribute is missing: give one of description, groupSet, sourceDestCheck, attachment and associatePublicIpAddress")
	}
	return out, nil
}

// ModifyNetworkInterfaceAttribute changes one attribute of a network interface.
func (h *Handler) ModifyNetworkInterfaceAttribute(ctx context.Context, in *api.ModifyNetworkInterfaceAttributeInput) (*api.ModifyNetworkInterfaceAttributeOutput, error) {
	if err := onlyIPv4([]parameter{{"EnablePrimaryIpv6", member.Value(in.EnablePrimaryIpv6), false}}); err != nil {
		return nil, err
	}
	switch {
	case in.ConnectionTrackingSpecification != nil:
		return nil, noTracking()
	case in.EnaSrdSpecification != nil:
		return nil, invalid("EnaSrdSpecification cannot be given: there is no such hardware here. Leave it out")
	case member.Value(in.AssociatePublicIpAddress):
		return nil, invalid("AssociatePublicIpAddress cannot be true: associate an Elastic IP with the interface")
	}
	changes := control.InterfaceAttributes{Groups: groupIDs(in.Groups), SourceDestCheck: truth(in.SourceDestCheck)}
	if in.Description != nil {
		changes.Description = new(member.Value(in.Description.Value))
	}
	if a := in.Attachment; a != nil {
		changes.Attachment, changes.DeleteOnTermination = member.Value(a.AttachmentId), new(member.Value(a.DeleteOnTermination))
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.ModifyInterface(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId), changes))
}

// ResetNetworkInterfaceAttribute switches the source/destination check on again, the only attribute that can be reset.
func (h *Handler) ResetNetworkInterfaceAttribute(ctx context.Context, in *api.ResetNetworkInterfaceAttributeInput) (*api.ResetNetworkInterfaceAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.ModifyInterface(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId), control.InterfaceAttributes{SourceDestCheck: new(true)}))
}

// AttachNetworkInterface gives a private host a further interface.
func (h *Handler) AttachNetworkInterface(ctx context.Context, in *api.AttachNetworkInterfaceInput) (*api.AttachNetworkInterfaceOutput, error) {
	if member.Value(in.NetworkCardIndex) != 0 {
		return nil, invalid("NetworkCardIndex " + decimal(*in.NetworkCardIndex) + " does not exist: there is one network card, 0. Leave it out")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	id, err := h.control.AttachInterface(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId), app.HostID(*in.InstanceId), int(*in.DeviceIndex))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AttachNetworkInterfaceOutput{AttachmentId: &id, NetworkCardIndex: member.Int32(0)}, nil
}

// DetachNetworkInterface takes an interface from its host; Force changes nothing, because it is gone at once anyway.
func (h *Handler) DetachNetworkInterface(ctx context.Context, in *api.DetachNetworkInterfaceInput) (*api.DetachNetworkInterfaceOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DetachInterface(ctx, caller.Scope(ctx), *in.AttachmentId))
}

// AssignPrivateIpAddresses gives an interface further addresses.
func (h *Handler) AssignPrivateIpAddresses(ctx context.Context, in *api.AssignPrivateIpAddressesInput) (*api.AssignPrivateIpAddressesOutput, error) {
	if err := noPrefixes(len(in.Ipv4Prefixes), in.Ipv4PrefixCount); err != nil {
		return nil, err
	}
	wanted, err := addresses("PrivateIpAddresses", in.PrivateIpAddresses)
	if err != nil {
		return nil, err
	}
	got, err := h.control.AssignAddresses(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId), wanted, int(member.Value(in.SecondaryPrivateIpAddressCount)), member.Value(in.AllowReassignment))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AssignPrivateIpAddressesOutput{NetworkInterfaceId: in.NetworkInterfaceId, AssignedPrivateIpAddresses: shapes(got, func(a netip.Addr) api.AssignedPrivateIpAddress {
		return api.AssignedPrivateIpAddress{PrivateIpAddress: new(a.String())}
	})}, nil
}

// UnassignPrivateIpAddresses takes secondary addresses from an interface.
func (h *Handler) UnassignPrivateIpAddresses(ctx context.Context, in *api.UnassignPrivateIpAddressesInput) (*api.UnassignPrivateIpAddressesOutput, error) {
	if err := noPrefixes(len(in.Ipv4Prefixes), nil); err != nil {
		return nil, err
	}
	gone, err := addresses("PrivateIpAddresses", in.PrivateIpAddresses)
	if err != nil {
		return nil, err
	}
	return nil, wireError(h.control.UnassignAddresses(ctx, caller.Scope(ctx), app.InterfaceID(*in.NetworkInterfaceId), gone))
}
