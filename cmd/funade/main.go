// Command funade runs container images the way AWS App Runner does, on machines you own.
// One binary is the server, its clients and the shim of its containers.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/funade/funade/internal/ca"
	"github.com/funade/funade/internal/cli"
	"github.com/funade/funade/internal/engine/containerd"
	"github.com/funade/funade/internal/secrets"
)

// version is set at link time.
var version = "dev"

func main() {
	containerd.ShimMain() // returns only if this process is not a shim

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	program := cli.Program{
		Version: version,
		Hooks:   cli.Hooks{Serve: serve, Purge: purge, RootKey: rootKey, RootCertificate: rootCertificate, Trust: trust},
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	code := program.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func rootKey(dataDir string) (cli.Key, error) {
	k, err := secrets.ReadRootKey(dataDir)
	if err != nil {
		return cli.Key{}, err
	}
	return cli.Key{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.Secret.Reveal()}, nil
}

func rootCertificate(dataDir string) ([]byte, error) {
	return ca.ReadRoot(filepath.Join(dataDir, caDir))
}

// trust makes this machine trust the install's root, or ends that.
func trust(ctx context.Context, dataDir string, trusted bool) error {
	in, err := openInstall(dataDir, time.Now())
	if err != nil {
		return err
	}
	system, err := ca.SystemTrustStore()
	if err != nil {
		return err
	}
	if !trusted {
		return system.Remove(ctx, in.ID)
	}
	root, err := rootCertificate(dataDir)
	if err != nil {
		return err
	}
	return system.Install(ctx, in.ID, root)
}
