package wire_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/api/ecr"
	"github.com/funade/funade/internal/aws/api/ecrpublic"
	"github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/api/iam"
	"github.com/funade/funade/internal/aws/api/logs"
	"github.com/funade/funade/internal/aws/api/sts"
	"github.com/funade/funade/internal/aws/shape"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
)

const (
	account = "000000000000"
	arn     = "arn:aws:apprunner:eu-west-1:000000000000:service/hello/0123456789abcdef0123456789abcdef"
)

var (
	root    = sigv4.Credentials{AccessKeyID: "AKIDROOT", SecretAccessKey: "top-secret"}
	created = time.Date(2026, 11, 22, 15, 0, 0, 500e6, time.UTC)
)

type keys struct{}

func (keys) Secret(_ context.Context, accessKeyID, _ string) (sigv4.Secret, error) {
	switch accessKeyID {
	case root.AccessKeyID:
		return sigv4.Secret{SecretAccessKey: root.SecretAccessKey, Identity: sigv4.Identity{Account: account, UserID: account, ARN: "arn:aws:iam::" + account + ":root"}}, nil
	case "AKIDBROKEN":
		return sigv4.Secret{}, errors.New("the key store holds the word xyzzy")
	}
	return sigv4.Secret{}, sigv4.ErrUnknownKey
}

// toy answers a few operations of each service.
type toyRunner struct{ apprunner.Unimplemented }

func (toyRunner) ListServices(ctx context.Context, in *apprunner.ListServicesInput) (*apprunner.ListServicesOutput, error) {
	caller, ok := wire.CallerFrom(ctx)
	if !ok {
		return nil, errors.New("no caller")
	}
	return &apprunner.ListServicesOutput{ServiceSummaryList: []apprunner.ServiceSummary{{
		ServiceName: new("hello-" + caller.Region + "-" + caller.Account), ServiceArn: new(arn), CreatedAt: &created, Status: apprunner.ServiceStatusRunning,
	}}}, nil
}

func (toyRunner) CreateService(_ context.Context, in *apprunner.CreateServiceInput) (*apprunner.CreateServiceOutput, error) {
	return &apprunner.CreateServiceOutput{OperationId: new("op"), Service: &apprunner.Service{ServiceName: in.ServiceName, SourceConfiguration: in.SourceConfiguration, CreatedAt: &created}}, nil
}

func (toyRunner) DescribeService(context.Context, *apprunner.DescribeServiceInput) (*apprunner.DescribeServiceOutput, error) {
	return nil, fmt.Errorf("cannot describe service: %w", &apprunner.ResourceNotFoundException{Message: "no such service"})
}

func (toyRunner) DescribeCustomDomains(context.Context, *apprunner.DescribeCustomDomainsInput) (*apprunner.DescribeCustomDomainsOutput, error) {
	return &apprunner.DescribeCustomDomainsOutput{DNSTarget: new("d"), ServiceArn: new(arn)}, nil
}

func (toyRunner) PauseService(context.Context, *apprunner.PauseServiceInput) (*apprunner.PauseServiceOutput, error) {
	panic("xyzzy")
}

func (toyRunner) ResumeService(context.Context, *apprunner.ResumeServiceInput) (*apprunner.ResumeServiceOutput, error) {
	return nil, errors.New("the disk said xyzzy")
}

func (toyRunner) DeleteService(context.Context, *apprunner.DeleteServiceInput) (*apprunner.DeleteServiceOutput, error) {
	return nil, nil
}

type toyECR struct{ ecr.Unimplemented }

func (toyECR) CreateRepository(_ context.Context, in *ecr.CreateRepositoryInput) (*ecr.CreateRepositoryOutput, error) {
	return &ecr.CreateRepositoryOutput{Repository: &ecr.Repository{RepositoryName: in.RepositoryName, CreatedAt: &created, ImageTagMutability: in.ImageTagMutability}}, nil
}

func (toyECR) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput) (*ecr.GetAuthorizationTokenOutput, error) {
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []ecr.AuthorizationData{{AuthorizationToken: new("QVdTOng="), ExpiresAt: &created}}}, nil
}

type toyLogs struct{ logs.Unimplemented }

func (toyLogs) CreateLogGroup(context.Context, *logs.CreateLogGroupInput) (*logs.CreateLogGroupOutput, error) {
	return nil, nil // an output without members may be nil
}

func (toyLogs) FilterLogEvents(_ context.Context, in *logs.FilterLogEventsInput) (*logs.FilterLogEventsOutput, error) {
	return &logs.FilterLogEventsOutput{Events: []logs.FilteredLogEvent{{Message: in.FilterPattern, Timestamp: in.StartTime}}}, nil
}

func (toyLogs) PutLogEvents(context.Context, *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	return nil, &logs.DataAlreadyAcceptedException{Message: "again", ExpectedSequenceToken: new("t")}
}

type toySTS struct{ sts.Unimplemented }

func (toySTS) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	c, _ := wire.CallerFrom(ctx)
	return &sts.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN, UserId: &c.UserID}, nil
}

type toyIAM struct{ iam.Unimplemented }

func (toyIAM) GetUser(_ context.Context, in *iam.GetUserInput) (*iam.GetUserOutput, error) {
	if in.UserName != nil {
		return nil, &iam.NoSuchEntityException{Message: "The user with name " + *in.UserName + " cannot be found."}
	}
	return &iam.GetUserOutput{User: &iam.User{UserName: new("<root>"), CreateDate: &created, Tags: []iam.Tag{{Key: new("k"), Value: new("v")}}}}, nil
}

type toyFunade struct{ funade.Unimplemented }

func (toyFunade) PutServiceSettings(_ context.Context, in *funade.PutServiceSettingsInput) (*funade.PutServiceSettingsOutput, error) {
	return &funade.PutServiceSettingsOutput{Settings: in.Settings}, nil
}

func (toyFunade) ListInstances(context.Context, *funade.ListInstancesInput) (*funade.ListInstancesOutput, error) {
	return &funade.ListInstancesOutput{Instances: []funade.Instance{{InstanceId: new("i"), State: funade.InstanceStateRunning, StartedAt: &created}}}, nil
}

func (toyFunade) CancelOperation(context.Context, *funade.CancelOperationInput) (*funade.CancelOperationOutput, error) {
	return nil, &funade.InvalidStateException{Message: "nothing to cancel"}
}

// reports collects what the mux reports and observes.
type reports struct {
	mu       sync.Mutex
	texts    []string
	statuses []int
}

func newMux(t testing.TB, seen *reports, now func() time.Time) *wire.Mux {
	t.Helper()
	m, err := wire.NewMux(wire.Options{
		Verifier: sigv4.NewVerifier(keys{}, now),
		Authorize: func(c *wire.Call) error {
			if c.Operation.Name == "StartDeployment" {
				return &wire.Error{Code: "AccessDeniedException", Message: "not you", Status: http.StatusForbidden}
			}
			return nil
		},
		Report: func(c *wire.Call, err error) {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			seen.texts = append(seen.texts, c.ID+" "+err.Error())
		},
		Observe: func(_ *wire.Call, status int, e *wire.Error) {
			if (e != nil) == (status == 200) {
				t.Errorf("observed status %d with error %v", status, e)
			}
			seen.mu.Lock()
			defer seen.mu.Unlock()
			seen.statuses = append(seen.statuses, status)
		},
	},
		wire.Registration{Service: apprunner.Descriptor, Handler: toyRunner{}},
		wire.Registration{Service: ecr.Descriptor, Handler: toyECR{}},
		wire.Registration{Service: ecrpublic.Descriptor, Handler: ecrpublic.Unimplemented{}},
		wire.Registration{Service: logs.Descriptor, Handler: toyLogs{}},
		wire.Registration{Service: sts.Descriptor, Handler: toySTS{}},
		wire.Registration{Service: iam.Descriptor, Handler: toyIAM{}},
		wire.Registration{Service: funade.Descriptor, Handler: toyFunade{}},
		wire.Registration{Service: ec2.Descriptor, Handler: toyEC2{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// exchange is one request and what must come back.
type exchange struct {
	name    string
	service string // signing name; empty leaves the request unsigned
	target  string // X-Amz-Target, or empty for a query request
	body    string
	change  func(*http.Request) // before signing
	spoil   func(*http.Request) // after signing
	status  int
	want    string // a part of the body
	report  bool
}

const form = "application/x-www-form-urlencoded; charset=utf-8"

func (e exchange) request(t testing.TB, now time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "http://127.0.0.1:4566/", strings.NewReader(e.body))
	if e.target != "" {
		r.Header.Set("X-Amz-Target", e.target)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	} else {
		r.Header.Set("Content-Type", form)
	}
	if e.change != nil {
		e.change(r)
	}
	if e.service != "" {
		if err := sigv4.Sign(r, []byte(e.body), root, "eu-west-1", e.service, now); err != nil {
			t.Fatal(err)
		}
	}
	if e.spoil != nil {
		e.spoil(r)
	}
	return r
}

func resign(as sigv4.Credentials, service, body string, at time.Time) func(*http.Request) {
	return func(r *http.Request) { _ = sigv4.Sign(r, []byte(body), as, "eu-west-1", service, at) }
}

func exchanges(now time.Time) []exchange {
	arnBody := `{"ServiceArn":"` + arn + `"}`
	stale := now.Add(-time.Hour)
	return append(ec2Exchanges(), []exchange{
		{name: "json success", service: "apprunner", target: "AppRunner.ListServices", body: `{}`, status: 200,
			want: `{"ServiceSummaryList":[{"ServiceName":"hello-eu-west-1-000000000000","ServiceArn":"` + arn + `","CreatedAt":1795359600.500,"Status":"RUNNING"}]}`},
		{name: "required list is written", service: "apprunner", target: "AppRunner.DescribeCustomDomains", body: arnBody, status: 200, want: `"CustomDomains":[],"VpcDNSTargets":[]`},
		{name: "nil output without members", service: "logs", target: "Logs_20140328.CreateLogGroup", body: `{"logGroupName":"g"}`, status: 200, want: `{}`},
		{name: "query success", service: "sts", body: "Action=GetCallerIdentity&Version=2011-06-15", status: 200,
			want: `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><UserId>000000000000</UserId><Account>000000000000</Account><Arn>arn:aws:iam::000000000000:root</Arn></GetCallerIdentityResult><ResponseMetadata><RequestId>`},
		{name: "query nested", service: "iam", body: "Action=GetUser&Version=2010-05-08", status: 200, want: `<CreateDate>2026-11-22T15:00:00.500Z</CreateDate>`},
		{name: "query lists", service: "iam", body: "Action=GetUser&Version=2010-05-08", status: 200, want: `<Tags><member><Key>k</Key><Value>v</Value></member></Tags>`},

		{name: "modelled error", service: "apprunner", target: "AppRunner.DescribeService", body: arnBody, status: 400, want: `{"__type":"ResourceNotFoundException","Message":"no such service"}`},
		{name: "error members", service: "logs", target: "Logs_20140328.PutLogEvents", body: `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"m"}]}`, status: 400,
			want: `{"__type":"DataAlreadyAcceptedException","message":"again","expectedSequenceToken":"t"}`},
		{name: "query error", service: "iam", body: "Action=GetUser&Version=2010-05-08&UserName=x", status: 404,
			want: `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>The user with name x cannot be found.</Message></Error><RequestId>`},
		{name: "validation", service: "apprunner", target: "AppRunner.CreateService", body: `{}`, status: 400, want: `{"__type":"InvalidRequestException","Message":"2 validation errors detected: Value null at 'serviceName'`},
		{name: "empty required enum counts once", service: "ecr", target: "AmazonEC2ContainerRegistry_V20150921.PutImageTagMutability", body: `{"repositoryName":"ab","imageTagMutability":""}`, status: 400,
			want: `{"__type":"InvalidParameterException","message":"1 validation error detected: Value '' at 'imageTagMutability' failed to satisfy constraint: Member must satisfy enum value set: [MUTABLE, IMMUTABLE]"}`},
		{name: "query validation", service: "iam", body: "Action=GetUser&Version=2010-05-08&UserName=a%20b", status: 400, want: `<Code>ValidationError</Code><Message>1 validation error detected: Value &#39;a b&#39; at &#39;userName&#39;`},
		{name: "extension validation", service: "funade", target: "Funade_20261101.PutServiceSettings", body: `{"ServiceArn":"` + arn + `","Settings":{"StopTimeoutSeconds":601}}`, status: 400,
			want: `{"__type":"ValidationException","Message":"1 validation error detected: Value '601' at 'settings.stopTimeoutSeconds' failed to satisfy constraint: Member must have value less than or equal to 600"}`},
		{name: "denied by the hook", service: "apprunner", target: "AppRunner.StartDeployment", body: arnBody, status: 403, want: `"AccessDeniedException"`},

		{name: "unimplemented", service: "apprunner", target: "AppRunner.ListVpcConnectors", body: `{}`, status: 400, want: `{"__type":"UnknownOperationException"`},
		{name: "unknown operation", service: "apprunner", target: "AppRunner.Fly", body: `{}`, status: 400, want: `"UnknownOperationException"`},
		{name: "unknown action", service: "sts", body: "Action=Fly&Version=2011-06-15", status: 400, want: `<Code>InvalidAction</Code>`},
		{name: "other version", service: "sts", body: "Action=GetCallerIdentity&Version=2012-01-01", status: 400, want: `Could not find operation GetCallerIdentity for version 2012-01-01.`},
		{name: "endless action", service: "sts", body: "Action=" + strings.Repeat("a", 100000), status: 400, want: "aaa… is not valid"},
		{name: "no action", service: "sts", body: "Version=2011-06-15", status: 400, want: `<Code>MissingAction</Code>`},
		{name: "unknown json service", service: "dynamodb", target: "DynamoDB_20120810.ListTables", body: `{}`, status: 400, want: `The service \"dynamodb\" is not available here. Services here: apprunner, ec2, ecr, ecr-public, funade, iam, logs, sts.`},
		{name: "unknown query service", service: "rds", body: "Action=DescribeDBInstances&Version=2014-10-31", status: 400, want: `<Code>InvalidAction</Code><Message>The service &#34;rds&#34; is not available here.`},
		{name: "unknown rest service", service: "s3", body: "", status: 400, change: func(r *http.Request) { r.Method, r.URL.Path = "GET", "/bucket" }, want: `The service &#34;s3&#34; is not available here.`},
		{name: "target of no service", service: "apprunner", target: "Foo.List", body: `{}`, status: 400, want: `The service \"Foo\" is not available here.`},
		{name: "no target", service: "apprunner", body: `{}`, status: 400, change: func(r *http.Request) { r.Header.Set("Content-Type", "application/x-amz-json-1.0") },
			want: `The request names no operation of the service \"apprunner\" in the form`},
		{name: "no structure", service: "apprunner", target: "AppRunner.ListServices", body: `[]`, status: 400, want: `value must be a structure, not an array."`},
		{name: "bare GET", status: 400, change: func(r *http.Request) { r.Method = "GET" }, want: "neither X-Amz-Target nor Action"},
		{name: "json by GET", service: "apprunner", target: "AppRunner.ListServices", status: 400, change: func(r *http.Request) { r.Method = "GET" }, want: "MalformedHttpRequestException"},
		{name: "target without dot", service: "apprunner", target: "ListServices", status: 400, want: "X-Amz-Target must be given once"},

		{name: "wrong type", service: "apprunner", target: "AppRunner.CreateService", body: `{"InstanceConfiguration":{"Cpu":1024}}`, status: 400,
			want: `{"__type":"SerializationException","Message":"The request body is not valid for CreateService: value must be a string, not a number, at 'instanceConfiguration.cpu'."}`},
		{name: "not json", service: "ecr", target: "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", body: `{`, status: 400, want: `{"__type":"SerializationException","message":`},
		{name: "malformed form", service: "sts", body: "Action=%zz", status: 400, want: `<Code>MalformedQueryString</Code>`},
		{name: "too large", service: "apprunner", target: "AppRunner.ListServices", body: strings.Repeat(" ", wire.DefaultMaxBody+1), status: 413, want: `"RequestEntityTooLargeException"`},
		{name: "too large, length unsaid", service: "apprunner", target: "AppRunner.ListServices", body: strings.Repeat(" ", wire.DefaultMaxBody+1), status: 413,
			spoil: func(r *http.Request) { r.ContentLength = -1 }, want: `"RequestEntityTooLargeException"`},
		{name: "largest", service: "apprunner", target: "AppRunner.ListServices", body: strings.Repeat(" ", wire.DefaultMaxBody), status: 200, want: `ServiceSummaryList`},

		{name: "json unsigned", target: "AppRunner.ListServices", body: `{}`, status: 403, want: `{"__type":"MissingAuthenticationTokenException","Message":`},
		{name: "query unsigned", body: "Action=GetCallerIdentity&Version=2011-06-15", status: 403, want: `<Code>MissingAuthenticationToken</Code>`},
		{name: "json malformed signature", target: "AppRunner.ListServices", body: `{}`, change: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, status: 403, want: `"IncompleteSignatureException"`},
		{name: "query malformed signature", body: "Action=GetUser", change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, status: 403, want: `<Code>IncompleteSignature</Code>`},
		{name: "json unknown key", target: "AppRunner.ListServices", body: `{}`, spoil: resign(sigv4.Credentials{AccessKeyID: "AKIDX", SecretAccessKey: "x"}, "apprunner", "{}", now), status: 403, want: `"UnrecognizedClientException"`},
		{name: "query unknown key", body: "Action=GetUser", spoil: resign(sigv4.Credentials{AccessKeyID: "AKIDX", SecretAccessKey: "x"}, "iam", "Action=GetUser", now), status: 403, want: `<Code>InvalidClientTokenId</Code>`},
		{name: "json wrong secret", target: "AppRunner.ListServices", body: `{}`, spoil: resign(sigv4.Credentials{AccessKeyID: root.AccessKeyID, SecretAccessKey: "x"}, "apprunner", "{}", now), status: 403, want: `"InvalidSignatureException"`},
		{name: "query wrong secret", body: "Action=GetUser", spoil: resign(sigv4.Credentials{AccessKeyID: root.AccessKeyID, SecretAccessKey: "x"}, "iam", "Action=GetUser", now), status: 403, want: `<Code>SignatureDoesNotMatch</Code>`},
		{name: "json stale", target: "AppRunner.ListServices", body: `{}`, spoil: resign(root, "apprunner", "{}", stale), status: 403, want: `"InvalidSignatureException","Message":"Signature expired: `},
		{name: "query stale", body: "Action=GetUser", spoil: resign(root, "iam", "Action=GetUser", stale), status: 403, want: `<Code>SignatureDoesNotMatch</Code><Message>Signature expired: `},
		{name: "scope of another service", target: "AppRunner.ListServices", service: "ecr", body: `{}`, status: 403, want: `Credential should be scoped to correct service: 'apprunner'.`},
		{name: "unknown operation unsigned", target: "AppRunner.Fly", body: `{}`, status: 403, want: `"MissingAuthenticationTokenException"`},

		{name: "panic", service: "apprunner", target: "AppRunner.PauseService", body: arnBody, status: 500, want: `{"__type":"InternalServiceErrorException","Message":"The request failed`, report: true},
		{name: "unclassified error", service: "apprunner", target: "AppRunner.ResumeService", body: arnBody, status: 500, want: `"InternalServiceErrorException"`, report: true},
		{name: "no output", service: "apprunner", target: "AppRunner.DeleteService", body: arnBody, status: 500, want: `"InternalServiceErrorException"`, report: true},
		{name: "broken key store", service: "sts", body: "Action=GetCallerIdentity", spoil: resign(sigv4.Credentials{AccessKeyID: "AKIDBROKEN", SecretAccessKey: "x"}, "sts", "Action=GetCallerIdentity", now), status: 500, want: `<Type>Receiver</Type><Code>InternalFailure</Code>`, report: true},
	}...)
}

func TestExchanges(t *testing.T) {
	now := time.Now()
	for _, e := range exchanges(now) {
		t.Run(e.name, func(t *testing.T) {
			var seen reports
			w := httptest.NewRecorder()
			newMux(t, &seen, func() time.Time { return now }).ServeHTTP(w, e.request(t, now))
			body := w.Body.String()
			if w.Code != e.status || !strings.Contains(body, e.want) {
				t.Errorf("status %d: %s\nwant   %d: %s", w.Code, body, e.status, e.want)
			}
			id := w.Header().Get("x-amzn-RequestId")
			if len(id) != 36 {
				t.Errorf("request id %q", id)
			}
			wellFormed(t, w.Header().Get("Content-Type"), body)
			if len(seen.statuses) != 1 || seen.statuses[0] != e.status {
				t.Errorf("observed %v", seen.statuses)
			}
			if strings.Contains(body, "xyzzy") {
				t.Error("the caller was told the cause of an internal error")
			}
			if e.report != (len(seen.texts) == 1) || (e.report && !strings.HasPrefix(seen.texts[0], id+" ")) {
				t.Errorf("reported %q", seen.texts)
			}
		})
	}
}

func wellFormed(t *testing.T, contentType, body string) {
	t.Helper()
	switch {
	case strings.HasPrefix(contentType, "application/x-amz-json-1."):
		if !json.Valid([]byte(body)) {
			t.Errorf("not JSON: %s", body)
		}
	case contentType == "text/xml":
		d := xml.NewDecoder(strings.NewReader(body))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("not XML: %v: %s", err, body)
			}
		}
	default:
		t.Errorf("content type %q", contentType)
	}
}

func TestContentTypeFollowsTheService(t *testing.T) {
	now := time.Now()
	for _, e := range []exchange{
		{service: "apprunner", target: "AppRunner.ListServices", body: "{}", want: "application/x-amz-json-1.0"},
		{service: "ecr", target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", body: "{}", want: "application/x-amz-json-1.1"},
	} {
		w := httptest.NewRecorder()
		newMux(t, new(reports), func() time.Time { return now }).ServeHTTP(w, e.request(t, now))
		if got := w.Header().Get("Content-Type"); got != e.want || w.Code != 200 {
			t.Errorf("%s: %d %s", e.service, w.Code, got)
		}
	}
}

func TestNewMuxRefusesWrongRegistrations(t *testing.T) {
	o := wire.Options{Verifier: sigv4.NewVerifier(keys{}, time.Now)}
	good := wire.Registration{Service: ecr.Descriptor, Handler: toyECR{}}
	for name, regs := range map[string][]wire.Registration{
		"other handler": {{Service: ecr.Descriptor, Handler: toyRunner{}}},
		"no service":    {{Handler: toyECR{}}},
		"twice":         {good, good},
		"query twice":   {{Service: sts.Descriptor, Handler: toySTS{}}, {Service: sts.Descriptor, Handler: toySTS{}}},
		"protocol":      {{Service: shape.NewService(shape.Service{Protocol: "morse", ImplementedBy: func(any) bool { return true }}), Handler: 1}},
	} {
		if _, err := wire.NewMux(o, regs...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := wire.NewMux(wire.Options{}, good); err == nil {
		t.Error("no verifier: no error")
	}
}

// Every schema must fit its generated Go type, or codecs would panic.
func TestSchemasFitTypes(t *testing.T) {
	for _, s := range []*wire.Service{apprunner.Descriptor, ecr.Descriptor, ecrpublic.Descriptor, funade.Descriptor, iam.Descriptor, logs.Descriptor, sts.Descriptor} {
		seen := map[*shape.Schema]bool{}
		for i := range s.Operations {
			op := &s.Operations[i]
			fits(t, s.Name, op.Input, reflect.TypeOf(op.NewInput()).Elem(), seen)
			fits(t, s.Name, op.Output, reflect.TypeOf(op.NewOutput()).Elem(), seen)
			if s.Operation(op.Name) != op {
				t.Errorf("%s: operation %s is not found by name", s.Name, op.Name)
			}
			_ = op.Validate(op.NewInput()) // must not panic
		}
		if len(seen) == 0 {
			t.Errorf("%s has no schemas", s.Name)
		}
	}
}

func fits(t *testing.T, where string, s *shape.Schema, typ reflect.Type, seen map[*shape.Schema]bool) {
	t.Helper()
	if seen[s] {
		return
	}
	seen[s] = true
	want := map[shape.Kind]reflect.Kind{
		shape.Structure: reflect.Struct, shape.List: reflect.Slice, shape.Map: reflect.Map, shape.String: reflect.String, shape.Integer: reflect.Int32, shape.Long: reflect.Int64,
		shape.Boolean: reflect.Bool, shape.Timestamp: reflect.Struct, shape.Blob: reflect.Slice, shape.Double: reflect.Float64, shape.Float: reflect.Float32,
	}[s.Kind]
	if typ.Kind() != want {
		t.Fatalf("%s: %s is a %s, want %s", where, s.Name, typ, want)
	}
	if s.Pattern != nil {
		s.Pattern.Matches("compiles")
	}
	switch s.Kind {
	case shape.Structure:
		if typ.NumField() != len(s.Members) {
			t.Fatalf("%s: %s has %d fields for %d members", where, s.Name, typ.NumField(), len(s.Members))
		}
		for i, m := range s.Members {
			f := typ.Field(i)
			if !strings.EqualFold(f.Name, m.Name) {
				t.Errorf("%s: field %s of %s is member %s", where, f.Name, s.Name, m.Name)
			}
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			fits(t, where, m.Schema, ft, seen)
		}
	case shape.List, shape.Map:
		fits(t, where, s.Element.Schema, typ.Elem(), seen)
	}
}

func TestClient(t *testing.T) {
	server := httptest.NewServer(newMux(t, new(reports), time.Now))
	defer server.Close()
	caller := &wire.Client{Service: funade.Descriptor, Endpoint: server.URL, Region: "eu-west-1", Credentials: root}
	client := funade.Client{Caller: caller}
	out, err := client.PutServiceSettings(t.Context(), &funade.PutServiceSettingsInput{ServiceArn: new(arn), Settings: &funade.Settings{StopTimeoutSeconds: new(int32(5))}})
	if err != nil || *out.Settings.StopTimeoutSeconds != 5 || out.Settings.StartTimeoutSeconds != nil {
		t.Errorf("settings %+v, %v", out, err)
	}
	list, err := client.ListInstances(t.Context(), &funade.ListInstancesInput{ServiceArn: new(arn)})
	if err != nil || len(list.Instances) != 1 || !list.Instances[0].StartedAt.Equal(created) || list.Instances[0].State != funade.InstanceStateRunning {
		t.Errorf("instances %+v, %v", list, err)
	}
	_, err = client.CancelOperation(t.Context(), &funade.CancelOperationInput{ServiceArn: new(arn)})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != "InvalidStateException" || e.Message != "nothing to cancel" || e.Status != 400 || e.Members["RequestId"] == "" {
		t.Errorf("got %v", err)
	}
	if err := caller.Call(t.Context(), "Fly", nil, nil); err == nil {
		t.Error("an operation that does not exist was called")
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	caller.Endpoint = other.URL
	if _, err := client.ListInstances(t.Context(), &funade.ListInstancesInput{}); err == nil || !strings.Contains(err.Error(), "not an answer of this API") {
		t.Errorf("got %v", err)
	}
}

// Steps run in the order given, and the first error ends the path.
func TestHandlerSteps(t *testing.T) {
	m := newMux(t, new(reports), time.Now)
	var order []string
	note := func(name string, err error) wire.Step {
		return func(*wire.Call) error { order = append(order, name); return err }
	}
	h := m.Handler(m.Identify, note("a", nil), note("b", &wire.Error{Code: "Stop", Message: "here"}), note("c", nil))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, exchange{service: "ecr", target: "AmazonEC2ContainerRegistry_V20150921.ListImages", body: "{}"}.request(t, time.Now()))
	if strings.Join(order, "") != "ab" || w.Code != 400 || w.Body.String() != `{"__type":"Stop","message":"here"}` {
		t.Errorf("order %v, %d %s", order, w.Code, w.Body)
	}
}

func BenchmarkCall(b *testing.B) {
	now := time.Now()
	m := newMux(b, new(reports), func() time.Time { return now })
	body := `{"ServiceName":"hello","SourceConfiguration":{"ImageRepository":{"ImageIdentifier":"x","ImageRepositoryType":"ECR","ImageConfiguration":{"Port":"8080","RuntimeEnvironmentVariables":{"A":"1","B":"2"}}}}}`
	r := exchange{service: "apprunner", target: "AppRunner.CreateService", body: body}.request(b, now)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// FuzzMux sends signed requests of any content: never a 5xx, always a well-formed answer.
func FuzzMux(f *testing.F) {
	now := time.Now()
	for _, e := range exchanges(now) {
		if e.service != "" && len(e.body) < 1000 {
			f.Add(e.service, e.target, e.body)
		}
	}
	m := newMux(f, new(reports), func() time.Time { return now })
	f.Fuzz(func(t *testing.T, service, target, body string) {
		for _, op := range []string{"PauseService", "ResumeService", "DeleteService"} {
			if strings.Contains(target, op) {
				return // these fail on purpose
			}
		}
		if service == "" {
			return // signs nothing
		}
		w := httptest.NewRecorder()
		m.ServeHTTP(w, exchange{service: service, target: target, body: body}.request(t, now))
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		wellFormed(t, w.Header().Get("Content-Type"), w.Body.String())
	})
}
