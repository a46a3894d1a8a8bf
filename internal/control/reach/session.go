package reach

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// maxTold bounds how much of a command the event log shows, in bytes.
const maxTold = 1000

// SessionInput asks for a session.
type SessionInput struct {
	// Target is a service (name or ARN) or a private host (i-…). Instance picks one of a service's instances; "" = any.
	Target   string
	Instance app.InstanceID
	// Command is to be executed in it; none = a connection to Host and Port from inside its network.
	Command []string
	Host    string
	Port    int
	// Caller is who asks, an ARN.
	Caller string
}

// Session is where a session leads.
type Session struct {
	Instance  app.InstanceID
	Interface app.InterfaceID
	// Host is a name or an address, for a connection.
	Host string
}

// OpenSession picks the instance that a session leads to and tells in the event log who opened it, and what for.
func (r *Reach) OpenSession(ctx context.Context, scope app.Scope, in SessionInput) (Session, error) {
	var out Session
	err := r.store.Update(ctx, func(tx *store.Tx) error {
		p, err := find(tx, scope, in.Target)
		if err != nil {
			return err
		}
		i, err := p.instance(tx, in.Instance)
		if err != nil {
			return err
		}
		out = Session{Instance: i.ID, Interface: i.Interface, Host: in.Host}
		what := "command " + told(in.Command)
		if len(in.Command) == 0 {
			if out.Host, err = address(tx, scope, i, in.Host); err != nil {
				return err
			}
			what = fmt.Sprintf("connection to %s port %d", in.Host, in.Port)
		}
		e := app.Event{Scope: scope, Target: app.ToEvents, At: r.cfg.Now().UTC(), Message: fmt.Sprintf("A session was opened on instance %s by %s: %s.", p.shown(i), in.Caller, what)}
		if p.host != nil {
			e.Host = p.host.ID
		} else {
			e.Service, e.Name = p.service.ID, p.service.Name
		}
		store.Control.Events.Append(tx, e)
		return nil
	})
	return out, err
}

// shown is the id by which people know one of its instances.
func (p party) shown(i app.Instance) string {
	if p.host != nil {
		return string(p.host.ID)
	}
	return string(i.ID)
}

// instance returns the named one of the instances that run, or the best one.
func (p party) instance(tx *store.Tx, named app.InstanceID) (app.Instance, error) {
	running := p.running(tx)
	for _, i := range running {
		if named == "" || i.ID == named || p.host != nil && string(p.host.ID) == string(named) {
			return i, nil
		}
	}
	switch {
	case p.host != nil && named != "" && string(p.host.ID) != string(named):
		return app.Instance{}, invalid("InstanceId %s is not the instance %s. Leave it out: a private host has one instance.", named, p.host.ID)
	case p.host != nil:
		return app.Instance{}, invalidState(string(p.host.ID), "The instance %s is %s, not running. Start it first (aws ec2 start-instances).", p.host.ID, p.host.State)
	case named != "":
		return app.Instance{}, notFound(string(named), "The service %s has no running instance %s; funade status %s lists its instances.", p.service.Name, named, p.service.Name)
	}
	return app.Instance{}, invalidState(p.service.ARN(), "No instance of the service %s runs; its status is %s. Resume or deploy it first.", p.service.Name, p.service.Status)
}

// address replaces the id of a private host by its address, which has to be in a VPC of the instance; what else was
// written is looked up inside the instance.
func address(tx *store.Tx, scope app.Scope, from app.Instance, named string) (string, error) {
	if !hostID.MatchString(named) {
		return named, nil
	}
	p, err := find(tx, scope, named)
	if err != nil {
		return "", err
	}
	attached, _ := store.Interfaces.Get(tx, from.Interface)
	for _, id := range p.host.Interfaces {
		n, ok := store.NetworkInterfaces.Get(tx, id)
		if !ok || len(n.Addresses) == 0 {
			continue
		}
		for _, own := range attached.VPC {
			if mine, ok := store.NetworkInterfaces.Get(tx, own); ok && mine.VPC == n.VPC {
				return n.Addresses[0].String(), nil
			}
		}
	}
	return "", invalid("The instance %s is in no VPC that the source has an interface in. Name a source of its VPC.", named)
}

// told writes a command as one would type it; a long one is cut off.
func told(command []string) string {
	words := make([]string, len(command))
	for n, w := range command {
		words[n] = w
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r == '"' || r == '\'' || r == '\\' || r > '~' }) {
			words[n] = strconv.Quote(w)
		}
	}
	text := strings.Join(words, " ")
	if len(text) > maxTold {
		text = strings.ToValidUTF8(text[:maxTold], "") + "…"
	}
	return text
}
