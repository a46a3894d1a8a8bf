package control

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

func serviceDetail(tx *store.Tx, svc app.Service) ServiceDetail {
	d := ServiceDetail{Service: svc}
	if key, err := operation.ScalingKey(svc.Scope, svc.Config.ScalingARN); err == nil {
		if a, ok := store.AutoScalings.Get(tx, key); ok {
			d.Scaling = scalingDetail(tx, a)
		}
	}
	return d
}

// CreateService makes a service and starts bringing it up. It is not idempotent: a name in use is refused.
func (c *Control) CreateService(ctx context.Context, scope app.Scope, in CreateServiceInput) (ServiceDetail, app.OperationID, error) {
	var out ServiceDetail
	var id app.OperationID
	if err := checkName("ServiceName", in.Name, serviceName); err != nil {
		return out, "", err
	}
	if err := checkTags(in.Tags, true); err != nil {
		return out, "", err
	}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if _, exists := store.ServicesByName.First(tx, app.NamedKey{Scope: scope, Name: in.Name}); exists {
			return invalid("Service with the provided name already exists: %s.", in.Name)
		}
		config, err := c.newConfig(tx, scope, in)
		if err != nil {
			return err
		}
		if n := countServices(tx, scope, c.cfg.Quotas.Services); n >= c.cfg.Quotas.Services {
			return quota("You have %d services, which is the limit (failed and paused ones count). Delete one first, or raise the limit: funade server --max-services.", n)
		}
		now := c.now()
		svc := app.Service{
			ID: app.ServiceID(c.cfg.IDs.Hex32()), Scope: scope, Name: in.Name, Label: c.cfg.IDs.Label(),
			Config: config, CreatedAt: now, UpdatedAt: now,
		}
		putTags(tx, app.Resource(svc.ARN()), in.Tags)
		applySettings(tx, &svc)
		revision := operation.NewRevision(tx, now, &svc)
		id = operation.Begin(tx, c.cfg.IDs, now, &svc, app.OpCreateService, revision, false).ID
		out = serviceDetail(tx, svc)
		return nil
	})
	return out, id, err
}

// countServices counts up to limit.
func countServices(tx *store.Tx, scope app.Scope, limit int) int {
	n := 0
	for range store.ServicesByScope.Each(tx, scope) {
		if n++; n >= limit {
			break
		}
	}
	return n
}

// UpdateService changes a running service's configuration and deploys it; on one whose creation failed it is a
// rebuild. An update that changes nothing runs all the same.
func (c *Control) UpdateService(ctx context.Context, scope app.Scope, arn string, in UpdateServiceInput) (ServiceDetail, app.OperationID, error) {
	return c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		if err := allowed(svc, "updated", app.ServiceRunning, app.ServiceCreateFailed); err != nil {
			return "", err
		}
		config, err := c.mergeConfig(tx, scope, svc.Config, in)
		if err != nil {
			return "", err
		}
		svc.Config = config
		revision := operation.NewRevision(tx, c.now(), svc)
		return operation.Begin(tx, c.cfg.IDs, c.now(), svc, app.OpUpdateService, revision, false).ID, nil
	})
}

// DeleteService starts removing a service.
func (c *Control) DeleteService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	return c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		err := allowed(svc, "deleted", app.ServiceRunning, app.ServicePaused, app.ServiceCreateFailed, app.ServiceDeleteFailed)
		if err != nil {
			return "", err
		}
		return operation.Begin(tx, c.cfg.IDs, c.now(), svc, app.OpDeleteService, 0, false).ID, nil
	})
}

// PauseService starts removing a service's instances; on a paused service it does nothing and there is no operation.
func (c *Control) PauseService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	return c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		if svc.Status == app.ServicePaused {
			return "", nil
		}
		if err := allowed(svc, "paused", app.ServiceRunning); err != nil {
			return "", err
		}
		return operation.Begin(tx, c.cfg.IDs, c.now(), svc, app.OpPauseService, 0, false).ID, nil
	})
}

// ResumeService starts bringing back the version that was paused; on a running service it does nothing and there is
// no operation.
func (c *Control) ResumeService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	return c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		if svc.Status == app.ServiceRunning {
			return "", nil
		}
		if err := allowed(svc, "resumed", app.ServicePaused); err != nil {
			return "", err
		}
		return operation.Begin(tx, c.cfg.IDs, c.now(), svc, app.OpResumeService, svc.Paused, false).ID, nil
	})
}

// StartDeployment resolves the service's image again and deploys it.
func (c *Control) StartDeployment(ctx context.Context, scope app.Scope, arn string) (app.OperationID, error) {
	_, id, err := c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		if svc.Status != app.ServiceRunning {
			return "", app.Errorf(app.KindInvalidRequest, arn, "Can't start a deployment on the specified service, because it isn't in RUNNING state.")
		}
		return operation.BeginDeployment(tx, c.cfg.IDs, c.now(), svc, false).ID, nil
	})
	return id, err
}

// operate runs one use case on a live service.
func (c *Control) operate(ctx context.Context, scope app.Scope, arn string, begin func(tx *store.Tx, svc *app.Service) (app.OperationID, error)) (ServiceDetail, app.OperationID, error) {
	var out ServiceDetail
	var id app.OperationID
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		svc, err := findLiveService(tx, scope, arn)
		if err != nil {
			return err
		}
		if id, err = begin(tx, &svc); err != nil {
			return err
		}
		out = serviceDetail(tx, svc)
		return nil
	})
	return out, id, err
}

func allowed(svc *app.Service, verb string, states ...app.ServiceStatus) error {
	if has(states, svc.Status) {
		return nil
	}
	return app.Errorf(app.KindInvalidState, svc.ARN(), "Service cannot be %s in the current state: %s.", verb, svc.Status)
}

// DescribeService returns a service, for some time also a deleted one.
func (c *Control) DescribeService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, error) {
	var out ServiceDetail
	err := c.store.View(ctx, func(tx *store.Tx) error {
		svc, err := findService(tx, scope, arn)
		if err != nil {
			return err
		}
		out = serviceDetail(tx, svc)
		return nil
	})
	return out, err
}

// ListServices lists the services that are not deleted, by name.
func (c *Control) ListServices(ctx context.Context, scope app.Scope, page PageRequest) (Page[app.Service], error) {
	var out Page[app.Service]
	err := c.store.View(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list(tx, store.ServicesByScope, scope, nil, page, "services", string(scope.Account), string(scope.Region))
		return err
	})
	return out, err
}

// ListOperations lists a service's operations, newest first, all of the service's life.
func (c *Control) ListOperations(ctx context.Context, scope app.Scope, arn string, page PageRequest) (Page[OperationDetail], error) {
	var out Page[OperationDetail]
	err := c.store.View(ctx, func(tx *store.Tx) error {
		svc, err := findService(tx, scope, arn)
		if err != nil {
			return err
		}
		ops, err := list(tx, store.OperationsByService, svc.ID, nil, page, "operations", string(svc.ID))
		out.NextToken = ops.NextToken
		for _, op := range ops.Items {
			out.Items = append(out.Items, OperationDetail{op, svc.ARN()})
		}
		return err
	})
	return out, err
}
