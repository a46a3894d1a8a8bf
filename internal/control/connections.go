package control

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// CreateConnection makes a connection that waits for its handshake.
func (c *Control) CreateConnection(ctx context.Context, scope app.Scope, name, providerType string, tags app.Tags) (app.Connection, error) {
	if err := checkName("ConnectionName", name, configurationName); err != nil {
		return app.Connection{}, err
	}
	if err := checkTags(tags, false); err != nil {
		return app.Connection{}, err
	}
	conn := app.Connection{
		ID: c.cfg.IDs.Hex32(), Scope: scope, Name: name, ProviderType: providerType, Status: "PENDING_HANDSHAKE", CreatedAt: c.now(),
	}
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.Connections.Get(tx, app.NamedKey{Scope: scope, Name: name}); ok {
			return invalid("Connection with the provided name already exists: %s.", name)
		}
		count := 0
		for range store.ConnectionsByScope.Each(tx, scope) {
			count++
		}
		if count >= c.cfg.Quotas.Connections {
			return quota("You have %d connections, which is the limit. Delete one first.", count)
		}
		store.Control.Connections.Put(tx, conn)
		putTags(tx, app.Resource(conn.ARN()), tags)
		return nil
	})
	return conn, err
}

// ListConnections lists connections by name; a name selects one.
func (c *Control) ListConnections(ctx context.Context, scope app.Scope, name string, page PageRequest) (Page[app.Connection], error) {
	var out Page[app.Connection]
	err := c.store.View(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list(tx, store.ConnectionsByScope, scope, func(conn app.Connection) bool {
			return name == "" || conn.Name == name
		}, page, "connections", string(scope.Account), string(scope.Region), name)
		return err
	})
	return out, err
}

// DeleteConnection removes a connection that no service uses. The answer's status is DELETED.
func (c *Control) DeleteConnection(ctx context.Context, scope app.Scope, arn string) (app.Connection, error) {
	var out app.Connection
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		conn, err := findConnection(tx, scope, arn)
		if err != nil {
			return err
		}
		for s := range store.ServicesByScope.Each(tx, scope) {
			if s.Config.Source.ConnectionARN == conn.ARN() {
				return invalid("You can't delete the connection. It's used by the service %s. Delete the service first.", s.ARN())
			}
		}
		store.Control.Connections.Delete(tx, app.NamedKey{Scope: scope, Name: conn.Name})
		store.Control.TagSets.Delete(tx, app.Resource(conn.ARN()))
		out = conn
		out.Status = "DELETED"
		return nil
	})
	return out, err
}
