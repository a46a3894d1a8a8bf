package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	apifunade "github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/session"
	"github.com/funade/funade/internal/store"
)

func (a *api) extension() apifunade.Client {
	return apifunade.Client{Caller: &wire.Client{
		Service: apifunade.Descriptor, Endpoint: *a.config.BaseEndpoint, Region: region,
		Credentials: sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret},
	}}
}

func wantCode(t *testing.T, err error, code, words string) {
	t.Helper()
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("got %v; want %s that says %q", err, code, words)
	}
}

func TestExplainConnectivity(t *testing.T) {
	a := newAPI(t)
	c := a.extension()
	a.create("hello")
	out, err := c.ExplainConnectivity(t.Context(), &apifunade.ExplainConnectivityInput{Source: aws.String("service/hello"), Destination: aws.String("10.9.8.7:443")})
	if err != nil || *out.Allowed || !strings.HasPrefix(*out.Summary, "denied: DEFAULT egress") || *out.Protocol != "tcp" || *out.Port != 443 || *out.DestinationAddress != "10.9.8.7" || out.SourceAddress != nil {
		t.Fatalf("got %+v, %v", out, err)
	}
	if len(out.Steps) != 1 || *out.Steps[0].Kind != "default-egress" || *out.Steps[0].Allowed || out.Steps[0].ResourceId != nil || "denied: "+*out.Steps[0].Text != *out.Summary {
		t.Errorf("steps %+v", out.Steps)
	}
	_, err = c.ExplainConnectivity(t.Context(), &apifunade.ExplainConnectivityInput{Source: aws.String("nobody"), Destination: aws.String("10.9.8.7:443")})
	wantCode(t, err, "ResourceNotFoundException", "no service nobody")
	_, err = c.ExplainConnectivity(t.Context(), &apifunade.ExplainConnectivityInput{Source: aws.String("hello"), Destination: aws.String("10.9.8.7")})
	wantCode(t, err, "InvalidRequestException", "needs a port")
	_, err = c.ExplainConnectivity(t.Context(), &apifunade.ExplainConnectivityInput{Source: aws.String("hello")})
	wantCode(t, err, "ValidationException", "destination")
}

func TestCreateSession(t *testing.T) {
	a := newAPI(t)
	c := a.extension()
	arn := a.create("hello").ServiceArn
	out, err := c.CreateSession(t.Context(), &apifunade.CreateSessionInput{Target: arn, Kind: "exec", Command: []string{"sh"}, Terminal: aws.Bool(true), TerminalType: aws.String("xterm")})
	if err != nil || len(*out.Token) < 40 || *out.Path != "/funade/session/"+*out.SessionId || time.Until(*out.ExpiresAt) > 31*time.Second || *out.InstanceId == "" {
		t.Fatalf("got %+v, %v", out, err)
	}
	// The token is the sessions': the fake engine is none, so only a wrong token can be tried here.
	s := httptest.NewServer(a.sessions)
	defer s.Close()
	if _, err := session.Dial(t.Context(), http.DefaultTransport.(*http.Transport), s.URL+*out.Path, "another"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("another's token: %v", err)
	}
	told := ""
	if err := a.store.View(t.Context(), func(tx *store.Tx) error {
		e, _ := store.Events.Last(tx)
		told = e.Message
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := "A session was opened on instance " + *out.InstanceId + " by arn:aws:iam::000000000000:root: command sh."; told != want {
		t.Errorf("told %q; want %q", told, want)
	}
	for name, r := range map[string]struct {
		in          apifunade.CreateSessionInput
		code, words string
	}{
		"no command":     {apifunade.CreateSessionInput{Kind: "exec"}, "InvalidRequestException", "needs a command"},
		"empty command":  {apifunade.CreateSessionInput{Kind: "exec", Command: []string{""}}, "InvalidRequestException", "needs a command"},
		"exec with host": {apifunade.CreateSessionInput{Kind: "exec", Command: []string{"sh"}, Host: aws.String("db")}, "InvalidRequestException", "kind forward"},
		"no port":        {apifunade.CreateSessionInput{Kind: "forward", Host: aws.String("db")}, "InvalidRequestException", "Host and Port"},
		"with command":   {apifunade.CreateSessionInput{Kind: "forward", Host: aws.String("db"), Port: aws.Int32(1), Command: []string{"sh"}}, "InvalidRequestException", "kind exec"},
		"other kind":     {apifunade.CreateSessionInput{Kind: "visit"}, "ValidationException", "kind"},
		"bad terminal":   {apifunade.CreateSessionInput{Kind: "exec", Command: []string{"sh"}, TerminalType: aws.String("x;y")}, "ValidationException", "terminalType"},
		"bad user":       {apifunade.CreateSessionInput{Kind: "exec", Command: []string{"sh"}, User: aws.String("a b")}, "ValidationException", "user"},
		"other instance": {apifunade.CreateSessionInput{Kind: "exec", Command: []string{"sh"}, InstanceId: aws.String("i1")}, "ResourceNotFoundException", "i1"},
	} {
		t.Run(name, func(t *testing.T) {
			r.in.Target = arn
			_, err := c.CreateSession(t.Context(), &r.in)
			wantCode(t, err, r.code, r.words)
		})
	}
}

func TestAttachedNetworks(t *testing.T) {
	a := newAPI(t)
	c := a.extension()
	v, err := a.ec2Client().CreateVpc(t.Context(), &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	vpc := v.Vpc.VpcId
	made, err := c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: vpc, Via: aws.String("192.168.1.20"), Cidrs: []string{"192.168.50.0/24", "192.168.51.0/24"}})
	if err != nil || !strings.HasPrefix(*made.Network.NetworkId, "lan-") || *made.Network.Via != "192.168.1.20" || made.Network.Interface != nil || strings.Join(made.Network.Cidrs, " ") != "192.168.50.0/24 192.168.51.0/24" {
		t.Fatalf("got %+v, %v", made, err)
	}
	second, err := c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: vpc, Interface: aws.String("eth1"), Cidrs: []string{"192.168.60.0/24"}})
	if err != nil || *second.Network.Interface != "eth1" || second.Network.Via != nil {
		t.Fatalf("got %+v, %v", second, err)
	}
	for of, want := range map[string]int{"": 2, *vpc: 2, "vpc-00000000000000fff": 0} {
		in := &apifunade.ListNetworksInput{}
		if of != "" {
			in.VpcId = &of
		}
		if list, err := c.ListNetworks(t.Context(), in); err != nil || len(list.Networks) != want {
			t.Errorf("networks of %q: %+v, %v; want %d", of, list, err, want)
		}
	}
	_, err = c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: vpc, Via: aws.String("gateway"), Cidrs: []string{"192.168.70.0/24"}})
	wantCode(t, err, "InvalidRequestException", "Via gateway is not an address")
	_, err = c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: vpc, Via: aws.String("192.168.1.20"), Cidrs: []string{"192.168.70"}})
	wantCode(t, err, "InvalidRequestException", "Cidrs names 192.168.70,")
	_, err = c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: vpc, Cidrs: []string{"192.168.70.0/24"}})
	wantCode(t, err, "InvalidRequestException", "Exactly one of Interface")
	_, err = c.AttachNetwork(t.Context(), &apifunade.AttachNetworkInput{VpcId: aws.String("vpc-00000000000000fff"), Via: aws.String("192.168.1.20"), Cidrs: []string{"192.168.70.0/24"}})
	wantCode(t, err, "ResourceNotFoundException", "vpc-00000000000000fff")
	if _, err := c.DetachNetwork(t.Context(), &apifunade.DetachNetworkInput{NetworkId: made.Network.NetworkId}); err != nil {
		t.Error(err)
	}
	_, err = c.DetachNetwork(t.Context(), &apifunade.DetachNetworkInput{NetworkId: made.Network.NetworkId})
	wantCode(t, err, "ResourceNotFoundException", *made.Network.NetworkId)
}
