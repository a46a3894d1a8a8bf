package terraform

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"

	"github.com/funade/funade/build/ociimage"
	"github.com/funade/funade/test/harness"
)

var (
	//go:embed main.tf
	shipConfiguration []byte
	//go:embed network.tf
	networkConfiguration []byte
	//go:embed rarer.tf
	rarerConfiguration []byte
)

func TestMain(m *testing.M) { harness.Main(m) }

// mirror finds a folder from which Terraform can install hashicorp/aws 5.x for this machine.
func mirror() string {
	candidates := []string{"/usr/share/terraform/plugins", "/usr/share/terraform/providers", "/usr/local/share/terraform/plugins"}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".terraform.d", "plugins"), filepath.Join(home, ".local", "share", "terraform", "plugins"))
	}
	if found, err := filepath.Glob("/opt/*/registry.terraform.io"); err == nil {
		for _, f := range found {
			candidates = append(candidates, filepath.Dir(f))
		}
	}
	if dir := os.Getenv("TF_PLUGIN_MIRROR"); dir != "" {
		candidates = append([]string{dir}, candidates...)
	}
	for _, dir := range candidates {
		// A mirror holds providers unpacked, or as zip files.
		base := filepath.Join(dir, "registry.terraform.io", "hashicorp", "aws")
		for _, pattern := range []string{"5.*/" + runtime.GOOS + "_" + runtime.GOARCH, "terraform-provider-aws_5.*_" + runtime.GOOS + "_" + runtime.GOARCH + ".zip"} {
			if found, err := filepath.Glob(filepath.Join(base, pattern)); err == nil && len(found) > 0 {
				return dir
			}
		}
	}
	return ""
}

// project is a Terraform working directory.
type project struct {
	dir string
	env []string
}

func (p *project) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "terraform", args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("cannot run terraform: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (p *project) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := p.run(t, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// unchanged plans; exit code 2 means that Terraform would change something.
func (p *project) unchanged(t *testing.T, when string) {
	t.Helper()
	if out, code := p.run(t, "plan", "-input=false", "-no-color", "-detailed-exitcode"); code != 0 {
		t.Fatalf("the plan %s is not empty (exit %d):\n%s", when, code, out)
	}
}

func (p *project) variables(t *testing.T, image, message, stage string, maxSize int) {
	t.Helper()
	text := fmt.Sprintf("image    = %q\nmessage  = %q\nstage    = %q\nmax_size = %d\n", image, message, stage, maxSize)
	if err := os.WriteFile(filepath.Join(p.dir, "terraform.tfvars"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) *harness.Server {
	t.Helper()
	ctx := context.Background()
	server, err := harness.NewServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s\nevents of the service:\n%s", server.LogTail(), events(server))
		}
		if err := server.Purge(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return server
}

// events is what Funade did for the service, for the report of a failure.
func events(server *harness.Server) string {
	bin, err := harness.Funade()
	if err != nil {
		return err.Error()
	}
	out, err := exec.Command(bin, "logs", "tf-service", "--events", "--data", server.Data).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}

// newProject writes the provider block of funade env --terraform beside the configuration.
func newProject(t *testing.T, server *harness.Server, plugins string, configuration []byte) *project {
	t.Helper()
	p := &project{dir: t.TempDir()}
	bin, err := harness.Funade()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := exec.Command(bin, "env", "--data", server.Data, "--terraform").Output()
	if err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\ndisable_checkpoint = true\n", plugins)
	for name, data := range map[string][]byte{"main.tf": configuration, "provider.tf": provider, "terraform.rc": []byte(rc)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TF_CLI_CONFIG_FILE=" + filepath.Join(p.dir, "terraform.rc"),
		"TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "AWS_EC2_METADATA_DISABLED=true"}
	return p
}

// shipImage leaves an image in the registry and returns its ImageIdentifier.
func shipImage(t *testing.T, server *harness.Server) string {
	t.Helper()
	program, err := harness.TestApp()
	if err != nil {
		t.Fatal(err)
	}
	img, err := ociimage.Build(ociimage.Options{Program: program, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image")
	if err := ociimage.Write(img, "layout", file); err != nil {
		t.Fatal(err)
	}
	bin, err := harness.Funade()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, "up", file, "--name", "seed", "--data", server.Data).CombinedOutput(); err != nil {
		t.Fatalf("cannot ship the image: %v\n%s", err, out)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return "000000000000.dkr.ecr.us-east-1.amazonaws.com/seed:up-" + digest.Hex[:16]
}

// restoreDefault makes App Runner's own configuration the account's default again: destroying
// aws_apprunner_default_auto_scaling_configuration_version makes no call, and a default cannot be deleted.
func restoreDefault(t *testing.T, server *harness.Server) {
	t.Helper()
	env, err := server.Env(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]string{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		v[name] = value
	}
	client := apprunner.New(apprunner.Options{
		Region: v["AWS_REGION"], BaseEndpoint: aws.String(v["AWS_ENDPOINT_URL"]),
		Credentials: credentials.NewStaticCredentialsProvider(v["AWS_ACCESS_KEY_ID"], v["AWS_SECRET_ACCESS_KEY"], ""),
	})
	list, err := client.ListAutoScalingConfigurations(t.Context(),
		&apprunner.ListAutoScalingConfigurationsInput{AutoScalingConfigurationName: aws.String("DefaultConfiguration")})
	if err != nil || len(list.AutoScalingConfigurationSummaryList) != 1 {
		t.Fatalf("cannot find DefaultConfiguration: %+v, %v", list, err)
	}
	_, err = client.UpdateDefaultAutoScalingConfiguration(t.Context(), &apprunner.UpdateDefaultAutoScalingConfigurationInput{
		AutoScalingConfigurationArn: list.AutoScalingConfigurationSummaryList[0].AutoScalingConfigurationArn,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plugins returns the provider's mirror, or skips the test.
func plugins(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("SKIPPED: no terraform in PATH; it comes neither from Debian nor as a Go module")
	}
	dir := mirror()
	if dir == "" {
		t.Skip("SKIPPED: no local mirror holds the hashicorp/aws 5.x provider; name one with TF_PLUGIN_MIRROR")
	}
	return dir
}

// TestNetwork creates, changes and destroys everything that a private network consists of.
func TestNetwork(t *testing.T) {
	t.Parallel()
	dir := plugins(t)
	server := start(t)
	image := shipImage(t, server)
	p := newProject(t, server, dir, networkConfiguration)
	stage := func(name string) {
		text := fmt.Sprintf("image = %q\nstage = %q\n", image, name)
		if err := os.WriteFile(filepath.Join(p.dir, "terraform.tfvars"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stage("one")
	p.must(t, "init", "-input=false", "-no-color")
	p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
	p.unchanged(t, "after creation")
	if found := strings.TrimSpace(p.must(t, "output", "-raw", "found")); found != "10.20.0.0/16,172.31.0.0/16,3,1,10.20.1.10" {
		t.Errorf("the data sources found %s", found)
	}

	stage("two")
	p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
	p.unchanged(t, "after the update")

	p.must(t, "destroy", "-input=false", "-no-color", "-auto-approve")
}

// TestRarerResources does the same with what fewer configurations have.
func TestRarerResources(t *testing.T) {
	t.Parallel()
	dir := plugins(t)
	server := start(t)
	image := shipImage(t, server)
	p := newProject(t, server, dir, rarerConfiguration)
	p.must(t, "init", "-input=false", "-no-color")
	for _, stage := range []string{"one", "two"} {
		text := fmt.Sprintf("image = %q\nstage = %q\n", image, stage)
		if err := os.WriteFile(filepath.Join(p.dir, "terraform.tfvars"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
		p.unchanged(t, "in stage "+stage)
	}
	p.must(t, "destroy", "-input=false", "-no-color", "-auto-approve")
}

func TestTerraform(t *testing.T) {
	t.Parallel()
	dir := plugins(t)
	server := start(t)
	image := shipImage(t, server)
	p := newProject(t, server, dir, shipConfiguration)
	p.variables(t, image, "first", "one", 3)
	p.must(t, "init", "-input=false", "-no-color")

	p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
	p.unchanged(t, "after creation")
	url := strings.TrimSpace(p.must(t, "output", "-raw", "url"))
	if _, _, body, err := server.Get(t.Context(), url); err != nil || body != "first\n" {
		t.Errorf("after creation the service answers %q, %v", body, err)
	}

	p.variables(t, image, "second", "two", 5)
	p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
	p.unchanged(t, "after the update")
	if _, _, body, err := server.Get(t.Context(), url); err != nil || body != "second\n" {
		t.Errorf("after the update the service answers %q, %v", body, err)
	}

	restoreDefault(t, server)
	p.must(t, "destroy", "-input=false", "-no-color", "-auto-approve")
	if status, _, _, err := server.Get(t.Context(), url); err != nil || status != 404 {
		t.Errorf("after destruction the service answers %d, %v", status, err)
	}
	if out := p.must(t, "state", "list"); strings.TrimSpace(out) != "" {
		t.Errorf("left in the state: %s", out)
	}
}
