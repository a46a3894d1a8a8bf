package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

const maxConfigFile = 1 << 20

// BeforeResolve is kong's hook: it makes the configuration file a source of flags, below the environment.
func (c *serverCmd) BeforeResolve(ctx *kong.Context) error {
	flags := map[string]*kong.Flag{}
	for _, f := range ctx.Flags() {
		flags[f.Name] = f
	}
	path, _ := ctx.FlagValue(flags["config"]).(string)
	if path == "" {
		return nil
	}
	values, err := readConfigFile(kong.ExpandPath(path))
	if err != nil {
		return err
	}
	for key := range values {
		if f := flags[key]; f == nil || key == "config" || key == "help" {
			return usagef("configuration file %s: unknown key %q; the keys are the names of funade server's flags", path, key)
		}
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		if slices.ContainsFunc(f.Envs, envIsSet) {
			return nil, nil
		}
		v, ok := values[f.Name]
		if !ok {
			return nil, nil
		}
		return v, nil
	}))
	return nil
}

func envIsSet(name string) bool {
	_, ok := os.LookupEnv(name)
	return ok
}

// readConfigFile returns the file's values by key as kong takes them: text, lists joined by commas.
func readConfigFile(path string) (map[string]any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration file: %w", err)
	}
	defer f.Close()
	var raw map[string]yaml.Node
	if err := yaml.NewDecoder(io.LimitReader(f, maxConfigFile)).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read configuration file %s: %w", path, err)
	}
	values := make(map[string]any, len(raw))
	for key, node := range raw {
		text, err := nodeText(&node)
		if err != nil {
			return nil, usagef("configuration file %s, line %d: %s: %v", path, node.Line, key, err)
		}
		values[key] = text
	}
	return values, nil
}

// nodeText takes a scalar as it is written, so that 000000000000 stays an account number.
func nodeText(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		parts := make([]string, 0, len(n.Content))
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return "", errors.New("give a list of plain values")
			}
			parts = append(parts, c.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("give a plain value or a list of plain values")
}
