package converge

import (
	"maps"
	"slices"
	"strconv"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/vpc"
)

// storageLimit is the size of an instance's writable layer (App Runner guide: 3 GB of ephemeral storage).
const storageLimit = 3 << 30

// spec returns the complete desired container of an instance.
func spec(svc app.Service, rev app.Revision, i app.Instance, a vpc.Attachment, uidBase uint32, caBundle string) (engine.Instance, error) {
	config := rev.Config
	var command []string
	if config.Source.StartCommand != "" {
		var err error
		if command, err = app.SplitCommand(config.Source.StartCommand); err != nil {
			return engine.Instance{}, err
		}
	}
	return engine.Instance{
		ID: i.ID, Service: i.Service, Revision: i.Revision, Image: rev.Digest,
		StartCommand: command,
		Env:          environment(svc, config),
		CPU:          config.Instance.CPU, Memory: config.Instance.Memory,
		Network: engine.Network{
			NetnsPath: a.NetnsPath, UsernsPath: a.UsernsPath, Resolvers: a.Resolvers, CABundle: caBundle,
		},
		Storage: storageLimit,
		UIDBase: uidBase,
	}, nil
}

// environment returns the variables of an instance: those that App Runner sets and the user's, which win except
// for PORT, whose name is reserved; sorted.
func environment(svc app.Service, config app.ServiceConfig) []string {
	all := map[string]string{"AWS_REGION": string(svc.Scope.Region), "AWS_DEFAULT_REGION": string(svc.Scope.Region)}
	maps.Copy(all, config.Source.Env)
	all["PORT"] = strconv.Itoa(config.Source.Port)
	env := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}
