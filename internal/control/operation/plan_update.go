package operation

import "github.com/funade/funade/internal/app"

const updateFailed = "Service update failed. For details, see service logs."

// updatePlan replaces the version that serves by one with another configuration, or builds a service anew whose
// creation failed.
func updatePlan() Plan {
	return Plan{
		Begin: "Service update started.",
		Steps: []Step{
			{stepResolve, resolve}, {stepProvision, provision}, {stepHealthy, healthy}, {stepRoute, route},
			{stepDrain, drainOld}, {stepFinish, updated},
		},
		Undo:        []Step{{stepRestore, restore}, {stepSettle, settle(updateFailed)}},
		Cancellable: beforeTraffic,
		Failed:      func(w *Work, reason string) { createFailed(w, updateFailed) },
	}
}

// updated says, as AWS does, whether the application changed too.
func updated(w *Work) Verdict {
	what := "New application and configuration is deployed."
	if from := w.Operation.From; from != 0 && w.numbered(from).Digest == w.revision().Digest {
		what = "New configuration is deployed."
	}
	return becomeRunning("Service update completed successfully. " + what)(w)
}

// deployFailed tells of a revision that did not come up.
func deployFailed(w *Work, reason string) {
	switch w.Operation.Type {
	case app.OpCreateService, app.OpUpdateService, app.OpStartDeployment:
		text := "Deployment with ID : " + string(w.Operation.ID) + " failed. Failure reason : " + reason
		w.say(text)
		w.deploy(text)
	default:
		w.say("The operation failed. Failure reason : " + reason)
	}
}
