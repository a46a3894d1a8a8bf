package ec2

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

func TestCreateFlowLogs(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	sub := b.subnet(v, "10.0.0.0/24")
	var ni app.NetworkInterface
	b.write(func(tx *store.Tx) {
		var err error
		if ni, err = eni.Create(tx, b.cfg.IDs, b.now, eni.New{Scope: scope, Kind: app.InterfaceOfUser, Subnet: sub}); err != nil {
			t.Fatal(err)
		}
	})
	role := "arn:aws:iam::000000000000:role/flow"
	group := app.LogGroupKey{Scope: scope, Name: "/vpc/flow"}
	for kind, resource := range map[string]string{"VPC": string(v), "Subnet": string(sub), "NetworkInterface": string(ni.ID)} {
		ids, err := b.CreateFlowLogs(ctx, scope, CreateFlowLogsInput{
			ResourceType: kind, Resources: []string{resource}, Traffic: "ALL", Destination: group.ARN() + ":*", RoleARN: role, Tags: app.Tags{"a": kind},
		})
		if err != nil || len(ids) != 1 || !strings.HasPrefix(string(ids[0]), "fl-") {
			t.Fatalf("%s: %v, %v", kind, ids, err)
		}
		all, err := b.DescribeFlowLogs(ctx, scope)
		n := slices.IndexFunc(all, func(l FlowLogDetail) bool { return l.ID == ids[0] })
		if err != nil || n < 0 {
			t.Fatalf("%s: %v, %v", kind, all, err)
		}
		want := app.FlowLog{ID: ids[0], Scope: scope, Resource: resource, Traffic: "ALL", Group: group, RoleARN: role, Format: defaultRecord, Interval: 600, CreatedAt: b.now}
		if l := all[n]; l.FlowLog != want || l.Tags["a"] != kind {
			t.Errorf("got %+v, want %+v", l, want)
		}
	}
	ids, err := b.CreateFlowLogs(ctx, scope, CreateFlowLogsInput{
		ResourceType: "VPC", Resources: []string{string(v)}, Traffic: "REJECT", GroupName: "/vpc/flow", Format: "${srcaddr}  ${dstaddr} ${action}", Interval: 60,
	})
	if err != nil || len(ids) != 1 {
		t.Fatalf("got %v, %v", ids, err)
	}
	unknown, err := b.DeleteFlowLogs(ctx, scope, []app.FlowLogID{"fl-no", ids[0]})
	if err != nil || len(unknown) != 1 || unknown[0] != "fl-no" || b.rowsOf()["logs"] != 3 {
		t.Errorf("got %v, %v, %v", unknown, err, b.rowsOf())
	}
	if unknown, err = b.DeleteFlowLogs(ctx, other, ids); err != nil || len(unknown) != 1 {
		t.Errorf("in another region: %v, %v", unknown, err)
	}
	// What a flow log is about takes it along.
	b.write(func(tx *store.Tx) { eni.Delete(tx, ni.ID) })
	if err := b.DeleteSubnet(ctx, scope, sub); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteVPC(ctx, scope, v); err != nil || b.rowsOf()["logs"] != 0 || b.rowsOf()["tags"] != 0 {
		t.Errorf("rows are left: %v, %v", b.rowsOf(), err)
	}
}

func TestFlowLogErrors(t *testing.T) {
	b := newBench(t, Quotas{FlowLogs: 2})
	v := b.vpc("10.0.0.0/16")
	good := CreateFlowLogsInput{ResourceType: "VPC", Resources: []string{string(v)}, Traffic: "ALL", GroupName: "g"}
	if _, err := b.CreateFlowLogs(ctx, scope, good); err != nil {
		t.Fatal(err)
	}
	second := b.vpc("10.0.0.0/16")
	before := b.rowsOf()
	arn := func(service, region, account, resource string) func(*CreateFlowLogsInput) {
		return func(in *CreateFlowLogsInput) {
			in.GroupName, in.Destination = "", "arn:aws:"+service+":"+region+":"+account+":"+resource
		}
	}
	for name, c := range map[string]struct {
		change      func(*CreateFlowLogsInput)
		code, words string
	}{
		"again": {func(in *CreateFlowLogsInput) { in.Resources = []string{string(second), string(v)} }, "FlowLogAlreadyExists", string(v)},
		"twice": {func(in *CreateFlowLogsInput) { in.Resources = []string{string(second), string(second)} }, "FlowLogAlreadyExists", string(second)},
		"quota": {func(in *CreateFlowLogsInput) {
			in.Resources = []string{string(second), string(v)}
			in.Traffic = "REJECT"
		}, "FlowLogsLimitExceeded", "2 are allowed"},
		"no VPC":          {func(in *CreateFlowLogsInput) { in.Resources = []string{"vpc-no"} }, "InvalidVpcID.NotFound", "vpc-no"},
		"no subnet":       {func(in *CreateFlowLogsInput) { in.ResourceType, in.Resources = "Subnet", []string{"subnet-no"} }, "InvalidSubnetID.NotFound", "subnet-no"},
		"no interface":    {func(in *CreateFlowLogsInput) { in.ResourceType, in.Resources = "NetworkInterface", []string{"eni-no"} }, "InvalidNetworkInterfaceID.NotFound", "eni-no"},
		"other type":      {func(in *CreateFlowLogsInput) { in.ResourceType = "TransitGateway" }, "InvalidParameter", "TransitGateway"},
		"wrong type":      {func(in *CreateFlowLogsInput) { in.ResourceType = "Subnet" }, "InvalidParameter", "is no Subnet"},
		"no resource":     {func(in *CreateFlowLogsInput) { in.Resources = nil }, "InvalidParameter", "0 ids"},
		"many resources":  {func(in *CreateFlowLogsInput) { in.Resources = make([]string, 1001) }, "InvalidParameter", "1001 ids"},
		"no traffic type": {func(in *CreateFlowLogsInput) { in.Traffic = "" }, "MissingParameter", "TrafficType"},
		"traffic type":    {func(in *CreateFlowLogsInput) { in.Traffic = "SOME" }, "InvalidParameter", "SOME"},
		"interval":        {func(in *CreateFlowLogsInput) { in.Interval = 61 }, "InvalidParameter", "61"},
		"no destination":  {func(in *CreateFlowLogsInput) { in.GroupName = "" }, "MissingParameter", "LogDestination"},
		"two":             {func(in *CreateFlowLogsInput) { in.Destination = "arn:x" }, "InvalidParameterCombination", "LogGroupName"},
		"group name":      {func(in *CreateFlowLogsInput) { in.GroupName = "a b" }, "InvalidParameter", "a b"},
		"bucket":          {arn("s3", "", "", "bucket"), "InvalidParameter", "log group"},
		"log stream":      {arn("logs", "us-east-1", "000000000000", "log-group:g:log-stream:s"), "InvalidParameter", "g:log-stream:s"},
		"other region":    {arn("logs", "eu-west-1", "000000000000", "log-group:g"), "InvalidParameter", "us-east-1"},
		"other account":   {arn("logs", "us-east-1", "111111111111", "log-group:g"), "InvalidParameter", "000000000000"},
		"role":            {func(in *CreateFlowLogsInput) { in.RoleARN = "arn:aws:iam::000000000000:user/u" }, "InvalidParameter", "user/u"},
		"field":           {func(in *CreateFlowLogsInput) { in.Format = "${srcaddr} ${vpc-id} srcaddr" }, "InvalidParameter", "${vpc-id} srcaddr. Known are ${version}"},
		"blank":           {func(in *CreateFlowLogsInput) { in.Format = " " }, "InvalidParameter", "blank"},
		"many fields":     {func(in *CreateFlowLogsInput) { in.Format = strings.Repeat("${srcaddr} ", 15) }, "InvalidParameter", "15 fields"},
		"tags":            {func(in *CreateFlowLogsInput) { in.Tags = app.Tags{"aws:a": ""} }, "InvalidParameterValue", "aws:a"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			c.change(&in)
			ids, err := b.CreateFlowLogs(ctx, scope, in)
			fails(t, err, c.code, c.words)
			if len(ids) != 0 {
				t.Errorf("made %v", ids)
			}
		})
	}
	if !maps.Equal(before, b.rowsOf()) {
		t.Errorf("refused calls left rows: %v, then %v", before, b.rowsOf())
	}
}

// The same token with the same parameters makes nothing more.
func TestFlowLogTokens(t *testing.T) {
	b := newBench(t)
	v, second := b.vpc("10.0.0.0/16"), b.vpc("10.0.0.0/16")
	in := CreateFlowLogsInput{ResourceType: "VPC", Resources: []string{string(second), string(v)}, Traffic: "ALL", GroupName: "g", ClientToken: "once"}
	made, err := b.CreateFlowLogs(ctx, scope, in)
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(1000)
	again, err := b.CreateFlowLogs(ctx, scope, in)
	if err != nil || !slices.Equal(made, again) || b.rowsOf()["logs"] != 2 {
		t.Errorf("got %v, %v, want %v", again, err, made)
	}
	for _, change := range []func(*CreateFlowLogsInput){
		func(in *CreateFlowLogsInput) { in.Traffic = "REJECT" },
		func(in *CreateFlowLogsInput) { in.GroupName = "other" },
		func(in *CreateFlowLogsInput) { in.Resources = in.Resources[:1] },
		func(in *CreateFlowLogsInput) { in.Interval = 60 },
	} {
		changed := in
		change(&changed)
		_, err := b.CreateFlowLogs(ctx, scope, changed)
		fails(t, err, "IdempotentParameterMismatch", "once")
	}
}
