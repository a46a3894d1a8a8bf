package operation

import "github.com/funade/funade/internal/app"

// deletePlan removes every instance and leaves a tombstone.
func deletePlan() Plan {
	return Plan{
		Begin: "Service deletion started.",
		Steps: []Step{{stepDrain, drainAll}, {stepGone, gone}, {stepFinish, deleted}},
		Failed: func(w *Work, reason string) {
			w.say("Service deletion failed.")
			w.setStatus(app.ServiceDeleteFailed)
		},
	}
}

func deleted(w *Work) Verdict {
	w.Service.Paused = 0
	w.Service.DeletedAt = w.Now
	forgetImages(w.Tx, w.Service)
	w.say("Service deletion completed successfully.")
	w.setStatus(app.ServiceDeleted)
	return Done()
}
