package funade

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/control/reach"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
	"github.com/funade/funade/internal/server/sessions"
)

// ExplainConnectivity answers whether a connection works, and why.
func (h *Handler) ExplainConnectivity(ctx context.Context, in *api.ExplainConnectivityInput) (*api.ExplainConnectivityOutput, error) {
	e, err := h.reach.Explain(ctx, caller.Scope(ctx), reach.ExplainInput{
		Source: *in.Source, VPC: app.VPCID(member.Value(in.VpcId)), Destination: *in.Destination,
		Protocol: member.Value(in.Protocol), Port: member.Int(in.Port),
	})
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ExplainConnectivityOutput{
		Allowed: &e.Allowed, Summary: new(e.String()), Steps: []api.ExplanationStep{}, DestinationAddress: new(e.Destination.String()), Protocol: &e.Protocol,
	}
	if e.Source.IsValid() {
		out.SourceAddress = new(e.Source.String())
	}
	if e.Port != 0 {
		out.Port = member.Int32(e.Port)
	}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, api.ExplanationStep{Kind: new(string(s.Kind)), Allowed: &s.Allowed, Text: &s.Text, ResourceId: member.Text(s.Resource)})
	}
	return out, nil
}

// CreateSession issues the token that opens a session.
func (h *Handler) CreateSession(ctx context.Context, in *api.CreateSessionInput) (*api.CreateSessionOutput, error) {
	host, port := member.Value(in.Host), int(member.Value(in.Port))
	if err := checkSession(in, host, port); err != nil {
		return nil, err
	}
	who, _ := wire.CallerFrom(ctx)
	found, err := h.reach.OpenSession(ctx, caller.Scope(ctx), reach.SessionInput{
		Target: *in.Target, Instance: app.InstanceID(member.Value(in.InstanceId)), Command: in.Command, Host: host, Port: port, Caller: who.ARN,
	})
	if err != nil {
		return nil, wireError(err)
	}
	ticket := sessions.Ticket{Instance: found.Instance, Interface: found.Interface, Host: found.Host, Port: port}
	if in.Kind == api.SessionKindExec {
		ticket.Process = sessions.Exec{
			Args: in.Command, User: member.Value(in.User), Terminal: member.Value(in.Terminal),
			Width: int(member.Value(in.Width)), Height: int(member.Value(in.Height)),
		}
		if term := member.Value(in.TerminalType); term != "" && ticket.Process.Terminal {
			ticket.Process.Env = []string{"TERM=" + term}
		}
	}
	id, token, expires, err := h.sessions.Issue(ticket)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateSessionOutput{
		SessionId: &id, Token: &token, Path: new(sessions.Path + id), ExpiresAt: &expires, InstanceId: new(string(found.Instance)),
	}, nil
}

// checkSession refuses what does not belong to the kind of session.
func checkSession(in *api.CreateSessionInput, host string, port int) error {
	command := len(in.Command) > 0 && in.Command[0] != ""
	switch in.Kind {
	case api.SessionKindExec:
		if !command {
			return &api.InvalidRequestException{Message: "Command is empty. A session of kind exec needs a command, for example sh."}
		}
		if host != "" || port != 0 {
			return &api.InvalidRequestException{Message: "Host and Port are for sessions of kind forward. Leave them out, or ask for kind forward."}
		}
	case api.SessionKindForward:
		if host == "" || port == 0 {
			return &api.InvalidRequestException{Message: "A session of kind forward needs Host and Port: where to connect to from inside the target's network."}
		}
		if len(in.Command) > 0 {
			return &api.InvalidRequestException{Message: "Command is for sessions of kind exec. Leave it out, or ask for kind exec."}
		}
	}
	return nil
}
