package ec2

import (
	"strings"

	"github.com/funade/funade/internal/app"
)

// Zone is an availability zone. All zones are on this machine.
type Zone struct{ Name, ID string }

// Zones returns the zones of a region, in order.
func Zones(region app.Region) []Zone {
	out := make([]Zone, 0, 3)
	for n, letter := range []string{"a", "b", "c"} {
		out = append(out, Zone{Name: string(region) + letter, ID: regionCode(region) + "-az" + string(rune('1'+n))})
	}
	return out
}

// regionCode shortens a region as zone ids do: us-east-1 is use1, ap-southeast-2 is apse2.
func regionCode(region app.Region) string {
	words := strings.Split(string(region), "-")
	code := words[0]
	for _, word := range words[1:] {
		switch word {
		case "northeast", "northwest", "southeast", "southwest":
			code += word[:1] + word[5:6]
		default:
			if word != "" {
				code += word[:1]
			}
		}
	}
	return code
}

// RegionNames are the regions that every account has, by name.
var RegionNames = []app.Region{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1",
	"eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}
