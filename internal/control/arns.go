package control

import (
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// resource checks that an ARN is of an App Runner resource type and returns what follows the type, split.
// An ARN of another account or region names nothing here.
func resource(scope app.Scope, arn, kind string) ([]string, error) {
	parsed, err := app.ParseARN(arn)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(parsed.Resource, "/")
	if parsed.Service != "apprunner" || parts[0] != kind || len(parts) < 2 || parts[1] == "" {
		return nil, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q is not valid here: expected %s", arn, scope.ARN("apprunner", kind+"/NAME…"))
	}
	if parsed.Scope != scope {
		return nil, notFound(arn, "The resource %s does not exist in account %s and region %s.", arn, scope.Account, scope.Region)
	}
	return parts[1:], nil
}

// findService looks a service up by its ARN; without the id it means the live service of that name. A tombstone
// is found by its id.
func findService(tx *store.Tx, scope app.Scope, arn string) (app.Service, error) {
	parts, err := resource(scope, arn, "service")
	if err != nil {
		return app.Service{}, err
	}
	var svc app.Service
	ok := false
	switch len(parts) {
	case 1:
		svc, ok = store.ServicesByName.First(tx, app.NamedKey{Scope: scope, Name: parts[0]})
	case 2:
		svc, ok = store.Services.Get(tx, app.ServiceID(parts[1]))
		ok = ok && svc.Scope == scope && svc.Name == parts[0]
	}
	if !ok {
		return app.Service{}, notFound(arn, "Service with the provided ARN does not exist: %s.", arn)
	}
	return svc, nil
}

// findLiveService is findService without tombstones.
func findLiveService(tx *store.Tx, scope app.Scope, arn string) (app.Service, error) {
	svc, err := findService(tx, scope, arn)
	if err == nil && svc.Status == app.ServiceDeleted {
		err = notFound(arn, "Service with the provided ARN does not exist: %s. It has been deleted.", arn)
	}
	return svc, err
}

// configurationARN is a configuration's ARN taken apart; Revision 0 means that only the name was given.
type configurationARN struct {
	Name     string
	Revision int
	ID       string
}

func parseConfiguration(scope app.Scope, arn, kind string) (configurationARN, error) {
	parts, err := resource(scope, arn, kind)
	if err != nil {
		return configurationARN{}, err
	}
	c := configurationARN{Name: parts[0]}
	if len(parts) > 1 {
		if c.Revision, err = strconv.Atoi(parts[1]); err != nil || c.Revision < 1 {
			return configurationARN{}, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q is malformed: %q is not a revision number.", arn, parts[1])
		}
	}
	if len(parts) > 2 {
		c.ID = parts[2]
	}
	if len(parts) > 3 {
		return configurationARN{}, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q is malformed: expected %s/NAME[/REVISION[/ID]].", arn, kind)
	}
	return c, nil
}

// findScaling looks an auto scaling configuration up by a full or partial ARN; a name alone means its latest active
// revision. Deleted revisions are found when they are named.
func findScaling(tx *store.Tx, scope app.Scope, arn string) (app.AutoScaling, error) {
	c, err := parseConfiguration(scope, arn, "autoscalingconfiguration")
	if err != nil {
		return app.AutoScaling{}, err
	}
	missing := notFound(arn, "Auto scaling configuration with the provided ARN does not exist: %s.", arn)
	if c.Revision == 0 {
		if a, ok := latestScaling(tx, scope, c.Name); ok {
			return a, nil
		}
		return app.AutoScaling{}, missing
	}
	a, ok := store.AutoScalings.Get(tx, app.ConfigurationKey{Scope: scope, Name: c.Name, Revision: c.Revision})
	if !ok || c.ID != "" && a.ID != c.ID {
		return app.AutoScaling{}, missing
	}
	return a, nil
}

func latestScaling(tx *store.Tx, scope app.Scope, name string) (latest app.AutoScaling, ok bool) {
	for a := range store.AutoScalingsByName.Each(tx, app.NamedKey{Scope: scope, Name: name}) {
		if a.DeletedAt.IsZero() {
			latest, ok = a, true
		}
	}
	return latest, ok
}

// findObservability looks an observability configuration up like findScaling.
func findObservability(tx *store.Tx, scope app.Scope, arn string) (app.Observability, error) {
	c, err := parseConfiguration(scope, arn, "observabilityconfiguration")
	if err != nil {
		return app.Observability{}, err
	}
	missing := notFound(arn, "Observability configuration with the provided ARN does not exist: %s.", arn)
	if c.Revision == 0 {
		if o, ok := latestObservability(tx, scope, c.Name); ok {
			return o, nil
		}
		return app.Observability{}, missing
	}
	o, ok := store.Observabilities.Get(tx, app.ConfigurationKey{Scope: scope, Name: c.Name, Revision: c.Revision})
	if !ok || c.ID != "" && o.ID != c.ID {
		return app.Observability{}, missing
	}
	return o, nil
}

func latestObservability(tx *store.Tx, scope app.Scope, name string) (latest app.Observability, ok bool) {
	for o := range store.ObservabilitiesByName.Each(tx, app.NamedKey{Scope: scope, Name: name}) {
		if o.DeletedAt.IsZero() {
			latest, ok = o, true
		}
	}
	return latest, ok
}

// findConnection looks a connection up by its ARN, with or without the id.
func findConnection(tx *store.Tx, scope app.Scope, arn string) (app.Connection, error) {
	parts, err := resource(scope, arn, "connection")
	if err != nil {
		return app.Connection{}, err
	}
	c, ok := store.Connections.Get(tx, app.NamedKey{Scope: scope, Name: parts[0]})
	if !ok || len(parts) > 2 || len(parts) == 2 && parts[1] != c.ID {
		return app.Connection{}, notFound(arn, "Connection with the provided ARN does not exist: %s.", arn)
	}
	return c, nil
}
