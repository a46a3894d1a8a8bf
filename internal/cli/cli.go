package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Key is a pair of credentials as it lies in a data directory.
type Key struct {
	AccessKeyID     string
	SecretAccessKey string
}

// Hooks are what the command line needs from packages that it may not import.
type Hooks struct {
	// Serve runs the server until ctx ends, then shuts down in order.
	Serve func(ctx context.Context, config ServerConfig) error
	// Purge removes everything that a stopped server left in the system, then its data directory.
	Purge func(ctx context.Context, dataDir string, progress io.Writer) error
	// RootKey reads the root key of a data directory; the error wraps fs.ErrNotExist or fs.ErrPermission where that is why.
	RootKey func(dataDir string) (Key, error)
	// RootCertificate reads the certificate of the install's own authority, in PEM.
	RootCertificate func(dataDir string) ([]byte, error)
	// Trust makes this machine trust that certificate, or ends that.
	Trust func(ctx context.Context, dataDir string, trusted bool) error
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitInterrupted is a shell's code for SIGINT.
	exitInterrupted = 130
)

// Program is the command line of one process.
type Program struct {
	Version string
	Hooks   Hooks
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// grammar is the whole command line; kong reads its tags.
type grammar struct {
	Server     serverCmd     `cmd:"" help:"Run the server. State lies in --data; every listener is on loopback unless told otherwise."`
	Env        envCmd        `cmd:"" help:"Print what points AWS clients at this server: eval \"$(sudo funade env)\"."`
	Up         upCmd         `cmd:"" help:"Ship an image: create the service or update it, wait, print its URL."`
	Status     statusCmd     `cmd:"" help:"Show a service and its instances."`
	Services   servicesCmd   `cmd:"" help:"List services."`
	Operations operationsCmd `cmd:"" help:"List what was done to a service, newest first."`
	Logs       logsCmd       `cmd:"" help:"Print a service's logs."`
	Settings   settingsCmd   `cmd:"" help:"Show or change settings that AWS' API has no word for."`
	Rollback   rollbackCmd   `cmd:"" help:"Go back to the previous revision, or to one that --to names."`
	Cancel     cancelCmd     `cmd:"" help:"Cancel the operation in progress; the revision that served before goes on serving."`
	Exec       execCmd       `cmd:"" help:"Run a command inside a service or instance: funade exec app -- sh."`
	Forward    forwardCmd    `cmd:"" help:"Forward a local port through a service's or instance's network: funade forward --from app 5432:10.0.1.10:5432."`
	Explain    explainCmd    `cmd:"" help:"Say whether a connection works, and which route, group or rule decides. Exit code 0: allowed, 1: denied, 2: no answer."`
	VPC        vpcCmd        `cmd:"" name:"vpc" help:"Attach real networks behind the server to VPCs."`
	Keys       keysCmd       `cmd:"" help:"Manage the root key."`
	CA         caCmd         `cmd:"" name:"ca" help:"Print the certificate of this install's own certificate authority."`
	Trust      trustCmd      `cmd:"" help:"Make this machine trust the install's certificate authority."`
	Purge      purgeCmd      `cmd:"" help:"Remove a stopped server's containers, namespaces, mounts, rules and data."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// session is what the verbs' Run methods get.
type session struct {
	*Program
	ctx context.Context
}

// Run parses args (without the program's name), runs the verb and returns the exit code: 0, 1 when the verb or
// the operation that it waited for failed, 2 when the command line is wrong. exec and explain have codes of their own.
func (p *Program) Run(ctx context.Context, args []string) int {
	var g grammar
	exited := -1
	parser, err := kong.New(&g,
		kong.Name("funade"),
		kong.Description("Runs container images the way AWS App Runner does, on machines you own."),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(p.Stderr, "funade:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help printed and wanted to exit
		return exited
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "funade: %v\nTry funade --help.\n", err)
		return exitUsage
	}
	if err := kctx.Run(&session{Program: p, ctx: ctx}); err != nil {
		return p.report(err)
	}
	return exitOK
}

// exitError picks the exit code; nothing is printed when err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d: %v", e.code, e.err) }
func (e *exitError) Unwrap() error { return e.err }

// report prints an error with its remedy and picks the exit code.
func (p *Program) report(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err != nil {
			fmt.Fprintln(p.Stderr, "funade:", explain(e.err))
		}
		return e.code
	}
	fmt.Fprintln(p.Stderr, "funade:", explain(err))
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

// errUsage marks an error in what the user typed.
var errUsage = errors.New("wrong usage")

// usageError is an errUsage with its own text.
type usageError string

func (e usageError) Error() string   { return string(e) }
func (e usageError) Is(t error) bool { return t == errUsage }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the version of this program.
func (c versionCmd) Run(s *session) error {
	if c.JSON {
		return printJSON(s.Stdout, map[string]string{"version": s.Version})
	}
	_, err := fmt.Fprintln(s.Stdout, "funade", s.Version)
	return err
}

type purgeCmd struct {
	Data string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
	Yes  bool   `help:"Do not ask." short:"y"`
}

// Run asks unless --yes, then purges.
func (c purgeCmd) Run(s *session) error {
	if _, err := os.Stat(c.Data); err != nil {
		return fmt.Errorf("cannot purge %s: %w", c.Data, err)
	}
	if !c.Yes {
		fmt.Fprintf(s.Stderr, "This removes every service, image, log and key in %s. Type yes to go on: ", c.Data)
		var answer string
		if _, err := fmt.Fscanln(s.Stdin, &answer); err != nil || answer != "yes" {
			return usagef("nothing removed; answer yes, or give --yes")
		}
	}
	return s.Hooks.Purge(s.ctx, c.Data, s.Stderr)
}
