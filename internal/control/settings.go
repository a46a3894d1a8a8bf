package control

import (
	"context"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// settingLimits are the longest times, by the tag that can set them.
var settingLimits = map[string]time.Duration{
	tagStartTimeout:   time.Hour,
	tagStopTimeout:    time.Hour,
	tagRequestTimeout: 24 * time.Hour,
}

// GetServiceSettings returns the settings in force, defaults filled in.
func (c *Control) GetServiceSettings(ctx context.Context, scope app.Scope, arn string) (app.ServiceSettings, error) {
	var out app.ServiceSettings
	err := c.store.View(ctx, func(tx *store.Tx) error {
		svc, err := findLiveService(tx, scope, arn)
		out = svc.Settings.WithDefaults()
		return err
	})
	return out, err
}

// PutServiceSettings changes settings and returns those in force. They go before the service's funade: tags.
func (c *Control) PutServiceSettings(ctx context.Context, scope app.Scope, arn string, in SettingsInput) (app.ServiceSettings, error) {
	var out app.ServiceSettings
	for _, s := range []struct {
		name, tag string
		value     *time.Duration
	}{{"StartTimeoutSeconds", tagStartTimeout, in.StartTimeout}, {"StopTimeoutSeconds", tagStopTimeout, in.StopTimeout}, {"RequestTimeoutSeconds", tagRequestTimeout, in.RequestTimeout}} {
		if limit := settingLimits[s.tag]; s.value != nil && (*s.value < 0 || *s.value > limit || *s.value%time.Second != 0) {
			return out, invalid("%s is %v; expected whole seconds from 1 to %d, or 0 for the default.", s.name, s.value.Seconds(), int(limit.Seconds()))
		}
	}
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		svc, err := findLiveService(tx, scope, arn)
		if err != nil {
			return err
		}
		row, _ := store.Settings.Get(tx, svc.ID)
		row.Service = svc.ID
		set(&row.Settings.StartTimeout, in.StartTimeout)
		set(&row.Settings.StopTimeout, in.StopTimeout)
		set(&row.Settings.RequestTimeout, in.RequestTimeout)
		store.Control.Settings.Put(tx, row)
		applySettings(tx, &svc)
		store.Control.Services.Put(tx, svc)
		out = svc.Settings.WithDefaults()
		return nil
	})
	return out, err
}

// applySettings works out the service's settings from its settings row and its tags.
func applySettings(tx *store.Tx, svc *app.Service) {
	row, _ := store.Settings.Get(tx, svc.ID)
	tags, _ := store.TagSets.Get(tx, app.Resource(svc.ARN()))
	svc.Settings = app.ServiceSettings{
		StartTimeout:   setting(row.Settings.StartTimeout, tags.Tags[tagStartTimeout]),
		StopTimeout:    setting(row.Settings.StopTimeout, tags.Tags[tagStopTimeout]),
		RequestTimeout: setting(row.Settings.RequestTimeout, tags.Tags[tagRequestTimeout]),
	}
}

func setting(row time.Duration, tag string) time.Duration {
	if row != 0 {
		return row
	}
	seconds, err := strconv.Atoi(tag)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
