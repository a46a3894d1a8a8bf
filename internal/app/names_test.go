package app

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestPrivateNames(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.5")
	for region, want := range map[Region]string{
		"us-east-1": "[ip-10-0-0-5.ec2.internal ip-10-0-0-5.us-east-1.compute.internal]",
		"eu-west-1": "[ip-10-0-0-5.eu-west-1.compute.internal]",
	} {
		if got := fmt.Sprint(PrivateNames(a, region)); got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
	e := Endpoint{ID: "vpce-0Ab", Scope: Scope{Region: "eu-west-1"}, ServiceName: "com.amazonaws.eu-west-1.ecr.api"}
	if got := e.DNSName(); got != "vpce-0ab.api.ecr.eu-west-1.vpce.amazonaws.com" {
		t.Errorf("endpoint: %s", got)
	}
}
