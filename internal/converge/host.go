package converge

import (
	"encoding/base64"
	"fmt"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/vpc"
)

// hostSpec returns the complete desired container of a private host. Its type bounds CPU and memory.
func hostSpec(h app.Host, i app.Instance, image app.Digest, a vpc.Attachment, uidBase uint32, caBundle string) (engine.Instance, error) {
	env := []string{"AWS_DEFAULT_REGION=" + string(h.Scope.Region), "AWS_REGION=" + string(h.Scope.Region)}
	if h.UserData != "" {
		data, err := base64.StdEncoding.DecodeString(h.UserData)
		if err != nil {
			return engine.Instance{}, app.Errorf(app.KindInvalidRequest, string(h.ID), "The user data is not valid base64: %w", err)
		}
		env = append(env, "USER_DATA="+string(data))
	}
	if h.CPU == 0 || h.Memory == 0 {
		return engine.Instance{}, fmt.Errorf("host %s has no size", h.ID)
	}
	return engine.Instance{
		ID: i.ID, Service: app.ServiceID(h.ID), Revision: 1, Image: image, Env: env, CPU: h.CPU, Memory: h.Memory,
		Network: engine.Network{NetnsPath: a.NetnsPath, UsernsPath: a.UsernsPath, Resolvers: a.Resolvers, CABundle: caBundle},
		Storage: storageLimit, UIDBase: uidBase,
	}, nil
}
