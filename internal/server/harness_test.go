package server_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkrunner "github.com/aws/aws-sdk-go-v2/service/apprunner"
	runnertypes "github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/funade/funade/internal/app"
	apiapprunner "github.com/funade/funade/internal/aws/api/apprunner"
	apiec2 "github.com/funade/funade/internal/aws/api/ec2"
	apiecr "github.com/funade/funade/internal/aws/api/ecr"
	apiecrpublic "github.com/funade/funade/internal/aws/api/ecrpublic"
	apifunade "github.com/funade/funade/internal/aws/api/funade"
	apiiam "github.com/funade/funade/internal/aws/api/iam"
	apilogs "github.com/funade/funade/internal/aws/api/logs"
	apists "github.com/funade/funade/internal/aws/api/sts"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/control"
	controlec2 "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/control/reach"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/server"
	"github.com/funade/funade/internal/server/apprunner"
	"github.com/funade/funade/internal/server/ec2"
	"github.com/funade/funade/internal/server/ecr"
	"github.com/funade/funade/internal/server/ecrpublic"
	"github.com/funade/funade/internal/server/funade"
	"github.com/funade/funade/internal/server/iam"
	serverlogs "github.com/funade/funade/internal/server/logs"
	"github.com/funade/funade/internal/server/sessions"
	"github.com/funade/funade/internal/server/sts"
	"github.com/funade/funade/internal/store"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	keyID   = "AKIAROOT"
	secret  = "the secret of root"
	hello   = account + ".dkr.ecr." + region + ".amazonaws.com/hello:v1"
)

var scope = app.Scope{Account: account, Region: region}

var testTime = time.Unix(1e9, 0)

// api is the whole API over a store and a log store of its own.
type api struct {
	t         *testing.T
	store     *store.Store
	control   *control.Control
	runner    *operation.Runner
	manifests *manifests
	logs      *logs.Store
	sessions  *sessions.Server
	networks  *controlec2.EC2
	config    aws.Config
}

type keys struct{}

func (keys) Secret(_ context.Context, id, _ string) (sigv4.Secret, error) {
	if id != keyID {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{SecretAccessKey: secret, Identity: sigv4.Identity{Account: account, ARN: "arn:aws:iam::" + account + ":root", UserID: account}}, nil
}

type tokens struct{}

func (tokens) Issue(s app.Scope, id string) (string, time.Time) {
	return "password-" + string(s.Region) + "-" + id, time.Now().Add(12 * time.Hour)
}

type rootKey struct{}

func (rootKey) Rotate() (string, string, error) { return "AKIANEW", "new secret", nil }

func newAPI(t *testing.T) *api {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "funade.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	c := control.New(st, control.Config{RegistryHosts: []string{"localhost:4566"}})
	l, err := logs.Open(logs.Config{Dir: filepath.Join(t.TempDir(), "logs"), Groups: c.LogGroups()})
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t: t, store: st, control: c, runner: operation.NewRunner(st, time.Now, controlIDs), manifests: newManifests(c), logs: l}
	a.runner.Strict = true
	install := funade.Install{ID: "0000aaaa", Version: "v0", Account: account, Region: region, Domain: "apps.test", HTTPPort: 80, HTTPSPort: 443, RegistryHost: "localhost:4566"}
	a.sessions = sessions.New(nil, nil, time.Now)
	networks := controlec2.New(st, controlec2.Config{})
	a.networks = networks
	extension := funade.New(funade.Config{
		Control: c, Networks: networks, Reach: reach.New(st, reach.Config{}), Sessions: a.sessions, Install: install, RootKey: rootKey{},
	})
	mux, err := wire.NewMux(wire.Options{
		Verifier: sigv4.NewVerifier(keys{}, time.Now),
		Report:   func(_ *wire.Call, err error) { t.Logf("5xx: %v", err) },
	},
		wire.Registration{Service: apiapprunner.Descriptor, Handler: apprunner.New(c, "apps.test")},
		wire.Registration{Service: apiecr.Descriptor, Handler: ecr.New(c, tokens{}, a.manifests, "https://localhost:4566")},
		wire.Registration{Service: apiecrpublic.Descriptor, Handler: ecrpublic.New(tokens{})},
		wire.Registration{Service: apilogs.Descriptor, Handler: serverlogs.New(c, l, time.Now)},
		wire.Registration{Service: apists.Descriptor, Handler: sts.Handler{}},
		wire.Registration{Service: apiiam.Descriptor, Handler: iam.New(testTime)},
		wire.Registration{Service: apiec2.Descriptor, Handler: ec2.New(networks, l)},
		wire.Registration{Service: apifunade.Descriptor, Handler: extension},
	)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(mux.Handler(server.Chain(mux)...))
	t.Cleanup(func() {
		s.Close()
		if err := errors.Join(st.Verify(), l.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	a.config = aws.Config{
		Region: region, BaseEndpoint: &s.URL, RetryMaxAttempts: 1, HTTPClient: s.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	}
	return a
}

// ec2Client repeats calls whose answer it could not read, as the SDK does by itself: it sometimes closes a connection
// that it still reads from. Answers of the API are never repeated.
func (a *api) ec2Client() *sdkec2.Client {
	return sdkec2.NewFromConfig(a.config, func(o *sdkec2.Options) { o.RetryMaxAttempts = 3 })
}

func (a *api) runnerClient() *sdkrunner.Client { return sdkrunner.NewFromConfig(a.config) }

// settle lets operations run to their end; what convergers would report comes true at once.
func (a *api) settle() {
	a.t.Helper()
	ctx := a.t.Context()
	for range 20 {
		if _, err := a.runner.Pass(ctx); err != nil {
			a.t.Fatal(err)
		}
		err := a.store.Update(ctx, func(tx *store.Tx) error {
			for r := range store.ImageRequests.All(tx) {
				store.Observed.ImageStatuses.Put(tx, app.ImageStatus{Service: r.Service, Revision: r.Revision, Ready: true, Digest: someDigest})
			}
			targets := map[app.ServiceID][]app.InstanceID{}
			for i := range store.Instances.All(tx) {
				status := app.InstanceStatus{ID: i.ID, Phase: app.PhaseRunning}
				if i.Goal != app.GoalRun {
					status.Phase = app.PhaseGone
				} else {
					targets[i.Service] = append(targets[i.Service], i.ID)
				}
				store.Observed.InstanceStatuses.Put(tx, status)
				store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: i.ID, Healthy: true, EverHealthy: true})
			}
			for s := range store.Services.All(tx) {
				store.Observed.RouteStatuses.Put(tx, app.RouteStatus{Service: s.ID, Revision: s.Routed, Targets: targets[s.ID]})
			}
			return nil
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

func source() *runnertypes.SourceConfiguration {
	return &runnertypes.SourceConfiguration{ImageRepository: &runnertypes.ImageRepository{
		ImageIdentifier: aws.String(hello), ImageRepositoryType: runnertypes.ImageRepositoryTypeEcr,
	}}
}

// create makes a service that runs.
func (a *api) create(name string) *runnertypes.Service {
	a.t.Helper()
	out, err := a.runnerClient().CreateService(a.t.Context(), &sdkrunner.CreateServiceInput{ServiceName: &name, SourceConfiguration: source()})
	if err != nil {
		a.t.Fatal(err)
	}
	a.settle()
	return out.Service
}

// wantError checks an error's code and a part of its message.
func wantError(t *testing.T, err error, code, words string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), words) {
		t.Errorf("got %v, want %s with %q", err, code, words)
	}
}
