package app

import (
	"net/netip"
	"slices"
	"strings"
)

// PrivateNames returns the names that a VPC's resolver knows for a host's address; the first is the one that EC2 shows
// (EC2 guide, "Amazon EC2 instance hostnames"). us-east-1 has a short form; the long one is answered there too.
func PrivateNames(a netip.Addr, r Region) []string {
	host := "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "."
	names := []string{host + string(r) + ".compute.internal"}
	if r == "us-east-1" {
		names = []string{host + "ec2.internal", names[0]}
	}
	return names
}

// DNSName returns the endpoint's own name, which holds the service's name backwards:
// vpce-….api.ecr.us-east-1.vpce.amazonaws.com for com.amazonaws.us-east-1.ecr.api.
func (e *Endpoint) DNSName() string {
	region := string(e.Scope.Region)
	service := strings.Split(strings.TrimPrefix(e.ServiceName, "com.amazonaws."+region+"."), ".")
	slices.Reverse(service)
	return strings.ToLower(string(e.ID) + "." + strings.Join(service, ".") + "." + region + ".vpce.amazonaws.com")
}
