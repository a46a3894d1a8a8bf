package script

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/funade/funade/build/ociimage"
	"github.com/funade/funade/test/harness"
)

const pollEvery = 100 * time.Millisecond

func usage(ts *testscript.TestScript, text string) { ts.Fatalf("usage: %s", text) }

func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	st := of(ts)
	if neg || len(args) == 0 {
		usage(ts, "server start [FLAG…] | stop | kill")
	}
	switch args[0] {
	case "start":
		if st.server == nil {
			s, err := harness.NewServer(ts.MkAbs("."), args[1:]...)
			ts.Check(err)
			st.server = s
		}
		ts.Check(st.server.Start(st.ctx))
		env, err := st.server.Env(st.ctx)
		ts.Check(err)
		tools, _, _ := strings.Cut(ts.Getenv("PATH"), ":")
		for _, e := range env {
			name, value, _ := strings.Cut(e, "=")
			if name == "PATH" {
				value = strings.Replace(value, ":", ":"+tools+":", 1) // the wrapper of aws stays first
			}
			ts.Setenv(name, value)
		}
		ts.Setenv("DATA", st.server.Data)
		ts.Setenv("REGISTRY", st.server.Registry())
	case "stop":
		ts.Check(st.server.Stop())
	case "kill":
		ts.Check(st.server.Kill())
	default:
		usage(ts, "server start [FLAG…] | stop | kill")
	}
}

// cmdImage makes an image of testapp, or of a folder that `make stories` filled with Debian's packages.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	const text = "image FILE [-port N] [-env K=V]… [-format F] [-arch A] [-empty] [-rootfs NAME [-user U] [-volume PATH]… [-script FILE]] [ARG…]"
	if neg || len(args) == 0 {
		usage(ts, text)
	}
	o := ociimage.Options{}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.Port, "port", 8080, "")
	flags.StringVar(&o.Architecture, "arch", "", "")
	flags.StringVar(&o.User, "user", "", "")
	format := flags.String("format", "docker", "")
	empty := flags.Bool("empty", false, "")
	rootfs := flags.String("rootfs", "", "")
	script := flags.String("script", "", "")
	for name, list := range map[string]*[]string{"env": &o.Env, "volume": &o.Volumes} {
		flags.Func(name, "", func(v string) error { *list = append(*list, v); return nil })
	}
	if err := flags.Parse(args[1:]); err != nil {
		ts.Fatalf("%v; usage: %s", err, text)
	}
	o.Args = flags.Args()
	if *script != "" {
		o.Args = []string{"sh", "-c", ts.ReadFile(*script)}
	}
	var err error
	switch {
	case *rootfs != "":
		o.Rootfs, err = harness.Rootfs(*rootfs)
	case !*empty:
		o.Program, err = harness.TestApp()
	}
	ts.Check(err)
	img, err := ociimage.Build(o)
	ts.Check(err)
	ts.Check(ociimage.Write(img, *format, ts.MkAbs(args[0])))
}

// program runs one of the clients; its output is there for stdout and stderr.
func program(ts *testscript.TestScript, neg bool, path string, args []string) {
	err := ts.Exec(path, args...)
	switch {
	case neg && err == nil:
		ts.Fatalf("unexpected success")
	case !neg:
		ts.Check(err)
	}
}

func cmdFunade(ts *testscript.TestScript, neg bool, args []string) {
	program(ts, neg, ts.Getenv("FUNADE"), args)
}

func cmdAWS(ts *testscript.TestScript, neg bool, args []string) { program(ts, neg, "aws", args) }

// get returns what the front door answers as text; the error tells of a wrong status.
func get(ts *testscript.TestScript, args []string) (string, error) {
	st := of(ts)
	want := 200
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		want = n
	} else if len(args) != 1 {
		usage(ts, "get URL [STATUS]")
	}
	status, header, body, err := st.server.Get(st.ctx, args[0])
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d\n", status)
	for name, values := range header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	b.WriteString("\n" + body)
	if status != want {
		return b.String(), fmt.Errorf("GET %s answered %d, want %d:\n%s", args[0], status, want, &b)
	}
	return b.String(), nil
}

func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	out, err := get(ts, args)
	_, werr := ts.Stdout().Write([]byte(out))
	ts.Check(werr)
	switch {
	case neg && err == nil:
		ts.Fatalf("unexpected success")
	case !neg:
		ts.Check(err)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		usage(ts, "until DURATION REGEXP funade|aws|get|exec ARG…")
	}
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		out, err := attempt(ts, args[2], args[3:])
		if err == nil && want.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %v: %s: want %q, last output %q, error %v", limit, strings.Join(args[2:], " "), args[1], out, err)
		}
		<-tick.C
	}
}

// attempt runs a command without failing the story.
func attempt(ts *testscript.TestScript, name string, args []string) (string, error) {
	switch name {
	case "get":
		return get(ts, args)
	case "funade":
		name = ts.Getenv("FUNADE")
	case "aws":
	case "exec":
		name, args = args[0], args[1:]
	default:
		usage(ts, "until DURATION REGEXP funade|aws|get|exec ARG…")
	}
	err := ts.Exec(name, args...)
	return ts.ReadFile("stdout") + ts.ReadFile("stderr"), err
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		usage(ts, "capture NAME [REGEXP]")
	}
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		re, err := regexp.Compile(args[1])
		ts.Check(err)
		m := re.FindStringSubmatch(value)
		if len(m) < 2 {
			ts.Fatalf("no match of %q with a group in %q", args[1], value)
		}
		value = m[1]
	}
	ts.Setenv(args[0], value)
}

// cmdLogin does what `aws ecr get-login-password | docker login` does, into a file.
func cmdLogin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "login FILE")
	}
	ts.Check(ts.Exec("aws", "ecr", "get-login-password"))
	password := strings.TrimSpace(ts.ReadFile("stdout"))
	auth := map[string]any{"auths": map[string]any{ts.Getenv("REGISTRY"): map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte("AWS:" + password)),
	}}}
	data, err := json.Marshal(auth)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}
