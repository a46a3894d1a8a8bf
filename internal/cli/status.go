package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"

	"github.com/funade/funade/internal/aws/api/funade"
)

// statusDocument is what status --json prints.
type statusDocument struct {
	Service   string           `json:"service"`
	ARN       string           `json:"arn"`
	Status    string           `json:"status"`
	URL       string           `json:"url"`
	Revision  int              `json:"revision"`
	Instances []instanceStatus `json:"instances"`
}

type instanceStatus struct {
	ID        string     `json:"id"`
	State     string     `json:"state"`
	Revision  int        `json:"revision,omitempty"`
	Address   string     `json:"address"`
	StartedAt *time.Time `json:"startedAt"`
	Reason    string     `json:"reason,omitempty"`
}

// status gathers the document from the three calls that it takes.
func (c *clients) status(ctx context.Context, s *types.Service) (*statusDocument, error) {
	install, err := c.install(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := c.funade.ListInstances(ctx, &funade.ListInstancesInput{ServiceArn: s.ServiceArn})
	if err != nil {
		return nil, err
	}
	active, err := c.activeRevision(ctx, s)
	if err != nil {
		return nil, err
	}
	doc := &statusDocument{
		Service: aws.ToString(s.ServiceName), ARN: aws.ToString(s.ServiceArn), Status: string(s.Status),
		URL: serviceURL(aws.ToString(s.ServiceUrl), install), Instances: []instanceStatus{},
	}
	if active != nil {
		doc.Revision = int(aws.ToInt32(active.Revision))
	}
	for _, i := range instances.Instances {
		doc.Instances = append(doc.Instances, instanceStatus{
			ID: aws.ToString(i.InstanceId), State: string(i.State), Revision: int(aws.ToInt32(i.Revision)),
			Address: aws.ToString(i.Address), StartedAt: i.StartedAt, Reason: aws.ToString(i.Reason),
		})
	}
	return doc, nil
}

// activeRevision is the revision that serves; nil when none does.
func (c *clients) activeRevision(ctx context.Context, s *types.Service) (*funade.RevisionSummary, error) {
	out, err := c.funade.ListRevisions(ctx, &funade.ListRevisionsInput{ServiceArn: s.ServiceArn})
	if err != nil {
		return nil, err
	}
	for i := range out.Revisions {
		if aws.ToBool(out.Revisions[i].Active) {
			return &out.Revisions[i], nil
		}
	}
	return nil, nil
}

type statusCmd struct {
	connectFlags
	Service string `arg:"" help:"Name or ARN of the service."`
}

// Run prints the service and its instances.
func (c *statusCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	doc, err := cl.status(s.ctx, svc)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Stdout, doc)
	}
	return doc.print(s)
}

func (d *statusDocument) print(s *session) error {
	revision := ""
	if d.Revision != 0 {
		revision = strconv.Itoa(d.Revision)
	}
	err := table(s.Stdout, []string{"Service:", d.Service}, []string{"ARN:", d.ARN}, []string{"Status:", d.Status},
		[]string{"URL:", d.URL}, []string{"Revision:", revision})
	if err != nil || len(d.Instances) == 0 {
		return err
	}
	rows := [][]string{{"INSTANCE", "STATE", "REVISION", "ADDRESS", "STARTED", "REASON"}}
	for _, i := range d.Instances {
		rows = append(rows, []string{i.ID, i.State, strconv.Itoa(i.Revision), i.Address, stamp(i.StartedAt), i.Reason})
	}
	fmt.Fprintln(s.Stdout)
	return table(s.Stdout, rows...)
}

type servicesCmd struct{ connectFlags }

type serviceLine struct {
	Service   string     `json:"service"`
	ARN       string     `json:"arn"`
	Status    string     `json:"status"`
	URL       string     `json:"url"`
	CreatedAt *time.Time `json:"createdAt"`
}

// Run lists all services.
func (c *servicesCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	install, err := cl.install(s.ctx)
	if err != nil {
		return err
	}
	all, err := cl.listServices(s.ctx)
	if err != nil {
		return err
	}
	lines, rows := []serviceLine{}, [][]string{{"SERVICE", "STATUS", "URL", "CREATED"}}
	for _, x := range all {
		l := serviceLine{aws.ToString(x.ServiceName), aws.ToString(x.ServiceArn), string(x.Status),
			serviceURL(aws.ToString(x.ServiceUrl), install), x.CreatedAt}
		lines = append(lines, l)
		rows = append(rows, []string{l.Service, l.Status, l.URL, stamp(l.CreatedAt)})
	}
	if c.JSON {
		return printJSON(s.Stdout, lines)
	}
	return table(s.Stdout, rows...)
}

type operationsCmd struct {
	connectFlags
	Service string `arg:"" help:"Name or ARN of the service."`
}

type operationLine struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Status    string     `json:"status"`
	StartedAt *time.Time `json:"startedAt"`
	EndedAt   *time.Time `json:"endedAt"`
}

// Run lists the service's operations.
func (c *operationsCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	lines, rows := []operationLine{}, [][]string{{"OPERATION", "TYPE", "STATUS", "STARTED", "ENDED"}}
	in := &apprunner.ListOperationsInput{ServiceArn: svc.ServiceArn}
	for p := apprunner.NewListOperationsPaginator(cl.apprunner, in); p.HasMorePages(); {
		page, err := p.NextPage(s.ctx)
		if err != nil {
			return err
		}
		for _, o := range page.OperationSummaryList {
			l := operationLine{aws.ToString(o.Id), string(o.Type), string(o.Status), o.StartedAt, o.EndedAt}
			lines = append(lines, l)
			rows = append(rows, []string{l.ID, l.Type, l.Status, stamp(l.StartedAt), stamp(l.EndedAt)})
		}
	}
	if c.JSON {
		return printJSON(s.Stdout, lines)
	}
	return table(s.Stdout, rows...)
}
