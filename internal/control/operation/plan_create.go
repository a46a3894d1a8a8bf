package operation

import "github.com/funade/funade/internal/app"

// createPlan brings a new service's first revision into traffic.
func createPlan() Plan {
	return Plan{
		Begin: "Service creation started.",
		Steps: []Step{
			{stepResolve, resolve}, {stepProvision, provision}, {stepHealthy, healthy}, {stepRoute, route},
			{stepFinish, becomeRunning("Service creation completed successfully.")},
		},
		Cancellable: beforeTraffic,
		Failed: func(w *Work, reason string) {
			createFailed(w, "Service creation failed. For details, see service logs.")
		},
	}
}

// createFailed leaves a service that has no version to go back to.
func createFailed(w *Work, message string) {
	w.Service.Routed = 0
	Stop(w.Tx, w.Service, all)
	forgetImages(w.Tx, w.Service)
	w.say(message)
	w.setStatus(app.ServiceCreateFailed)
}
