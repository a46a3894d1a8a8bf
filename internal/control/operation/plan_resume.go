package operation

import "github.com/funade/funade/internal/app"

// resumePlan brings back the very version that was paused.
func resumePlan() Plan {
	return Plan{
		Begin: "Service resume started.",
		Steps: []Step{
			{stepResolve, resolve}, {stepProvision, provision}, {stepHealthy, healthy}, {stepRoute, route},
			{stepFinish, becomeRunning("Service resume completed successfully.")},
		},
		Cancellable: beforeTraffic,
		Failed: func(w *Work, reason string) {
			w.Service.Routed = 0
			Stop(w.Tx, w.Service, all)
			w.say("Service resume failed.")
			w.setStatus(app.ServicePaused)
		},
	}
}
