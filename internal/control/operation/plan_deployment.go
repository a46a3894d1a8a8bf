package operation

const deploymentFailed = "Deployment failed. For details, see service logs."

// deploymentPlan resolves the image again and replaces the version that serves.
func deploymentPlan() Plan {
	return Plan{
		Begin: "Deployment started.",
		Steps: []Step{
			{stepResolve, resolve}, {stepProvision, provision}, {stepHealthy, healthy}, {stepRoute, route},
			{stepDrain, drainOld}, {stepFinish, becomeRunning("Deployment completed successfully.")},
		},
		Undo:        []Step{{stepRestore, restore}, {stepSettle, settle(deploymentFailed)}},
		Cancellable: beforeTraffic,
		Failed:      func(w *Work, reason string) { createFailed(w, deploymentFailed) },
	}
}
