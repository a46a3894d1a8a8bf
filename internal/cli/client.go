package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go/logging"

	"github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/base/serverinfo"
)

const (
	defaultData   = "/var/lib/funade"
	defaultRegion = "us-east-1"
	maxCABundle   = 4 << 20
)

// serverFlags say which server a verb talks to.
type serverFlags struct {
	Endpoint string `help:"URL of the API; default: AWS_ENDPOINT_URL, the AWS profile's endpoint_url, or the server of --data." placeholder:"URL"`
	Data     string `help:"Data directory of a server on this machine, for address and key; default: /var/lib/funade if readable." env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
}

// connectFlags are serverFlags of a verb that prints a result.
type connectFlags struct {
	serverFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// clients are the API clients of one verb.
type clients struct {
	apprunner *apprunner.Client
	ecr       *ecr.Client
	logs      *cloudwatchlogs.Client
	funade    funade.Client

	endpoint string // base URL without trailing slash
	http     *http.Client
}

// connect finds the server: --endpoint, --data, the AWS settings in the environment, the default data directory.
func (f *serverFlags) connect(s *session) (*clients, error) {
	if f.Endpoint == "" && f.Data != "" {
		return fromDataDir(s, f.Data)
	}
	cfg, err := config.LoadDefaultConfig(s.ctx, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	if err != nil {
		return nil, fmt.Errorf("cannot read the AWS settings: %w", err)
	}
	if f.Endpoint != "" {
		if err := checkURL(f.Endpoint); err != nil {
			return nil, usagef("--endpoint %s: %v", f.Endpoint, err)
		}
		cfg.BaseEndpoint = aws.String(f.Endpoint)
	}
	if cfg.BaseEndpoint == nil {
		c, err := fromDataDir(s, defaultData)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("no server to talk to: %w; set AWS_ENDPOINT_URL with eval \"$(sudo funade env)\", or give --endpoint or --data", err)
		}
		return c, err
	}
	return newClients(cfg, os.Getenv("AWS_CA_BUNDLE"))
}

// fromDataDir takes address and root key from the data directory of a server on this machine.
func fromDataDir(s *session, dir string) (*clients, error) {
	info, err := serverinfo.Read(dir)
	if err != nil {
		return nil, err
	}
	key, err := s.Hooks.RootKey(dir)
	if err != nil {
		return nil, err
	}
	bundle := bundlePath(dir)
	if _, err := os.Stat(bundle); err != nil {
		bundle = ""
	}
	return newClients(aws.Config{
		Region:       info.Region,
		BaseEndpoint: aws.String(info.API),
		Credentials:  credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
	}, bundle)
}

func newClients(cfg aws.Config, caBundle string) (*clients, error) {
	transport, err := newTransport(caBundle)
	if err != nil {
		return nil, err
	}
	hc := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	cfg.HTTPClient, cfg.Logger = hc, logging.Nop{} // what matters comes back as an error
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 4; o.MaxBackoff = time.Second })
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	endpoint := strings.TrimSuffix(*cfg.BaseEndpoint, "/")
	cfg.BaseEndpoint = aws.String(endpoint)
	return &clients{
		apprunner: apprunner.NewFromConfig(cfg),
		ecr:       ecr.NewFromConfig(cfg),
		logs:      cloudwatchlogs.NewFromConfig(cfg),
		funade:    funade.Client{Caller: &extension{cfg, wire.Client{Service: funade.Descriptor, Endpoint: endpoint, Region: cfg.Region, HTTP: hc}}},
		endpoint:  endpoint,
		http:      hc,
	}, nil
}

// newTransport trusts the system's authorities and those of the bundle.
func newTransport(caBundle string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if caBundle == "" {
		return t, nil
	}
	f, err := os.Open(caBundle)
	if err != nil {
		return nil, fmt.Errorf("cannot read AWS_CA_BUNDLE: %w", err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCABundle))
	if err != nil {
		return nil, fmt.Errorf("cannot read AWS_CA_BUNDLE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot read AWS_CA_BUNDLE %s: it holds no certificate", caBundle)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// bundlePath is where a server keeps the system's authorities plus its own.
func bundlePath(dataDir string) string { return filepath.Join(dataDir, "ca", "bundle.pem") }

// extension calls the funade service; credentials are read for each call, as they may be temporary.
type extension struct {
	cfg  aws.Config
	wire wire.Client
}

// Call implements funade.Caller.
func (e *extension) Call(ctx context.Context, operation string, in, out any) error {
	if e.cfg.Credentials == nil {
		return errors.New("no AWS credentials; eval \"$(sudo funade env)\" sets them")
	}
	c, err := e.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("cannot get AWS credentials: %w", err)
	}
	call := e.wire
	call.Credentials = sigv4.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	return call.Call(ctx, operation, in, out)
}
