package wire_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
)

// toyEC2 echoes what it understood.
type toyEC2 struct{ ec2.Unimplemented }

func (toyEC2) DescribeVpcs(_ context.Context, in *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	if len(in.VpcIds) == 0 {
		return &ec2.DescribeVpcsOutput{}, nil
	}
	if in.VpcIds[0] == "vpc-x" {
		return nil, &wire.Error{Code: "InvalidVpcID.NotFound", Message: "The vpc ID 'vpc-x' does not exist"}
	}
	out := &ec2.DescribeVpcsOutput{NextToken: in.NextToken}
	for _, id := range in.VpcIds {
		v := ec2.Vpc{VpcId: &id, IsDefault: new(true)}
		for _, f := range in.Filters {
			v.Tags = append(v.Tags, ec2.Tag{Key: f.Name, Value: new(strings.Join(f.Values, ","))})
		}
		out.Vpcs = append(out.Vpcs, v)
	}
	return out, nil
}

func (toyEC2) AuthorizeSecurityGroupIngress(_ context.Context, in *ec2.AuthorizeSecurityGroupIngressInput) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	text, err := json.Marshal(in.IpPermissions)
	return &ec2.AuthorizeSecurityGroupIngressOutput{SecurityGroupRules: []ec2.SecurityGroupRule{{Description: new(string(text)), FromPort: in.FromPort}}}, err
}

func (toyEC2) ImportKeyPair(_ context.Context, in *ec2.ImportKeyPairInput) (*ec2.ImportKeyPairOutput, error) {
	out := &ec2.ImportKeyPairOutput{KeyFingerprint: new(string(in.PublicKeyMaterial))}
	for _, spec := range in.TagSpecifications {
		out.Tags = append(out.Tags, spec.Tags...)
	}
	return out, nil
}

func (toyEC2) CreateNatGateway(context.Context, *ec2.CreateNatGatewayInput) (*ec2.CreateNatGatewayOutput, error) {
	return &ec2.CreateNatGatewayOutput{NatGateway: &ec2.NatGateway{CreateTime: &created}}, nil
}

func (toyEC2) RunInstances(_ context.Context, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	if len(in.NetworkInterfaces) == 0 || len(in.NetworkInterfaces[0].PrivateIpAddresses) == 0 || len(in.NetworkInterfaces[0].Groups) == 0 {
		return nil, &wire.Error{Code: "MissingParameter", Message: "the toy wants an interface with an address and a group"}
	}
	spec := in.NetworkInterfaces[0]
	return &ec2.RunInstancesOutput{ReservationId: spec.PrivateIpAddresses[0].PrivateIpAddress, Groups: []ec2.GroupIdentifier{{GroupId: &spec.Groups[0], GroupName: new(string(in.InstanceType))}}}, nil
}

func (toyEC2) DeleteVpc(context.Context, *ec2.DeleteVpcInput) (*ec2.DeleteVpcOutput, error) {
	return nil, nil
}

const version = "&Version=2016-11-15"

// ec2Exchanges are those of ec2Query.
func ec2Exchanges() []exchange {
	return []exchange{
		{name: "ec2 success", service: "ec2", body: "Action=DescribeVpcs&VpcId.1=vpc-a&Filter.1.Name=tag%3AName&Filter.1.Value.2=c&Filter.1.Value.1=b&NextToken=n" + version, status: 200,
			want: `<vpcSet><item><vpcId>vpc-a</vpcId><isDefault>true</isDefault><tagSet><item><key>tag:Name</key><value>b,c</value></item></tagSet></item></vpcSet><nextToken>n</nextToken></DescribeVpcsResponse>`},
		{name: "ec2 root and id", service: "ec2", body: "Action=DescribeVpcs" + version, status: 200, want: `<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15"><requestId>`},
		{name: "ec2 empty list", service: "ec2", body: "Action=DescribeVpcs" + version, status: 200, want: `</requestId><vpcSet></vpcSet></DescribeVpcsResponse>`},
		{name: "ec2 no output", service: "ec2", body: "Action=DeleteVpc&VpcId=vpc-a" + version, status: 200, want: `<return>true</return></DeleteVpcResponse>`},
		{name: "ec2 time", service: "ec2", body: "Action=CreateNatGateway&SubnetId=subnet-a" + version, status: 200, want: `<createTime>2026-11-22T15:00:00.500Z</createTime>`},
		{name: "ec2 query names", service: "ec2", status: 200, want: `<groupSet><item><groupName>t9.new</groupName><groupId>sg-1</groupId></item></groupSet><instancesSet></instancesSet><reservationId>10.0.0.5</reservationId>`,
			body: "Action=RunInstances&MinCount=1&MaxCount=1&InstanceType=t9.new&NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress=10.0.0.5&NetworkInterface.1.SecurityGroupId.1=sg-1" + version},
		{name: "ec2 error", service: "ec2", body: "Action=DescribeVpcs&VpcId.1=vpc-x" + version, status: 400,
			want: `<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code><Message>The vpc ID &#39;vpc-x&#39; does not exist</Message></Error></Errors><RequestID>`},
		{name: "ec2 missing parameter", service: "ec2", body: "Action=CreateTags&Tag.1.Key=k" + version, status: 400, want: `<Code>MissingParameter</Code><Message>The request must contain the parameter ResourceId</Message>`},
		{name: "ec2 invalid parameter", service: "ec2", body: "Action=DescribeVpcs&MaxResults=1" + version, status: 400,
			want: `<Code>InvalidParameterValue</Code><Message>Value (1) for parameter MaxResults is invalid. Member must have value greater than or equal to 5</Message>`},
		{name: "ec2 invalid nested parameter", service: "ec2", body: "Action=CreateVpc&TagSpecification.1.ResourceType=cloud" + version, status: 400, want: `<Message>Value (cloud) for parameter TagSpecification.1.ResourceType is invalid.`},
		{name: "ec2 wrong type", service: "ec2", body: "Action=DescribeVpcs&MaxResults=x" + version, status: 400, want: `<Code>InvalidParameterValue</Code><Message>The parameters are not valid for DescribeVpcs: value must be an integer at &#39;maxResults&#39;.`},
		{name: "ec2 character", service: "ec2", body: "Action=CreateTags&ResourceId.1=vpc-a&Tag.1.Key=k&Tag.1.Value=a%01b" + version, status: 400,
			want: `<Code>InvalidCharacter</Code><Message>The parameter Tag.1.Value holds &#39;\x01&#39;, a character that is not valid in XML: leave it out</Message>`},
		{name: "ec2 noncharacter", service: "ec2", body: "Action=DescribeVpcs&VpcId.1=%EF%BF%BF" + version, status: 400, want: `<Code>InvalidCharacter</Code>`},
		{name: "ec2 characters of XML", service: "ec2", body: "Action=DescribeVpcs&VpcId.1=vpc-a&NextToken=%3C%26%09%0A%0D%EF%BF%BD%F0%9F%98%80" + version, status: 200,
			want: "<nextToken>&lt;&amp;&#x9;&#xA;&#xD;\ufffd\U0001F600</nextToken>"},
		{name: "ec2 unknown action", service: "ec2", body: "Action=Fly" + version, status: 400, want: `<Code>InvalidAction</Code>`},
		{name: "ec2 unimplemented", service: "ec2", body: "Action=DescribeVolumes" + version, status: 400, want: `<Response><Errors><Error><Code>InvalidAction</Code>`},
	}
}

func TestOfficialEC2Client(t *testing.T) {
	client := sdkec2.NewFromConfig(sdkConfig(t, root.SecretAccessKey))
	list, err := client.DescribeVpcs(t.Context(), &sdkec2.DescribeVpcsInput{VpcIds: []string{"vpc-a", "vpc-b"}, Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{"é&<", "2"}}}})
	if err != nil || len(list.Vpcs) != 2 || *list.Vpcs[1].VpcId != "vpc-b" || *list.Vpcs[0].Tags[0].Value != "é&<,2" || list.NextToken != nil {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err = client.DescribeVpcs(t.Context(), &sdkec2.DescribeVpcsInput{VpcIds: []string{"vpc-x"}})
	wantCode(t, err, "InvalidVpcID.NotFound")

	rules, err := client.AuthorizeSecurityGroupIngress(t.Context(), &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String("sg-a"), FromPort: aws.Int32(-1), IpPermissions: []ec2types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(81),
		IpRanges:         []ec2types.IpRange{{CidrIp: aws.String("10.0.0.0/8"), Description: aws.String("d")}},
		Ipv6Ranges:       []ec2types.Ipv6Range{{CidrIpv6: aws.String("::/0")}},
		PrefixListIds:    []ec2types.PrefixListId{{PrefixListId: aws.String("pl-1")}},
		UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: aws.String("sg-b")}, {GroupId: aws.String("sg-c")}},
	}}})
	if err != nil || *rules.SecurityGroupRules[0].FromPort != -1 {
		t.Fatalf("got %+v, %v", rules, err)
	}
	var seen []ec2.IpPermission
	if err := json.Unmarshal([]byte(*rules.SecurityGroupRules[0].Description), &seen); err != nil {
		t.Fatal(err)
	}
	p := seen[0]
	if *p.IpProtocol != "tcp" || *p.FromPort != 80 || *p.ToPort != 81 || *p.IpRanges[0].CidrIp != "10.0.0.0/8" || *p.IpRanges[0].Description != "d" || *p.Ipv6Ranges[0].CidrIpv6 != "::/0" ||
		*p.PrefixListIds[0].PrefixListId != "pl-1" || *p.UserIdGroupPairs[1].GroupId != "sg-c" {
		t.Errorf("understood %+v", p)
	}

	key, err := client.ImportKeyPair(t.Context(), &sdkec2.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: []byte("ssh-rsa AAA"),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeKeyPair, Tags: []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("")}}}}})
	if err != nil || *key.KeyFingerprint != "ssh-rsa AAA" || *key.Tags[0].Key != "a" || *key.Tags[0].Value != "" {
		t.Errorf("got %+v, %v", key, err)
	}
	nat, err := client.CreateNatGateway(t.Context(), &sdkec2.CreateNatGatewayInput{SubnetId: aws.String("subnet-a"), ClientToken: aws.String("t")})
	if err != nil || !nat.NatGateway.CreateTime.Equal(created) {
		t.Errorf("got %+v, %v", nat, err)
	}
	run, err := client.RunInstances(t.Context(), &sdkec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1), UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("x"))),
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), Groups: []string{"sg-1"}, PrivateIpAddresses: []ec2types.PrivateIpAddressSpecification{{PrivateIpAddress: aws.String("10.0.0.5")}}}}})
	if err != nil || *run.ReservationId != "10.0.0.5" || *run.Groups[0].GroupId != "sg-1" || run.Instances == nil {
		t.Errorf("got %+v, %v", run, err)
	}
	if _, err := client.DeleteVpc(t.Context(), &sdkec2.DeleteVpcInput{VpcId: aws.String("vpc-a")}); err != nil {
		t.Error(err)
	}
	_, err = client.DescribeVolumes(t.Context(), &sdkec2.DescribeVolumesInput{})
	wantCode(t, err, "InvalidAction")
	_, err = sdkec2.NewFromConfig(sdkConfig(t, "wrong")).DescribeVpcs(t.Context(), &sdkec2.DescribeVpcsInput{})
	wantCode(t, err, "SignatureDoesNotMatch")
}
