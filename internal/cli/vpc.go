package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/funade/funade/internal/aws/api/funade"
)

type vpcCmd struct {
	Attach vpcAttachCmd `cmd:"" help:"Make a real network behind the server a target of routes; prints its id, lan-…."`
	Detach vpcDetachCmd `cmd:"" help:"Take an attached network away; no route may name it any more."`
	List   vpcListCmd   `cmd:"" help:"List attached networks."`
}

type vpcAttachCmd struct {
	connectFlags
	VPC       string   `name:"vpc" required:"" help:"The VPC." placeholder:"VPC"`
	Interface string   `help:"The server's own network interface towards the network; or --via." placeholder:"NAME"`
	CIDR      []string `name:"cidr" help:"A block that is behind the network; may be repeated." placeholder:"CIDR"`
	Via       string   `help:"The router on the way to the network, at a neighbour's address of the server; or --interface." placeholder:"ADDRESS"`
}

type networkDocument struct {
	ID        string     `json:"id"`
	VPC       string     `json:"vpc"`
	Interface string     `json:"interface,omitempty"`
	Via       string     `json:"via,omitempty"`
	CIDRs     []string   `json:"cidrs"`
	CreatedAt *time.Time `json:"createdAt,omitempty"`
}

func networkOf(n funade.Network) networkDocument {
	return networkDocument{aws.ToString(n.NetworkId), aws.ToString(n.VpcId), aws.ToString(n.Interface), aws.ToString(n.Via), n.Cidrs, n.CreatedAt}
}

// Run attaches the network and prints its id alone, for the route that names it.
func (c *vpcAttachCmd) Run(s *session) error {
	if len(c.CIDR) == 0 || (c.Interface == "") == (c.Via == "") {
		return usagef("say what is behind the network with --cidr, which may be repeated, and how it is reached with either --interface NAME or --via ADDRESS")
	}
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	in := &funade.AttachNetworkInput{VpcId: &c.VPC, Cidrs: c.CIDR}
	if c.Interface != "" {
		in.Interface = &c.Interface
	}
	if c.Via != "" {
		in.Via = &c.Via
	}
	out, err := cl.funade.AttachNetwork(s.ctx, in)
	if err != nil {
		return err
	}
	n := networkOf(*out.Network)
	if c.JSON {
		return printJSON(s.Stdout, n)
	}
	fmt.Fprintf(s.Stderr, "%s reaches %s by routes to %s, for example:\n  aws ec2 create-route --route-table-id RTB --destination-cidr-block CIDR --gateway-id %s\n", n.VPC, strings.Join(n.CIDRs, ", "), n.ID, n.ID)
	_, err = fmt.Fprintln(s.Stdout, n.ID)
	return err
}

type vpcDetachCmd struct {
	connectFlags
	Network string `arg:"" help:"The network, lan-…."`
}

// Run detaches the network.
func (c *vpcDetachCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	if _, err := cl.funade.DetachNetwork(s.ctx, &funade.DetachNetworkInput{NetworkId: &c.Network}); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Stdout, map[string]string{"id": c.Network})
	}
	_, err = fmt.Fprintf(s.Stdout, "%s is detached.\n", c.Network)
	return err
}

type vpcListCmd struct {
	connectFlags
	VPC string `name:"vpc" help:"Networks of one VPC only." placeholder:"VPC"`
}

// Run lists the networks.
func (c *vpcListCmd) Run(s *session) error {
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	in := &funade.ListNetworksInput{}
	if c.VPC != "" {
		in.VpcId = &c.VPC
	}
	out, err := cl.funade.ListNetworks(s.ctx, in)
	if err != nil {
		return err
	}
	docs, rows := []networkDocument{}, [][]string{{"NETWORK", "VPC", "INTERFACE", "VIA", "BLOCKS", "SINCE"}}
	for _, n := range out.Networks {
		d := networkOf(n)
		docs, rows = append(docs, d), append(rows, []string{d.ID, d.VPC, d.Interface, d.Via, strings.Join(d.CIDRs, ","), stamp(d.CreatedAt)})
	}
	if c.JSON {
		return printJSON(s.Stdout, docs)
	}
	return table(s.Stdout, rows...)
}
