package containerd

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/contrib/apparmor"
	hostapparmor "github.com/containerd/containerd/v2/pkg/apparmor"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"golang.org/x/sys/unix"
)

// Capabilities is what the machine offers beyond the minimum, probed once at Open.
type Capabilities struct {
	// UserNamespaces: instances may have one, with their image mapped into it (Linux >= 5.19).
	UserNamespaces bool
	// AppArmor: instances are confined by a profile beside seccomp.
	AppArmor bool
	// CgroupV2 is false on hosts whose controllers are version 1.
	CgroupV2 bool
	// SwapLimit: an instance cannot evade its memory limit into swap.
	SwapLimit bool
	// Missing says in words, one line each, which protection is absent and why.
	Missing []string
}

// apparmorProfile is the name of the profile that instances run under.
const apparmorProfile = "funade-default"

func probe(c *Config) Capabilities {
	caps := Capabilities{CgroupV2: cgroupV2()}
	idmap, err := overlayutils.SupportsIDMappedMounts()
	_, noUserns := os.Stat("/proc/self/ns/user")
	if caps.UserNamespaces = err == nil && idmap && noUserns == nil; !caps.UserNamespaces {
		caps.Missing = append(caps.Missing, "user namespaces are off: the kernel cannot map an overlay's layers (needs Linux 5.19 or newer); root in an instance is root of the host, held by seccomp and reduced capabilities")
	}
	if hostapparmor.HostSupports() {
		if err := apparmor.LoadDefaultProfile(apparmorProfile); err == nil {
			caps.AppArmor = true
		} else {
			caps.Missing = append(caps.Missing, "AppArmor is off: its profile does not load (is apparmor_parser installed?)")
			c.Log.Debug("cannot load AppArmor profile", "error", err)
		}
	}
	if caps.SwapLimit = swapLimit(caps.CgroupV2); !caps.SwapLimit && swapInUse() {
		caps.Missing = append(caps.Missing, "swap is not limited: the kernel does not account it (swapaccount=1); instances may swap beyond their memory limit")
	}
	return caps
}

func cgroupV2() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// swapLimit looks for the swap knob; version 2 has it in every group but the root.
func swapLimit(v2 bool) bool {
	if !v2 {
		_, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
		return err == nil
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*/memory.swap.max")
	if len(found) > 0 {
		return true
	}
	limited, _ := filepath.Glob("/sys/fs/cgroup/*/memory.max")
	return len(limited) == 0
}

func swapInUse() bool {
	f, err := os.Open("/proc/swaps")
	if err != nil {
		return false
	}
	defer f.Close()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.TrimSpace(s.Text()) != "" {
			lines++
		}
	}
	return lines > 1
}
