package vpc

import (
	"fmt"
	"net/netip"
	"slices"
)

// Ranges of DEFAULT egress. NeverReachable stays closed whatever InstallRules.EgressAllow says: this machine, link-local with
// the metadata services, the installs' transit links, multicast and reserved ranges. EgressAllow opens PrivateRanges.
var (
	NeverReachable = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.127.0.0/16", "224.0.0.0/3")
	PrivateRanges  = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)

const maxEgressAllow = 1024

// CheckEgressAllow refuses prefixes that InstallRules.EgressAllow cannot open.
func CheckEgressAllow(list []netip.Prefix, l Layout) error {
	if len(list) > maxEgressAllow {
		return fmt.Errorf("cannot open %d ranges to egress: at most %d", len(list), maxEgressAllow)
	}
	for _, p := range list {
		if !p.IsValid() || !p.Addr().Is4() {
			return fmt.Errorf("cannot open %v to egress: expected an IPv4 range", p)
		}
		for _, never := range append(slices.Clone(NeverReachable), l.Prefix()) {
			if never.Contains(p.Addr()) && never.Bits() <= p.Bits() {
				return fmt.Errorf("cannot open %v to egress: %v is never reachable; leave it out", p, never)
			}
		}
	}
	return nil
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
