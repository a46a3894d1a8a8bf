package containerd

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

const (
	// cpuPeriod in microseconds is the window of the CPU limit.
	cpuPeriod = 100_000
	maxPids   = 1024
	maxFiles  = 65_536
	// idRange is the size of a user namespace.
	idRange = 65_536
	// caPath is where an instance finds the CA bundle.
	caPath = "/etc/ssl/funade-ca.pem"

	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// capabilities is Docker's set without the ones that make devices, write audit records,
// change the root directory or set file capabilities. NET_RAW stays for ping: the
// network refuses forged senders.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_KILL",
}

// spec builds the OCI spec of an instance, without the values of its environment.
func (e *Engine) spec(ctx context.Context, in engine.Instance, img *image, files []specs.Mount) (*specs.Spec, error) {
	c := &containers.Container{ID: string(in.ID), Snapshotter: snapshotter, SnapshotKey: string(in.ID)}
	s, err := oci.GenerateSpec(ctx, e.client, c)
	if err != nil {
		return nil, fmt.Errorf("cannot generate spec: %w", err)
	}
	s.Version = "1.0.2" // crun and older runcs refuse what they do not know
	s.Hostname = hostname(in)
	s.Root.Readonly = false
	s.Annotations = map[string]string{
		shim.AnnotationGroup: string(in.Service), shim.AnnotationEnv: e.cfg.envPath(in.ID), shim.AnnotationRecord: e.cfg.recordPath(in.ID),
	}
	if err := e.process(ctx, s, c, in, img); err != nil {
		return nil, err
	}
	volume, err := e.volumeMounts(ctx, in, img, s.Process.User)
	if err != nil {
		return nil, err
	}
	e.isolate(s, in)
	limits(s, in, e.caps.SwapLimit)
	mounts := s.Mounts[:0]
	for _, m := range s.Mounts {
		if m.Destination != "/run" { // images keep files there
			mounts = append(mounts, m)
		}
	}
	mounts = append(mounts, specs.Mount{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"},
	})
	s.Mounts = slices.Concat(mounts, volume, files) // a file may lie in the volume, not the other way round
	return s, nil
}

func hostname(in engine.Instance) string {
	if in.Hostname != "" {
		return in.Hostname
	}
	return string(in.ID)
}

// process fills in what the image and the start command say.
func (e *Engine) process(ctx context.Context, s *specs.Spec, c *containers.Container, in engine.Instance, img *image) error {
	cmd := img.config.Config.Cmd
	if in.StartCommand != nil {
		cmd = in.StartCommand
	}
	s.Process.Args = append(append([]string{}, img.config.Config.Entrypoint...), cmd...)
	if len(s.Process.Args) == 0 {
		return app.Errorf(app.KindInvalidRequest, string(in.Image), "the image has no command and the service has no start command; set StartCommand")
	}
	s.Process.Cwd = "/"
	if dir := img.config.Config.WorkingDir; dir != "" {
		s.Process.Cwd = path.Clean("/" + dir)
	}
	base := []string{defaultPath, "HOSTNAME=" + hostname(in)}
	if in.Network.CABundle != "" {
		base = append(base, "SSL_CERT_FILE="+caPath, "NODE_EXTRA_CA_CERTS="+caPath)
	}
	s.Process.Env = shim.MergeEnv(base, img.config.Config.Env)
	s.Process.Terminal = false
	s.Process.NoNewPrivileges = true
	s.Process.Rlimits = []specs.POSIXRlimit{fileLimit()}
	if user := img.config.Config.User; user != "" && user != "0" && user != "root" && user != "0:0" {
		if err := e.asUser(ctx, c, s, user); err != nil {
			return app.Errorf(app.KindInvalidRequest, string(in.Image), "the image's USER %q cannot be found in it: %w", user, err)
		}
	}
	return nil
}

// asUser sets the user of the process, a name or number with or without a group, and its further groups.
func (e *Engine) asUser(ctx context.Context, c *containers.Container, s *specs.Spec, user string) error {
	if err := oci.WithUser(user)(ctx, e.client, c, s); err != nil {
		return err
	}
	if name, _, hasGroup := strings.Cut(user, ":"); !hasGroup {
		if err := oci.WithAdditionalGIDs(name)(ctx, e.client, c, s); err != nil {
			return fmt.Errorf("its groups cannot be read: %w", err)
		}
	}
	return nil
}

// isolate sets namespaces, capabilities, seccomp and AppArmor.
func (e *Engine) isolate(s *specs.Spec, in engine.Instance) {
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}
	s.Linux.Namespaces = []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		{Type: specs.CgroupNamespace}, {Type: specs.NetworkNamespace, Path: in.Network.NetnsPath},
	}
	if in.Network.UsernsPath != "" {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: in.Network.UsernsPath})
	}
	s.Linux.CgroupsPath = e.cgroupPath(in.Service, in.ID)
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	if e.caps.AppArmor {
		s.Process.ApparmorProfile = apparmorProfile
	}
}

func (e *Engine) cgroupPath(service app.ServiceID, id app.InstanceID) string {
	return path.Join(e.cfg.cgroup(), string(service), string(id))
}

// limits caps what the instance may use; nothing is reserved.
func limits(s *specs.Spec, in engine.Instance, swap bool) {
	r := s.Linux.Resources
	if r == nil {
		r = &specs.LinuxResources{}
		s.Linux.Resources = r
	}
	pids := int64(maxPids)
	r.Pids = &specs.LinuxPids{Limit: &pids}
	if in.CPU > 0 {
		period, quota := uint64(cpuPeriod), int64(in.CPU)*cpuPeriod/1024
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if in.Memory > 0 {
		limit := int64(in.Memory) << 20
		r.Memory = &specs.LinuxMemory{Limit: &limit}
		if swap {
			r.Memory.Swap = &limit // memory and swap together
		}
	}
}

// fileLimit stays below our own hard limit: not every root may raise it.
func fileLimit() specs.POSIXRlimit {
	n := uint64(maxFiles)
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &own) == nil {
		n = min(n, own.Max)
	}
	return specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: n, Hard: n}
}
