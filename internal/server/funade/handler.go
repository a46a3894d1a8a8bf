// Package funade answers the extension service: what AWS's API has no word for.
package funade

import (
	"context"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/control/reach"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
	"github.com/funade/funade/internal/server/sessions"
)

// Install describes this install to its clients.
type Install struct {
	ID           app.InstallID
	Version      string
	Account      app.AccountID
	Region       app.Region
	Domain       string
	HTTPPort     int
	HTTPSPort    int
	RegistryHost string
	// CACertificate is the PEM of Funade's own root.
	CACertificate string
}

// RootKey replaces the account's root key.
type RootKey interface {
	Rotate() (accessKeyID, secretAccessKey string, err error)
}

// Config is what the handler answers from.
type Config struct {
	Control  *control.Control
	Networks *ec2.EC2
	Reach    *reach.Reach
	Sessions *sessions.Server
	Install  Install
	RootKey  RootKey
}

// Handler implements the generated handler of the extension service.
type Handler struct {
	api.Unimplemented
	control  *control.Control
	networks *ec2.EC2
	reach    *reach.Reach
	sessions *sessions.Server
	install  Install
	rootKey  RootKey
}

// New returns the handler.
func New(c Config) *Handler {
	return &Handler{control: c.Control, networks: c.Networks, reach: c.Reach, sessions: c.Sessions, install: c.Install, rootKey: c.RootKey}
}

// CancelOperation asks the operation in flight to stop and roll back.
func (h *Handler) CancelOperation(ctx context.Context, in *api.CancelOperationInput) (*api.CancelOperationOutput, error) {
	op, err := h.control.CancelOperation(ctx, caller.Scope(ctx), *in.ServiceArn, app.OperationID(member.Value(in.OperationId)))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CancelOperationOutput{OperationId: new(string(op.ID)), Status: new(string(op.Status))}, nil
}

// RollbackService deploys an earlier revision again, by default the one that served before.
func (h *Handler) RollbackService(ctx context.Context, in *api.RollbackServiceInput) (*api.RollbackServiceOutput, error) {
	op, err := h.control.RollbackService(ctx, caller.Scope(ctx), *in.ServiceArn, app.RevisionNumber(member.Value(in.Revision)))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.RollbackServiceOutput{ServiceArn: in.ServiceArn, OperationId: new(string(op))}, nil
}

// GetServiceSettings shows the settings in force.
func (h *Handler) GetServiceSettings(ctx context.Context, in *api.GetServiceSettingsInput) (*api.GetServiceSettingsOutput, error) {
	s, err := h.control.GetServiceSettings(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.GetServiceSettingsOutput{Settings: settings(s)}, nil
}

// PutServiceSettings changes the settings that are given.
func (h *Handler) PutServiceSettings(ctx context.Context, in *api.PutServiceSettingsInput) (*api.PutServiceSettingsOutput, error) {
	s, err := h.control.PutServiceSettings(ctx, caller.Scope(ctx), *in.ServiceArn, control.SettingsInput{
		StartTimeout:   seconds(in.Settings.StartTimeoutSeconds),
		StopTimeout:    seconds(in.Settings.StopTimeoutSeconds),
		RequestTimeout: seconds(in.Settings.RequestTimeoutSeconds),
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PutServiceSettingsOutput{Settings: settings(s)}, nil
}

func seconds(n *int32) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Second)
}

func settings(s app.ServiceSettings) *api.Settings {
	return &api.Settings{
		StartTimeoutSeconds:   member.Int32(int(s.StartTimeout / time.Second)),
		StopTimeoutSeconds:    member.Int32(int(s.StopTimeout / time.Second)),
		RequestTimeoutSeconds: member.Int32(int(s.RequestTimeout / time.Second)),
	}
}

// ListInstances lists a service's instances.
func (h *Handler) ListInstances(ctx context.Context, in *api.ListInstancesInput) (*api.ListInstancesOutput, error) {
	all, err := h.control.ListInstances(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListInstancesOutput{Instances: []api.Instance{}}
	for _, i := range all {
		out.Instances = append(out.Instances, api.Instance{
			InstanceId: new(string(i.Instance.ID)), State: api.InstanceState(i.State), Revision: member.Int32(int(i.Instance.Revision)),
			Address: member.Text(i.Address), StartedAt: member.Moment(i.Status.StartedAt), Reason: member.Text(i.Reason),
		})
	}
	return out, nil
}

// ListRevisions lists a service's revisions.
func (h *Handler) ListRevisions(ctx context.Context, in *api.ListRevisionsInput) (*api.ListRevisionsOutput, error) {
	all, err := h.control.ListRevisions(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListRevisionsOutput{Revisions: []api.RevisionSummary{}}
	for _, r := range all {
		out.Revisions = append(out.Revisions, api.RevisionSummary{
			Revision: member.Int32(int(r.Number)), ImageIdentifier: member.Text(r.Config.Source.Image), ImageDigest: member.Text(r.Digest),
			CreatedAt: member.Moment(r.CreatedAt), Active: new(r.Active),
		})
	}
	return out, nil
}

// RotateRootKey replaces the account's root key; the old one ends at once.
func (h *Handler) RotateRootKey(context.Context, *api.RotateRootKeyInput) (*api.RotateRootKeyOutput, error) {
	id, secret, err := h.rootKey.Rotate()
	if err != nil {
		return nil, err
	}
	return &api.RotateRootKeyOutput{AccessKeyId: &id, SecretAccessKey: &secret}, nil
}

// DescribeInstall tells clients where things are.
func (h *Handler) DescribeInstall(context.Context, *api.DescribeInstallInput) (*api.DescribeInstallOutput, error) {
	i := h.install
	return &api.DescribeInstallOutput{
		InstallId: new(string(i.ID)), Version: new(i.Version), AccountId: new(string(i.Account)), Region: new(string(i.Region)),
		Domain: new(i.Domain), HttpPort: member.Int32(i.HTTPPort), HttpsPort: member.Int32(i.HTTPSPort),
		RegistryHost: new(i.RegistryHost), CaCertificate: member.Text(i.CACertificate),
	}, nil
}

// wireError maps the kinds of control's errors to the service's exceptions.
func wireError(err error) error {
	message := err.Error()
	switch app.KindOf(err) {
	case app.KindNotFound:
		return &api.ResourceNotFoundException{Message: message}
	case app.KindInvalidState:
		return &api.InvalidStateException{Message: message}
	case app.KindInvalidRequest, app.KindExists, app.KindDenied, app.KindThrottled, app.KindQuota:
		return &api.InvalidRequestException{Message: message}
	case app.KindUnavailable:
		return &api.InternalServiceErrorException{Message: message}
	}
	return err
}
