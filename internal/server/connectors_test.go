package server_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// network writes a VPC with one subnet and the default group.
func (a *api) network() {
	a.t.Helper()
	err := a.store.Update(a.t.Context(), func(tx *store.Tx) error {
		store.Control.VPCs.Put(tx, app.VPC{ID: "vpc-1", Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
		store.Control.Subnets.Put(tx, app.Subnet{ID: "subnet-1", Scope: scope, VPC: "vpc-1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-1", Scope: scope, VPC: "vpc-1", Default: true})
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func TestConnectorAsClientsSeeIt(t *testing.T) {
	a := newAPI(t)
	a.network()
	c, ctx := a.runnerClient(), t.Context()
	made, err := c.CreateVpcConnector(ctx, &sdk.CreateVpcConnectorInput{
		VpcConnectorName: aws.String("shop"), Subnets: []string{"subnet-1"}, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := made.VpcConnector
	if v.Status != types.VpcConnectorStatusActive || v.VpcConnectorRevision != 1 || *v.VpcConnectorName != "shop" || v.CreatedAt == nil || v.DeletedAt != nil ||
		!slices.Equal(v.Subnets, []string{"subnet-1"}) || !slices.Equal(v.SecurityGroups, []string{"sg-1"}) ||
		!strings.HasPrefix(*v.VpcConnectorArn, "arn:aws:apprunner:us-east-1:000000000000:vpcconnector/shop/1/") {
		t.Errorf("made %+v", v)
	}
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: v.VpcConnectorArn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "k" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	if list, err := c.ListVpcConnectors(ctx, &sdk.ListVpcConnectorsInput{}); err != nil || len(list.VpcConnectors) != 1 {
		t.Errorf("listed %+v, %v", list, err)
	}
	out, err := c.CreateService(ctx, &sdk.CreateServiceInput{
		ServiceName: aws.String("hello"), SourceConfiguration: source(),
		NetworkConfiguration: &types.NetworkConfiguration{EgressConfiguration: &types.EgressConfiguration{
			EgressType: types.EgressTypeVpc, VpcConnectorArn: aws.String("arn:aws:apprunner:us-east-1:000000000000:vpcconnector/shop"),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := out.Service.NetworkConfiguration.EgressConfiguration; e.EgressType != types.EgressTypeVpc || *e.VpcConnectorArn != *v.VpcConnectorArn {
		t.Errorf("the service has %+v", e)
	}
	a.settle()
	_, err = c.DeleteVpcConnector(ctx, &sdk.DeleteVpcConnectorInput{VpcConnectorArn: v.VpcConnectorArn})
	wantError(t, err, "InvalidRequestException", "Provided VPC connector arn is being used by other services. ARN:  "+*v.VpcConnectorArn)
	if _, err := c.DeleteService(ctx, &sdk.DeleteServiceInput{ServiceArn: out.Service.ServiceArn}); err != nil {
		t.Fatal(err)
	}
	a.settle()
	gone, err := c.DeleteVpcConnector(ctx, &sdk.DeleteVpcConnectorInput{VpcConnectorArn: v.VpcConnectorArn})
	if err != nil || gone.VpcConnector.Status != types.VpcConnectorStatusInactive || gone.VpcConnector.DeletedAt == nil {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	if d, err := c.DescribeVpcConnector(ctx, &sdk.DescribeVpcConnectorInput{VpcConnectorArn: v.VpcConnectorArn}); err != nil || d.VpcConnector.Status != types.VpcConnectorStatusInactive {
		t.Errorf("described %+v, %v", d, err)
	}
	unknown := "arn:aws:apprunner:us-east-1:000000000000:vpcconnector/none/1/0123456789abcdef0123456789abcdef"
	_, err = c.DescribeVpcConnector(ctx, &sdk.DescribeVpcConnectorInput{VpcConnectorArn: &unknown})
	wantError(t, err, "ResourceNotFoundException", "does not exist")
	_, err = c.CreateVpcConnector(ctx, &sdk.CreateVpcConnectorInput{VpcConnectorName: aws.String("shop"), Subnets: []string{"subnet-2"}})
	wantError(t, err, "InvalidRequestException", `Subnets names "subnet-2"`)
}
