package ec2

import (
	"maps"
	"slices"
)

// Size is what an instance type means: limits, never reservations.
type Size struct {
	VCPUs  int
	Memory int // MiB
}

// DefaultType is the instance type of hosts that name none.
const DefaultType = "t3.micro"

// sizes are the instance types that hosts may have (EC2 instance types).
var sizes = map[string]Size{
	"t2.nano": {1, 512}, "t2.micro": {1, 1024}, "t2.small": {1, 2048}, "t2.medium": {2, 4096}, "t2.large": {2, 8192}, "t2.xlarge": {4, 16384}, "t2.2xlarge": {8, 32768},
	"t3.nano": {2, 512}, "t3.micro": {2, 1024}, "t3.small": {2, 2048}, "t3.medium": {2, 4096}, "t3.large": {2, 8192}, "t3.xlarge": {4, 16384}, "t3.2xlarge": {8, 32768},
	"t3a.nano": {2, 512}, "t3a.micro": {2, 1024}, "t3a.small": {2, 2048}, "t3a.medium": {2, 4096}, "t3a.large": {2, 8192}, "t3a.xlarge": {4, 16384}, "t3a.2xlarge": {8, 32768},
	"t4g.nano": {2, 512}, "t4g.micro": {2, 1024}, "t4g.small": {2, 2048}, "t4g.medium": {2, 4096}, "t4g.large": {2, 8192}, "t4g.xlarge": {4, 16384}, "t4g.2xlarge": {8, 32768},
	"m5.large": {2, 8192}, "m5.xlarge": {4, 16384}, "m5.2xlarge": {8, 32768}, "m5.4xlarge": {16, 65536},
	"m6i.large": {2, 8192}, "m6i.xlarge": {4, 16384}, "m6i.2xlarge": {8, 32768}, "m6i.4xlarge": {16, 65536},
	"m6g.medium": {1, 4096}, "m6g.large": {2, 8192}, "m6g.xlarge": {4, 16384}, "m6g.2xlarge": {8, 32768},
	"m7i.large": {2, 8192}, "m7i.xlarge": {4, 16384}, "m7i.2xlarge": {8, 32768}, "m7g.medium": {1, 4096}, "m7g.large": {2, 8192}, "m7g.xlarge": {4, 16384},
	"c5.large": {2, 4096}, "c5.xlarge": {4, 8192}, "c5.2xlarge": {8, 16384}, "c6i.large": {2, 4096}, "c6i.xlarge": {4, 8192}, "c6i.2xlarge": {8, 16384},
	"c7i.large": {2, 4096}, "c7i.xlarge": {4, 8192}, "c7g.medium": {1, 2048}, "c7g.large": {2, 4096}, "c7g.xlarge": {4, 8192},
	"r5.large": {2, 16384}, "r5.xlarge": {4, 32768}, "r5.2xlarge": {8, 65536}, "r6i.large": {2, 16384}, "r6i.xlarge": {4, 32768}, "r7i.large": {2, 16384}, "r7g.large": {2, 16384},
}

// SizeOf returns what an instance type means.
func SizeOf(name string) (Size, bool) {
	s, ok := sizes[name]
	return s, ok
}

// Types are the names of all instance types, sorted.
func Types() []string { return slices.Sorted(maps.Keys(sizes)) }
