package converge

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/vpc"
)

const (
	// hostStopTimeout is how long a private host may take to stop.
	hostStopTimeout = 30 * time.Second
	// userDataPath is where cloud-init keeps user data.
	userDataPath = "/var/lib/cloud/instance/user-data.txt"
)

// hostSpec returns the complete desired container of a private host. Its type bounds CPU and memory.
func (c *Instances) hostSpec(v view, a vpc.Attachment) (engine.Instance, error) {
	h := v.host
	if h.CPU == 0 || h.Memory == 0 {
		return engine.Instance{}, fmt.Errorf("host %s has no size", h.ID)
	}
	out := engine.Instance{
		ID: v.ID, Service: app.ServiceID(h.ID), Revision: 1, Image: v.image, CPU: h.CPU, Memory: h.Memory,
		Env:     []string{"AWS_DEFAULT_REGION=" + string(h.Scope.Region), "AWS_REGION=" + string(h.Scope.Region)},
		Network: engine.Network{NetnsPath: a.NetnsPath, UsernsPath: a.UsernsPath, Resolvers: a.Resolvers, CABundle: c.CABundle},
		Storage: storageLimit, UIDBase: c.UIDBase(h.Scope.Account), Hostname: v.hostname,
	}
	if len(h.Volumes) > 0 {
		out.Volume = filepath.Join(c.VolumesDir, string(h.Volumes[0]))
	}
	if h.UserData == "" {
		return out, nil
	}
	data, err := base64.StdEncoding.DecodeString(h.UserData)
	if err != nil {
		return out, app.Errorf(app.KindInvalidRequest, string(h.ID), "The user data is not valid base64: %w", err)
	}
	out.Files = []engine.File{{Path: userDataPath, Data: data}}
	if !bytes.ContainsRune(data, 0) { // no variable can hold a zero byte
		out.Env = append(out.Env, "USER_DATA="+string(data))
	}
	return out, nil
}

// hostname is the first part of a host's private DNS name, "" without an address.
func hostname(n app.NetworkInterface) string {
	if len(n.Addresses) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(app.PrivateNames(n.Addresses[0], n.Scope.Region)[0], ".")
	return name
}
