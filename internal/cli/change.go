package cli

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/funade/funade/internal/aws/api/funade"
)

type settingsCmd struct {
	connectFlags
	Service        string         `arg:"" help:"Name or ARN of the service."`
	StartTimeout   *time.Duration `help:"Time from first start to healthy, 1s to 1h."`
	StopTimeout    *time.Duration `help:"Time between the stop signal and SIGKILL, 1s to 1h."`
	RequestTimeout *time.Duration `help:"Time for one request, 1s to 1h; upgraded connections excepted."`
}

type settingsDocument struct {
	StartTimeoutSeconds   *int32 `json:"startTimeoutSeconds,omitempty"`
	StopTimeoutSeconds    *int32 `json:"stopTimeoutSeconds,omitempty"`
	RequestTimeoutSeconds *int32 `json:"requestTimeoutSeconds,omitempty"`
}

// Run changes the settings that are given, then prints all.
func (c *settingsCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	out, err := cl.funade.GetServiceSettings(s.ctx, &funade.GetServiceSettingsInput{ServiceArn: svc.ServiceArn})
	if err != nil {
		return err
	}
	settings := out.Settings
	changed := false
	for _, f := range []struct {
		name  string
		given *time.Duration
		field **int32
	}{{"start-timeout", c.StartTimeout, &settings.StartTimeoutSeconds}, {"stop-timeout", c.StopTimeout, &settings.StopTimeoutSeconds},
		{"request-timeout", c.RequestTimeout, &settings.RequestTimeoutSeconds}} {
		if f.given == nil {
			continue
		}
		if *f.given < time.Second || *f.given%time.Second != 0 || *f.given > time.Hour {
			return usagef("--%s %v: give whole seconds from 1s to 1h", f.name, *f.given)
		}
		*f.field, changed = aws.Int32(int32(*f.given/time.Second)), true
	}
	if changed {
		put, err := cl.funade.PutServiceSettings(s.ctx, &funade.PutServiceSettingsInput{ServiceArn: svc.ServiceArn, Settings: settings})
		if err != nil {
			return err
		}
		settings = put.Settings
	}
	if c.JSON {
		return printJSON(s.Stdout, settingsDocument(*settings))
	}
	seconds := func(n *int32) string {
		if n == nil {
			return "default"
		}
		return (time.Duration(*n) * time.Second).String()
	}
	return table(s.Stdout, []string{"start-timeout", seconds(settings.StartTimeoutSeconds)},
		[]string{"stop-timeout", seconds(settings.StopTimeoutSeconds)}, []string{"request-timeout", seconds(settings.RequestTimeoutSeconds)})
}

type rollbackCmd struct {
	connectFlags
	Service string `arg:"" help:"Name or ARN of the service."`
	To      int32  `help:"Revision to go back to; default: the one before." placeholder:"N"`
}

// Run starts the rollback and waits for it.
func (c *rollbackCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	in := &funade.RollbackServiceInput{ServiceArn: svc.ServiceArn}
	if c.To != 0 {
		in.Revision = aws.Int32(c.To)
	}
	out, err := cl.funade.RollbackService(s.ctx, in)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Stderr, "Rolling %s back\n", aws.ToString(svc.ServiceName))
	if err := cl.wait(s.ctx, svc, aws.ToString(out.OperationId), s.Stderr); err != nil {
		return err
	}
	return cl.printResult(s, aws.ToString(svc.ServiceArn), c.JSON)
}

type cancelCmd struct {
	connectFlags
	Service   string `arg:"" help:"Name or ARN of the service."`
	Operation string `arg:"" optional:"" help:"The operation; default: the one in progress."`
}

// Run asks for the cancellation; the operation itself ends later.
func (c *cancelCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	in := &funade.CancelOperationInput{ServiceArn: svc.ServiceArn}
	if c.Operation != "" {
		in.OperationId = aws.String(c.Operation)
	}
	out, err := cl.funade.CancelOperation(s.ctx, in)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Stdout, map[string]string{"id": aws.ToString(out.OperationId), "status": aws.ToString(out.Status)})
	}
	_, err = fmt.Fprintf(s.Stdout, "Operation %s is being cancelled; its status is %s.\n", aws.ToString(out.OperationId), aws.ToString(out.Status))
	return err
}

type keysCmd struct {
	Rotate keysRotateCmd `cmd:"" help:"Replace the root key; the old one stops working at once."`
}

type keysRotateCmd struct{ connectFlags }

// Run rotates the key and prints the new one in a form that eval takes: it is the only answer that holds it.
func (c *keysRotateCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	out, err := cl.funade.RotateRootKey(s.ctx, &funade.RotateRootKeyInput{})
	if err != nil {
		return err
	}
	id, secret := aws.ToString(out.AccessKeyId), aws.ToString(out.SecretAccessKey)
	if c.JSON {
		return printJSON(s.Stdout, map[string]string{"AccessKeyId": id, "SecretAccessKey": secret})
	}
	fmt.Fprintln(s.Stderr, "The old key no longer works. These lines set the new one in a shell:")
	_, err = fmt.Fprintf(s.Stdout, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", shellQuote(id), shellQuote(secret))
	return err
}
