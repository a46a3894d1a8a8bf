package operation

import "github.com/funade/funade/internal/app"

// pausePlan lets requests finish and removes every instance.
func pausePlan() Plan {
	return Plan{
		Begin: "Service pause started.",
		Steps: []Step{{stepDrain, pause}, {stepGone, gone}, {stepFinish, paused}},
		Failed: func(w *Work, reason string) {
			w.Service.Routed, w.Service.Paused = w.Service.Paused, 0
			w.say("Service pause failed.")
			w.setStatus(app.ServiceRunning)
		},
	}
}

func pause(w *Work) Verdict {
	w.Service.Paused = w.Operation.From
	return drainAll(w)
}

func paused(w *Work) Verdict {
	w.say("Service pause completed successfully.")
	w.setStatus(app.ServicePaused)
	return Done()
}
