package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/google/go-containerregistry/pkg/name"
)

func TestStatusJSON(t *testing.T) {
	newDouble(t).withHello(nil)
	code, out, errOut := run(t, "status", "hello", "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var doc struct {
		Service, ARN, Status, URL string
		Revision                  int
		Instances                 []struct{ ID, State, Address, StartedAt string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Service != "hello" || doc.ARN != helloARN || doc.Status != "RUNNING" || doc.Revision != 2 || doc.URL != "https://abc.us-east-1.apps.localhost:8443" {
		t.Errorf("document %+v", doc)
	}
	if len(doc.Instances) != 1 || doc.Instances[0].Address != "100.64.0.2" || doc.Instances[0].StartedAt == "" {
		t.Errorf("instances %+v", doc.Instances)
	}
}

func TestTables(t *testing.T) {
	d := newDouble(t)
	d.withHello(nil)
	d.withOperation("CREATE_SERVICE", "SUCCEEDED")
	for args, want := range map[string]string{
		"status hello":     "i1        RUNNING",
		"services":         "https://abc.us-east-1.apps.localhost:8443",
		"operations hello": "CREATE_SERVICE  SUCCEEDED",
		"logs hello":       "i1 panic: no luck",
		"version":          "funade test",
		"version --json":   `"version": "test"`,
	} {
		if code, out, errOut := run(t, strings.Fields(args)...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, output %q, want %q in it; stderr %s", args, code, out, want, errOut)
		}
	}
}

func TestUnknownServiceNamesTheRemedy(t *testing.T) {
	newDouble(t).answer("ListServices", object{"ServiceSummaryList": []object{}})
	code, _, errOut := run(t, "status", "nobody")
	if code != 1 || !strings.Contains(errOut, "no service named nobody; funade services lists them") {
		t.Errorf("exit %d, stderr %q", code, errOut)
	}
}

func TestNobodyListens(t *testing.T) {
	newDouble(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	code, _, errOut := run(t, "services")
	if code != 1 || !strings.Contains(errOut, "cannot reach the server at 127.0.0.1:1: connection refused") || !strings.Contains(errOut, "Is funade server running") || strings.Contains(errOut, "https response error") {
		t.Errorf("exit %d, stderr %q", code, errOut)
	}
}

func writeArchive(t *testing.T) string {
	t.Helper()
	img, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	ref, err := name.NewTag("hello:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		t.Fatal(err)
	}
	return file
}

// withRegistry lets the double answer what a push asks.
func (d *double) withRegistry() {
	d.answer("CreateRepository", object{"repository": object{"repositoryUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/hello"}})
	d.answer("GetAuthorizationToken", object{"authorizationData": []object{{"authorizationToken": "QVdTOnB3"}}})
}

func TestUpCreatesThenLeavesAlone(t *testing.T) {
	d := newDouble(t)
	d.withRegistry()
	d.withOperation("CREATE_SERVICE", "SUCCEEDED", "Service creation started.")
	d.answer("ListServices", object{"ServiceSummaryList": []object{}})
	var source object
	d.on("CreateService", func(in object) any {
		source = in["SourceConfiguration"].(object)
		d.withHello(source)
		return object{"Service": helloService("OPERATION_IN_PROGRESS", source), "OperationId": "op-1"}
	})
	file := writeArchive(t)
	args := []string{"up", file, "--name", "hello", "--port", "8080", "--env", "A=1", "--env", "B=x=y;z"}
	code, out, errOut := run(t, args...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	if out != "https://abc.us-east-1.apps.localhost:8443\n" {
		t.Errorf("stdout %q, want the URL alone", out)
	}
	if !strings.Contains(errOut, "Service creation started.") {
		t.Errorf("stderr %q lacks the events", errOut)
	}
	repo := source["ImageRepository"].(object)
	if id := repo["ImageIdentifier"].(string); !strings.HasPrefix(id, "000000000000.dkr.ecr.us-east-1.amazonaws.com/hello:up-") || repo["ImageRepositoryType"] != "ECR" {
		t.Errorf("source %v", source)
	}
	env := repo["ImageConfiguration"].(object)["RuntimeEnvironmentVariables"].(object)
	if env["A"] != "1" || env["B"] != "x=y;z" {
		t.Errorf("environment %v", env)
	}

	if code, _, errOut = run(t, args...); code != 0 || !strings.Contains(errOut, "up to date") {
		t.Errorf("second run: exit %d, stderr %q", code, errOut)
	}
	if n := d.called("UpdateService") + d.called("StartDeployment"); n != 0 {
		t.Errorf("second run changed the service %d times", n)
	}

	d.answer("UpdateService", object{"Service": helloService("OPERATION_IN_PROGRESS", source), "OperationId": "op-1"})
	if code, _, errOut = run(t, "up", file, "--name", "hello", "--env", "A=2"); code != 0 {
		t.Fatalf("third run: exit %d, stderr %q", code, errOut)
	}
	if in := d.input("UpdateService"); d.called("UpdateService") != 1 || in["InstanceConfiguration"] != nil {
		t.Errorf("third run: %d updates, input %v", d.called("UpdateService"), in)
	}
}

func TestUpFailureExitsWithTheReason(t *testing.T) {
	d := newDouble(t)
	d.withHello(object{})
	d.withOperation("UPDATE_SERVICE", "ROLLBACK_SUCCEEDED", "Deployment with ID : op-1 failed. Failure reason : Health check failed.")
	d.answer("UpdateService", object{"Service": helloService("OPERATION_IN_PROGRESS", nil), "OperationId": "op-1"})
	code, out, errOut := run(t, "up", "public.example/app:1", "--name", "hello", "--port", "9")
	if code != 1 || out != "" {
		t.Errorf("exit %d, stdout %q", code, out)
	}
	for _, want := range []string{"UPDATE_SERVICE of hello ended ROLLBACK_SUCCEEDED", "Health check failed", "panic: no luck", "goes on serving"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("stderr %q lacks %q", errOut, want)
		}
	}
	if kind := d.input("UpdateService")["SourceConfiguration"].(object)["ImageRepository"].(object)["ImageRepositoryType"]; kind != "ECR_PUBLIC" {
		t.Errorf("type %v, want ECR_PUBLIC for another host", kind)
	}
}

func TestUpRefuses(t *testing.T) {
	d := newDouble(t)
	d.answer("ListServices", object{"ServiceSummaryList": []object{}})
	notAnImage := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(notAnImage, []byte("no tar"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ arg, want string }{
		{"./nothing.tar", "no such file"}, {notAnImage, "give an OCI layout"}, {"Not A Reference", "neither a file on this machine nor an image reference"},
	} {
		if code, _, errOut := run(t, "up", tc.arg, "--name", "hello"); code == 0 || !strings.Contains(errOut, tc.want) {
			t.Errorf("%s: exit %d, stderr %q, want %q in it", tc.arg, code, errOut, tc.want)
		}
	}
}

func TestOwnReferences(t *testing.T) {
	c := &clients{endpoint: "http://127.0.0.1:4566"}
	const host = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
	for arg, want := range map[string]imageReference{
		"127.0.0.1:4566/hello:v1":                {host + "/hello:v1", true, "hello:v1"},
		"localhost:4566/hello:v1":                {host + "/hello:v1", true, "hello:v1"},
		"localhost:4566/" + host + "/team/app:1": {host + "/team/app:1", true, "team/app:1"},
		host + "/hello:v1":                       {host + "/hello:v1", true, "hello:v1"},
		"public.ecr.aws/nginx/nginx:1":           {"public.ecr.aws/nginx/nginx:1", false, ""},
		"busybox":                                {"busybox", false, ""},
	} {
		if got, err := c.parseReference(arg, host); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", arg, got, err, want)
		}
	}
}

func TestOpenLocalForms(t *testing.T) {
	img, err := random.Image(512, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "oci.tar.gz")
	packDir(t, dir, archive)
	for _, arg := range []string{dir, archive} {
		l, err := openLocal(arg)
		if err != nil {
			t.Fatalf("%s: %v", arg, err)
		}
		if got, err := l.digest(); err != nil || got != want {
			t.Errorf("%s: digest %v, %v; want %v", arg, got, err, want)
		}
		l.close()
	}
	if l, err := openLocal("example.com/app:1"); l != nil || err != nil {
		t.Errorf("a reference opened as %v, %v", l, err)
	}
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"a": "b"})); err != nil {
		t.Fatal(err)
	}
	if _, err := openLocal(dir); err == nil || !strings.Contains(err.Error(), "2 images") {
		t.Errorf("two images: %v", err)
	}
}

func TestRotatePrintsExports(t *testing.T) {
	newDouble(t).answer("RotateRootKey", object{"AccessKeyId": "AKIDNEW", "SecretAccessKey": "new"})
	code, out, _ := run(t, "keys", "rotate")
	if code != 0 || out != "export AWS_ACCESS_KEY_ID=AKIDNEW\nexport AWS_SECRET_ACCESS_KEY=new\n" {
		t.Errorf("exit %d, stdout %q", code, out)
	}
}

func TestRollbackCancelSettings(t *testing.T) {
	d := newDouble(t)
	d.withHello(nil)
	d.withOperation("UPDATE_SERVICE", "SUCCEEDED")
	d.answer("RollbackService", object{"ServiceArn": helloARN, "OperationId": "op-1"})
	d.answer("CancelOperation", object{"OperationId": "op-1", "Status": "IN_PROGRESS"})
	d.answer("GetServiceSettings", object{"Settings": object{"StopTimeoutSeconds": 5}})
	d.on("PutServiceSettings", func(in object) any { return object{"Settings": in["Settings"]} })
	if code, _, errOut := run(t, "rollback", "hello", "--to", "1"); code != 0 || d.input("RollbackService")["Revision"] != 1.0 {
		t.Errorf("rollback: exit %d, input %v, stderr %s", code, d.input("RollbackService"), errOut)
	}
	if code, out, _ := run(t, "cancel", "hello"); code != 0 || !strings.Contains(out, "op-1") {
		t.Errorf("cancel: exit %d, stdout %q", code, out)
	}
	if code, out, errOut := run(t, "settings", "hello", "--start-timeout", "1m"); code != 0 || !strings.Contains(out, "start-timeout    1m0s") || !strings.Contains(out, "stop-timeout     5s") {
		t.Errorf("settings: exit %d, stdout %q, stderr %s", code, out, errOut)
	}
	if code, _, errOut := run(t, "settings", "hello", "--start-timeout", "1500ms"); code != 2 || !strings.Contains(errOut, "--start-timeout 1.5s") {
		t.Errorf("bad setting: exit %d, stderr %q", code, errOut)
	}
}

func TestEverySubcommandHasHelp(t *testing.T) {
	for _, verb := range []string{"server", "env", "up", "status", "services", "operations", "logs", "settings", "rollback", "cancel", "keys", "ca", "trust", "purge", "version"} {
		if code, out, errOut := run(t, verb, "--help"); code != 0 || !strings.Contains(out, "Usage: funade "+verb) {
			t.Errorf("%s --help: exit %d, output %q %q", verb, code, out, errOut)
		}
	}
	if code, _, _ := run(t, "nonsense"); code != 2 {
		t.Errorf("unknown verb: exit %d, want 2", code)
	}
}

func TestPurgeAsks(t *testing.T) {
	if code, _, errOut := run(t, "purge", "--data", t.TempDir()); code != 2 || !strings.Contains(errOut, "nothing removed") {
		t.Errorf("exit %d, stderr %q", code, errOut)
	}
}

// TestTerraformNamesEveryService compares with the generated packages, so that a new service is not forgotten.
func TestTerraformNamesEveryService(t *testing.T) {
	entries, err := os.ReadDir("../aws/api")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "funade" {
			want = append(want, e.Name())
		}
	}
	if !slices.Equal(terraformEndpoints, want) {
		t.Errorf("endpoints %v, generated services %v", terraformEndpoints, want)
	}
}

func TestUpRefusesANameBeforeItPushes(t *testing.T) {
	for _, name := range []string{"x", "-web", "a name", strings.Repeat("n", 41)} {
		if code, _, errOut := run(t, "up", "hello.tar", "--name="+name); code != 2 || !strings.Contains(errOut, "4 to 40 letters") {
			t.Errorf("--name %q: exit %d, %s", name, code, errOut)
		}
	}
}
