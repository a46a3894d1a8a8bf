package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
)

type upCmd struct {
	connectFlags
	Image      string            `arg:"" help:"OCI layout directory, OCI archive, docker archive, or image reference."`
	Name       string            `required:"" help:"Name of the service."`
	Port       int               `help:"Port that the application listens on; default: the image's only exposed port, else 8080." placeholder:"P"`
	Env        map[string]string `help:"Environment variable; the given ones replace all of the service's." placeholder:"K=V" mapsep:"none"`
	Command    string            `name:"start-command" help:"Replaces the image's CMD." placeholder:"WORDS"`
	CPU        string            `name:"cpu" help:"Size of an instance, such as 256 or \"1 vCPU\"."`
	Memory     string            `help:"Size of an instance, such as 512 or \"2 GB\"."`
	HealthPath string            `help:"Check health by GET of this path instead of by TCP." placeholder:"PATH"`
	MinSize    int32             `help:"Instances that always run." placeholder:"N"`
	MaxSize    int32             `help:"Instances at most." placeholder:"N"`
	AutoDeploy *bool             `help:"Deploy when the reference's tag is pushed to this install's registry." negatable:""`
}

// serviceName is App Runner's pattern, checked before anything is pushed under the name.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{3,39}$`)

// Run ships the image. What no flag names stays as the service has it, so running it again with the same flags
// changes nothing.
func (c *upCmd) Run(s *session) error {
	if c.Port < 0 || c.Port > 65535 {
		return usagef("--port %d: give a port from 1 to 65535", c.Port)
	}
	if !serviceName.MatchString(c.Name) {
		return usagef("--name %q: give 4 to 40 letters, digits, - and _, the first a letter or digit", c.Name)
	}
	local, err := openLocal(c.Image)
	if err != nil {
		return err
	}
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	u := &upload{upCmd: c, c: cl, local: local, progress: s.Stderr}
	if local != nil {
		defer local.close()
	}
	arn, err := u.run(s.ctx)
	if err != nil {
		return err
	}
	return cl.printResult(s, arn, c.JSON)
}

// printResult prints what a finished change leaves: the URL, or the status document.
func (c *clients) printResult(s *session, arn string, asJSON bool) error {
	svc, err := c.service(s.ctx, arn)
	if err != nil {
		return err
	}
	doc, err := c.status(s.ctx, svc)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.Stdout, doc)
	}
	_, err = fmt.Fprintln(s.Stdout, doc.URL)
	return err
}

// upload is one run of up.
type upload struct {
	*upCmd
	c        *clients
	local    *localImage
	ref      imageReference
	progress io.Writer
}

func (u *upload) run(ctx context.Context) (arn string, err error) {
	svc, err := u.c.findService(ctx, u.Name)
	if err != nil {
		return "", err
	}
	if err := u.locate(ctx); err != nil {
		return "", err
	}
	if svc == nil {
		return u.create(ctx)
	}
	return aws.ToString(svc.ServiceArn), u.update(ctx, svc)
}

// locate makes sure that the image lies in a registry.
func (u *upload) locate(ctx context.Context) error {
	if u.local != nil {
		identifier, err := u.c.push(ctx, u.local, u.Name, u.progress)
		u.ref = imageReference{identifier: identifier, own: true}
		return err
	}
	install, err := u.c.install(ctx)
	if err != nil {
		return err
	}
	u.ref, err = u.c.parseReference(u.Image, aws.ToString(install.AccountId)+".dkr.ecr."+aws.ToString(install.Region)+".amazonaws.com")
	return err
}

// source is the SourceConfiguration that the flags ask for, over what the service has; now is nil for a new service.
func (u *upload) source(now *types.ImageRepository) *types.SourceConfiguration {
	conf := &types.ImageConfiguration{}
	if now != nil && now.ImageConfiguration != nil {
		c := *now.ImageConfiguration
		conf = &c
	}
	switch {
	case u.Port != 0:
		conf.Port = aws.String(strconv.Itoa(u.Port))
	case now == nil && u.local != nil && u.local.exposedPort() != "":
		conf.Port = aws.String(u.local.exposedPort())
	}
	if u.Env != nil {
		conf.RuntimeEnvironmentVariables = u.Env
	}
	if u.Command != "" {
		conf.StartCommand = aws.String(u.Command)
	}
	kind := types.ImageRepositoryTypeEcrPublic
	if u.ref.own {
		kind = types.ImageRepositoryTypeEcr
	}
	source := &types.SourceConfiguration{
		ImageRepository: &types.ImageRepository{
			ImageIdentifier: aws.String(u.ref.identifier), ImageRepositoryType: kind, ImageConfiguration: conf,
		},
		AutoDeploymentsEnabled: u.AutoDeploy,
	}
	if now == nil && u.AutoDeploy == nil || u.local != nil { // a pushed image has a tag that never moves
		source.AutoDeploymentsEnabled = aws.Bool(false)
	}
	return source
}

func (u *upload) create(ctx context.Context) (string, error) {
	in := &apprunner.CreateServiceInput{ServiceName: aws.String(u.Name), SourceConfiguration: u.source(nil)}
	if u.CPU != "" || u.Memory != "" {
		in.InstanceConfiguration = &types.InstanceConfiguration{Cpu: optional(u.CPU), Memory: optional(u.Memory)}
	}
	if u.HealthPath != "" {
		in.HealthCheckConfiguration = httpCheck(u.HealthPath)
	}
	arn, err := u.scaling(ctx, nil)
	if err != nil {
		return "", err
	}
	in.AutoScalingConfigurationArn = arn
	fmt.Fprintf(u.progress, "Creating service %s\n", u.Name)
	out, err := u.c.apprunner.CreateService(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Service.ServiceArn), u.c.wait(ctx, out.Service, aws.ToString(out.OperationId), u.progress)
}

func (u *upload) update(ctx context.Context, svc *types.Service) error {
	svc, err := u.settle(ctx, svc)
	if err != nil {
		return err
	}
	in, changed, err := u.difference(ctx, svc)
	if err != nil {
		return err
	}
	if changed || svc.Status == types.ServiceStatusCreateFailed {
		fmt.Fprintf(u.progress, "Updating service %s\n", u.Name)
		out, err := u.c.apprunner.UpdateService(ctx, in)
		if err != nil {
			return err
		}
		return u.c.wait(ctx, svc, aws.ToString(out.OperationId), u.progress)
	}
	if u.local != nil || u.sameContent(ctx, svc) {
		fmt.Fprintf(u.progress, "Service %s is up to date\n", u.Name)
		return nil
	}
	fmt.Fprintf(u.progress, "Deploying service %s\n", u.Name)
	out, err := u.c.apprunner.StartDeployment(ctx, &apprunner.StartDeploymentInput{ServiceArn: svc.ServiceArn})
	if err != nil {
		return err
	}
	return u.c.wait(ctx, svc, aws.ToString(out.OperationId), u.progress)
}

// settle waits for an operation in progress and resumes a paused service, as neither can be updated.
func (u *upload) settle(ctx context.Context, svc *types.Service) (*types.Service, error) {
	arn := aws.ToString(svc.ServiceArn)
	if svc.Status == types.ServiceStatusOperationInProgress {
		fmt.Fprintf(u.progress, "Waiting for the operation in progress\n")
		ops, err := u.c.apprunner.ListOperations(ctx, &apprunner.ListOperationsInput{ServiceArn: &arn})
		if err != nil {
			return nil, err
		}
		if len(ops.OperationSummaryList) > 0 { // newest first
			err := u.c.wait(ctx, svc, aws.ToString(ops.OperationSummaryList[0].Id), u.progress)
			if _, failed := errors.AsType[*failedOperation](err); err != nil && !failed {
				return nil, err
			}
		}
		if svc, err = u.c.service(ctx, arn); err != nil {
			return nil, err
		}
	}
	if svc.Status != types.ServiceStatusPaused {
		return svc, nil
	}
	fmt.Fprintf(u.progress, "Resuming service %s\n", u.Name)
	out, err := u.c.apprunner.ResumeService(ctx, &apprunner.ResumeServiceInput{ServiceArn: &arn})
	if err != nil {
		return nil, err
	}
	if err := u.c.wait(ctx, svc, aws.ToString(out.OperationId), u.progress); err != nil {
		return nil, err
	}
	return u.c.service(ctx, arn)
}

// sameContent reports whether the service runs what the reference stands for. When that cannot be told from here it
// answers false: a deployment too many does no harm.
func (u *upload) sameContent(ctx context.Context, svc *types.Service) bool {
	active, err := u.c.activeRevision(ctx, svc)
	if err != nil || active == nil {
		return false
	}
	digests, err := u.c.currentDigests(ctx, u.ref)
	return err == nil && digests[aws.ToString(active.ImageDigest)]
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func httpCheck(path string) *types.HealthCheckConfiguration {
	return &types.HealthCheckConfiguration{Protocol: types.HealthCheckProtocolHttp, Path: aws.String(path)}
}
