package operation

import (
	"fmt"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// The limits of waiting for convergers.
const (
	// pullTimeout bounds making an image present, pullRetryTimeout the time that passing errors are waited out.
	pullTimeout      = 15 * time.Minute
	pullRetryTimeout = 2 * time.Minute
	// routeTimeout bounds the front door's taking over.
	routeTimeout = time.Minute
	// goneTimeout bounds the removal of instances, beyond their StopTimeout.
	goneTimeout = 2 * time.Minute
)

// The names of the steps.
const (
	stepResolve   = "resolve image"
	stepProvision = "provision"
	stepHealthy   = "become healthy"
	stepRoute     = "route"
	stepDrain     = "drain"
	stepGone      = "wait until gone"
	stepFinish    = "finish"
	stepRestore   = "restore"
	stepSettle    = "settle"
)

// beforeTraffic are the steps in which a cancel leaves the old version untouched.
var beforeTraffic = []string{stepResolve, stepProvision, stepHealthy}

// resolve asks for the revision's image and waits for it.
func resolve(w *Work) Verdict {
	r := w.revision()
	key := app.RevisionKey{Service: r.Service, Number: r.Number}
	quiet := w.Operation.Type == app.OpResumeService
	if _, asked := store.ImageRequests.Get(w.Tx, key); !asked {
		request(w, r)
		if !quiet {
			w.say(fmt.Sprintf("Pulling image %s from %s repository.", r.Config.Source.Image, repositoryWord(r)))
			w.deploy("Starting to pull your application image.")
		}
	}
	status, _ := store.ImageStatuses.Get(w.Tx, key)
	switch {
	case status.Ready:
		w.Operation.Reason = ""
		if r.Digest == "" {
			r.Digest = status.Digest
			store.Control.Revisions.Put(w.Tx, r)
		}
		if !quiet {
			w.say(fmt.Sprintf("Successfully pulled image from %s.", repositoryWord(r)))
			w.deploy(fmt.Sprintf("Successfully pulled your application image from %s.", repositoryWord(r)))
		}
		return Next()
	case status.Permanent, status.Error != "" && !w.Now.Before(w.limit(pullRetryTimeout)):
		return imageFailed(w, r, sentence(status.Error))
	case !w.Now.Before(w.limit(pullTimeout)):
		return imageFailed(w, r, fmt.Sprintf("It was not there after %v.", pullTimeout))
	case status.Error != "":
		if w.Operation.Reason != status.Error {
			w.Operation.Reason = status.Error // told once, and again when it changes
			w.say("The image is not there yet. " + capital(status.Error) + " Trying again.")
		}
		return Wait(w.limit(pullRetryTimeout))
	}
	return Wait(w.limit(pullTimeout))
}

func imageFailed(w *Work, r app.Revision, reason string) Verdict {
	w.say(fmt.Sprintf("Failed to copy the image from %s. %s", repositoryWord(r), reason))
	w.deploy("Failed to pull your application image. " + reason)
	return RollBack("The image could not be pulled: " + reason)
}

func repositoryWord(r app.Revision) string {
	if r.Config.Source.RepositoryType == app.ImageRepositoryECRPublic {
		return "ECR Public"
	}
	return "ECR"
}

// provision makes the revision's instances wanted.
func provision(w *Work) Verdict {
	r := w.revision()
	access := "publicly"
	if !r.Config.Network.Public {
		access = "privately"
	}
	w.say("Provisioning instances and deploying image for " + access + " accessible service.")
	w.deploy("Starting to deploy your application image")
	w.tellNetwork(r)
	err := TopUp(w.Tx, w.IDs, w.Now, w.Service, r.Number, MinSize(w.Tx, w.Service.Scope, r.Config))
	if err != nil && !passing(err) {
		return w.cannotProvision(err)
	}
	w.say("Performing health check on protocol " + probeText(r.Config) + ".")
	return Next()
}

func (w *Work) cannotProvision(err error) Verdict {
	w.deploy("Failed to deploy your application image.")
	return RollBack("The instances cannot be provisioned. " + err.Error())
}

// probeText is AWS's form: `TCP` [Port: '8080'], or `HTTP` [Path: '/'], [Port: '3000'].
func probeText(c app.ServiceConfig) string {
	if c.HealthCheck.Protocol == app.ProtocolHTTP {
		return fmt.Sprintf("`HTTP` [Path: '%s'], [Port: '%d']", c.HealthCheck.Path, c.Source.Port)
	}
	return fmt.Sprintf("`TCP` [Port: '%d']", c.Source.Port)
}

// healthy waits until MinSize instances of the revision are healthy.
func healthy(w *Work) Verdict {
	r := w.revision()
	want := MinSize(w.Tx, w.Service.Scope, r.Config)
	deadline := w.limit(w.Service.Settings.WithDefaults().StartTimeout)
	if err := TopUp(w.Tx, w.IDs, w.Now, w.Service, r.Number, want); err != nil {
		if !passing(err) || !w.Now.Before(deadline) {
			return w.cannotProvision(err)
		}
		if w.Operation.Reason != err.Error() {
			w.Operation.Reason = err.Error() // told once, and again when it changes
			w.say("An instance has to wait for its network. " + err.Error())
		}
	}
	out := Judge(candidates(w.Tx, w.Service.ID, r.Number), want, r.Config, w.Now, deadline)
	switch {
	case out.Ready:
		w.Operation.Reason = ""
		w.say("Health check is successful. Routing traffic to application.")
		return Next()
	case out.Failure == nil:
		return Wait(out.Wake)
	}
	if code := out.Failure.ExitCode; code != nil {
		text := fmt.Sprintf("Your application stopped or failed to start. See logs for more information.  Container exit code: %d", *code)
		w.say(text)
		w.deploy(text)
	}
	w.say("Health check failed on protocol " + probeText(r.Config) + ". Check your configured port number. For more information, see the application logs.")
	w.deploy("Failed to deploy your application image.")
	return RollBack("Health check failed. " + out.Failure.Reason)
}

func candidates(tx *store.Tx, svc app.ServiceID, n app.RevisionNumber) []Candidate {
	var out []Candidate
	for i := range store.InstancesByService.Each(tx, svc) {
		if i.Revision != n || i.Goal != app.GoalRun {
			continue
		}
		c := Candidate{Instance: i}
		c.Status, _ = store.InstanceStatuses.Get(tx, i.ID)
		c.Health, _ = store.InstanceHealths.Get(tx, i.ID)
		c.Network, _ = store.InterfaceStatuses.Get(tx, i.Interface)
		out = append(out, c)
	}
	return out
}

// route points the front door to the revision and waits until it has taken over.
func route(w *Work) Verdict {
	w.Service.Routed = w.Operation.Revision
	if routed(w, w.Operation.Revision) {
		w.say("Successfully routed incoming traffic to application.")
		return Next()
	}
	if limit := w.limit(routeTimeout); w.Now.Before(limit) {
		return Wait(limit)
	}
	return RollBack(fmt.Sprintf("The front door did not take over the new instances within %v: none of them stayed healthy.", routeTimeout))
}

// routed reports whether the front door sends requests to an instance of the revision.
func routed(w *Work, n app.RevisionNumber) bool {
	status, _ := store.RouteStatuses.Get(w.Tx, w.Service.ID)
	return status.Revision == n && slices.ContainsFunc(status.Targets, func(id app.InstanceID) bool {
		i, ok := store.Instances.Get(w.Tx, id)
		return ok && i.Revision == n && i.Goal == app.GoalRun
	})
}

// drainOld takes the instances of other revisions out of service.
func drainOld(w *Work) Verdict {
	if draining, wake := Drain(w.Tx, w.Now, w.Service, notOf(w.Operation.Revision)); draining > 0 {
		return Wait(wake)
	}
	return Next()
}

// drainAll takes the service out of traffic and every instance out of service.
func drainAll(w *Work) Verdict {
	w.Service.Routed = 0
	if draining, wake := Drain(w.Tx, w.Now, w.Service, all); draining > 0 {
		return Wait(wake)
	}
	return Next()
}

// gone waits until no instance is left.
func gone(w *Work) Verdict {
	if Sweep(w.Tx, w.Service.ID) == 0 {
		return Next()
	}
	if limit := w.limit(w.Service.Settings.WithDefaults().StopTimeout + goneTimeout); w.Now.Before(limit) {
		return Wait(limit)
	}
	return Fail("The instances could not be removed in time.")
}

// becomeRunning ends an operation that deployed a revision.
func becomeRunning(message string) func(w *Work) Verdict {
	return func(w *Work) Verdict {
		if from := w.Operation.From; from != 0 && from != w.Operation.Revision {
			w.Service.Previous = from
		}
		w.Service.Paused = 0
		forgetImages(w.Tx, w.Service, w.Service.Routed, w.Service.Previous)
		w.say(message)
		w.setStatus(app.ServiceRunning)
		return Done()
	}
}

// restore writes the revision that served back as desired.
func restore(w *Work) Verdict {
	from := w.numbered(w.Operation.From)
	if w.Service.Routed != w.Operation.Revision {
		Stop(w.Tx, w.Service, of(w.Operation.Revision)) // requests never reached them
	}
	w.Service.Routed = from.Number
	w.Service.Config = from.Config
	if err := TopUp(w.Tx, w.IDs, w.Now, w.Service, from.Number, MinSize(w.Tx, w.Service.Scope, from.Config)); err != nil {
		w.say("An instance is missing. " + err.Error()) // the keeper goes on trying
	}
	return Next()
}

// settle waits until the old version has the traffic and the new one has drained, and ends a failed operation.
func settle(message string) func(w *Work) Verdict {
	return func(w *Work) Verdict {
		draining, wake := Drain(w.Tx, w.Now, w.Service, notOf(w.Operation.From))
		status, _ := store.RouteStatuses.Get(w.Tx, w.Service.ID)
		limit := w.limit(routeTimeout)
		switch {
		case status.Revision != w.Operation.From && w.Now.Before(limit):
			return Wait(earlier(wake, limit))
		case draining > 0:
			return Wait(wake)
		}
		forgetImages(w.Tx, w.Service, w.Service.Routed, w.Service.Previous)
		w.say(message)
		w.setStatus(app.ServiceRunning)
		if status.Revision != w.Operation.From {
			return Fail(w.Operation.Reason)
		}
		return Done()
	}
}
