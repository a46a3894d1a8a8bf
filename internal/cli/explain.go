package cli

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/funade/funade/internal/aws/api/funade"
)

// explainCmd has exit codes of its own: 0 allowed, 1 denied, 2 no answer.
type explainCmd struct {
	connectFlags
	From     string `required:"" help:"Who connects: service/NAME or its ARN, i-…, eni-…, or an address of --vpc." placeholder:"SOURCE"`
	To       string `required:"" help:"Where to: an address, i-…, eni-… or ip-10-0-0-5.ec2.internal, with :PORT." placeholder:"HOST[:PORT]"`
	Protocol string `help:"tcp, udp, icmp or a number." default:"tcp" placeholder:"NAME"`
	VPC      string `name:"vpc" help:"The VPC of a source that is an address." placeholder:"VPC"`
	Steps    bool   `help:"Print every decision on a line of its own."`
}

type explainDocument struct {
	Allowed     bool          `json:"allowed"`
	Summary     string        `json:"summary"`
	Source      string        `json:"source,omitempty"`
	Destination string        `json:"destination"`
	Protocol    string        `json:"protocol"`
	Port        int32         `json:"port,omitempty"`
	Steps       []explainStep `json:"steps"`
}

type explainStep struct {
	Kind     string `json:"kind"`
	Allowed  bool   `json:"allowed"`
	Text     string `json:"text"`
	Resource string `json:"resource,omitempty"`
}

// Run asks the server and prints its answer.
func (c *explainCmd) Run(s *session) error {
	allowed, err := c.explain(s)
	switch {
	case err != nil:
		return &exitError{exitUsage, err}
	case !allowed:
		return &exitError{exitFailed, nil}
	}
	return nil
}

func (c *explainCmd) explain(s *session) (allowed bool, err error) {
	cl, err := c.connect(s)
	if err != nil {
		return false, err
	}
	in := &funade.ExplainConnectivityInput{Source: &c.From, Destination: &c.To, Protocol: &c.Protocol}
	if c.VPC != "" {
		in.VpcId = &c.VPC
	}
	out, err := cl.funade.ExplainConnectivity(s.ctx, in)
	if err != nil {
		return false, err
	}
	doc := explainDocument{
		Allowed: aws.ToBool(out.Allowed), Summary: aws.ToString(out.Summary), Source: aws.ToString(out.SourceAddress),
		Destination: aws.ToString(out.DestinationAddress), Protocol: aws.ToString(out.Protocol), Port: aws.ToInt32(out.Port), Steps: []explainStep{},
	}
	for _, t := range out.Steps {
		doc.Steps = append(doc.Steps, explainStep{aws.ToString(t.Kind), aws.ToBool(t.Allowed), aws.ToString(t.Text), aws.ToString(t.ResourceId)})
	}
	return doc.Allowed, c.print(s, doc)
}

func (c *explainCmd) print(s *session, doc explainDocument) error {
	if c.JSON {
		return printJSON(s.Stdout, doc)
	}
	if _, err := fmt.Fprintln(s.Stdout, doc.Summary); err != nil || !c.Steps {
		return err
	}
	rows := [][]string{{"DECISION", "ALLOWED", "RESOURCE", "WHY"}}
	for _, t := range doc.Steps {
		word := "yes"
		if !t.Allowed {
			word = "no"
		}
		rows = append(rows, []string{t.Kind, word, t.Resource, t.Text})
	}
	return table(s.Stdout, rows...)
}
