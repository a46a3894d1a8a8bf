package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	protocol "github.com/funade/funade/internal/session"
)

type object = map[string]any

// double is an API server whose answers are functions, and a registry. It records the operations called.
type double struct {
	mu      sync.Mutex
	calls   []string
	inputs  map[string]object
	answers map[string]func(in object) any
	// session serves what CreateSession led to.
	session func(*protocol.Conn)
}

// refusal is an answer that becomes an error.
type refusal struct{ code, message string }

func newDouble(t *testing.T) *double {
	t.Helper()
	d := &double{inputs: map[string]object{}, answers: map[string]func(object) any{}}
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2") {
			reg.ServeHTTP(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/funade/session/") {
			d.upgrade(t, w, r)
			return
		}
		d.serve(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	d.answer("DescribeInstall", object{"InstallId": "0123abcd", "Version": "1", "AccountId": "000000000000", "Region": "us-east-1",
		"Domain": "apps.localhost", "HttpsPort": 8443, "RegistryHost": "127.0.0.1"})
	return d
}

// withSessions makes sessions that f serves; their token is "secret".
func (d *double) withSessions(f func(*protocol.Conn)) {
	d.mu.Lock()
	d.session = f
	d.mu.Unlock()
	d.answer("CreateSession", object{"SessionId": "s1", "Token": "secret", "Path": "/funade/session/s1", "ExpiresAt": 1.7e9, "InstanceId": "i1"})
}

func (d *double) upgrade(t *testing.T, w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	serve := d.session
	d.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/funade/session/s1" || serve == nil {
		http.Error(w, "there is no such session", http.StatusForbidden)
		return
	}
	c, err := protocol.Accept(w, r, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	serve(c)
}

func (d *double) answer(operation string, out any) { d.on(operation, func(object) any { return out }) }

func (d *double) on(operation string, f func(in object) any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[operation] = f
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	in := object{}
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in) // an empty input has no body to speak of
	d.mu.Lock()
	d.calls = append(d.calls, operation)
	d.inputs[operation] = in
	f := d.answers[operation]
	d.mu.Unlock()
	var out any = refusal{"UnknownOperationException", "no " + operation}
	if f != nil {
		out = f(in)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if no, ok := out.(refusal); ok {
		w.WriteHeader(http.StatusBadRequest)
		out = object{"__type": no.code, "message": no.message}
	}
	_ = json.NewEncoder(w).Encode(out) // the client notices a broken answer
}

func (d *double) called(operation string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if c == operation {
			n++
		}
	}
	return n
}

func (d *double) input(operation string) object {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inputs[operation]
}

// run runs the program and returns exit code, stdout and stderr.
func run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	p := &Program{Version: "test", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut, Hooks: Hooks{
		RootKey: func(string) (Key, error) { return Key{"AKIDEXAMPLE", "se'cret"}, nil },
	}}
	code := p.Run(t.Context(), args)
	return code, out.String(), errOut.String()
}

const helloARN = "arn:aws:apprunner:us-east-1:000000000000:service/hello/0123456789abcdef0123456789abcdef"

func helloService(status string, source object) object {
	return object{
		"ServiceName": "hello", "ServiceId": "0123456789abcdef0123456789abcdef", "ServiceArn": helloARN, "Status": status,
		"ServiceUrl": "abc.us-east-1.apps.localhost", "CreatedAt": 1.7e9, "UpdatedAt": 1.7e9, "SourceConfiguration": source,
		"InstanceConfiguration":           object{"Cpu": "1024", "Memory": "2048"},
		"NetworkConfiguration":            object{},
		"AutoScalingConfigurationSummary": object{"AutoScalingConfigurationArn": "arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/d/1/1"},
	}
}

// withHello adds one running service to the double.
func (d *double) withHello(source object) {
	s := helloService("RUNNING", source)
	d.answer("ListServices", object{"ServiceSummaryList": []object{{"ServiceName": "hello", "ServiceArn": helloARN,
		"ServiceUrl": "abc.us-east-1.apps.localhost", "Status": "RUNNING", "CreatedAt": 1.7e9}}})
	d.answer("DescribeService", object{"Service": s})
	d.answer("ListInstances", object{"Instances": []object{{"InstanceId": "i1", "State": "RUNNING", "Revision": 2, "Address": "100.64.0.2", "StartedAt": 1.7e9}}})
	d.answer("ListRevisions", object{"Revisions": []object{{"Revision": 2, "Active": true}, {"Revision": 1}}})
}

// withOperation makes operations end with a status after the given events.
func (d *double) withOperation(kind, status string, events ...string) {
	d.answer("ListOperations", object{"OperationSummaryList": []object{{"Id": "op-1", "Type": kind, "Status": status, "StartedAt": 1.7e9, "EndedAt": 1.7e9}}})
	var list []object
	for i, e := range append(events, "Service status is set to RUNNING.") {
		list = append(list, object{"eventId": string(rune('a' + i)), "logStreamName": "events", "timestamp": int64(1.7e12), "message": e})
	}
	d.on("FilterLogEvents", func(in object) any {
		if name, _ := in["logGroupName"].(string); strings.HasSuffix(name, "/application") {
			return object{"events": []object{{"eventId": "z", "logStreamName": "instance/i1", "timestamp": int64(1.7e12), "message": "panic: no luck"}}}
		}
		return object{"events": list}
	})
}
