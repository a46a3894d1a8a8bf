package ec2

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// FlowLogDetail is a flow log with its tags.
type FlowLogDetail struct {
	app.FlowLog
	Tags app.Tags
}

// recordFields are what a record can hold: version 2 of the format, in the order of the default (VPC guide, "Flow log records").
var recordFields = []string{
	"version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "action", "log-status",
}

// defaultRecord is the format of records when the caller gives none.
var defaultRecord = "${" + strings.Join(recordFields, "} ${") + "}"

// The limits and defaults of flow logs (ec2 API reference, CreateFlowLogs).
const (
	maxFlowResources = 1000
	shortWindow      = 60 // seconds
	longWindow       = 600
)

var flowGroupName = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)

// flowResources are the ids' prefixes and the finder of each ResourceType.
var flowResources = map[string]struct {
	prefix string
	find   func(tx *store.Tx, scope app.Scope, id string) error
}{
	"VPC": {"vpc-", func(tx *store.Tx, scope app.Scope, id string) error {
		_, err := findVPC(tx, scope, app.VPCID(id))
		return err
	}},
	"Subnet": {"subnet-", func(tx *store.Tx, scope app.Scope, id string) error {
		_, err := findSubnet(tx, scope, app.SubnetID(id))
		return err
	}},
	"NetworkInterface": {"eni-", func(tx *store.Tx, scope app.Scope, id string) error {
		_, err := findInterface(tx, scope, app.InterfaceID(id))
		return err
	}},
}

// CreateFlowLogsInput says what to record. Exactly one of GroupName and Destination, a log group's ARN, is set.
type CreateFlowLogsInput struct {
	ResourceType string // VPC, Subnet or NetworkInterface
	Resources    []string
	Traffic      string // ACCEPT, REJECT or ALL
	GroupName    string
	Destination  string
	RoleARN      string
	Format       string // "" = version 2's
	Interval     int    // seconds; 0 = 600
	ClientToken  string
	Tags         app.Tags
}

func flowInvalid(format string, args ...any) error {
	return fail(app.KindInvalidRequest, "InvalidParameter", format, args...)
}

// log checks what does not depend on rows and returns the row without id and resource.
func (in CreateFlowLogsInput) log(scope app.Scope) (app.FlowLog, error) {
	l := app.FlowLog{Scope: scope, Traffic: in.Traffic, RoleARN: in.RoleARN, Format: cmp.Or(in.Format, defaultRecord), Interval: cmp.Or(in.Interval, longWindow), ClientToken: in.ClientToken}
	kind, known := flowResources[in.ResourceType]
	switch {
	case !known:
		return l, flowInvalid("Value (%s) for parameter ResourceType is invalid: give VPC, Subnet or NetworkInterface", in.ResourceType)
	case len(in.Resources) == 0 || len(in.Resources) > maxFlowResources:
		return l, flowInvalid("ResourceIds holds %d ids: give 1 to %d", len(in.Resources), maxFlowResources)
	case in.Traffic == "":
		return l, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter TrafficType: ACCEPT, REJECT or ALL")
	case !slices.Contains([]string{"ACCEPT", "REJECT", "ALL"}, in.Traffic):
		return l, flowInvalid("Value (%s) for parameter TrafficType is invalid: give ACCEPT, REJECT or ALL", in.Traffic)
	case l.Interval != shortWindow && l.Interval != longWindow:
		return l, flowInvalid("Value (%d) for parameter MaxAggregationInterval is invalid: give %d or %d seconds", in.Interval, shortWindow, longWindow)
	}
	for _, id := range in.Resources {
		if !strings.HasPrefix(id, kind.prefix) {
			return l, flowInvalid("The resource %s is no %s: give ids that begin with %s", id, in.ResourceType, kind.prefix)
		}
	}
	if err := checkRecord(l.Format); err != nil {
		return l, err
	}
	if in.RoleARN != "" {
		if arn, err := app.ParseARN(in.RoleARN); err != nil || arn.Service != "iam" || !strings.HasPrefix(arn.Resource, "role/") {
			return l, flowInvalid("Value (%s) for parameter DeliverLogsPermissionArn is invalid: give the ARN of a role", in.RoleARN)
		}
	}
	var err error
	l.Group, err = in.group(scope)
	return l, err
}

// checkRecord checks a record's format: ${field}, with spaces between them.
func checkRecord(format string) error {
	var unknown []string
	names := strings.Fields(format)
	for _, text := range names {
		name, opened := strings.CutPrefix(text, "${")
		name, closed := strings.CutSuffix(name, "}")
		if !opened || !closed || !slices.Contains(recordFields, name) {
			unknown = append(unknown, text)
		}
	}
	switch {
	case len(names) == 0:
		return flowInvalid("LogFormat is blank: give fields such as ${srcaddr} with spaces between them, or leave it out")
	case len(names) > len(recordFields):
		return flowInvalid("LogFormat has %d fields: give each of the %d at most once", len(names), len(recordFields))
	case len(unknown) > 0:
		return flowInvalid("Unknown fields provided in LogFormat: %s. Known are ${%s}, with spaces between them", strings.Join(unknown, " "), strings.Join(recordFields, "}, ${"))
	}
	return nil
}

// group is the log group that records go to; the delivery makes it when it is not there, as on AWS.
func (in CreateFlowLogsInput) group(scope app.Scope) (app.LogGroupKey, error) {
	name := in.GroupName
	switch {
	case name != "" && in.Destination != "":
		return app.LogGroupKey{}, fail(app.KindInvalidRequest, "InvalidParameterCombination", "Please only provide LogGroupName or only provide LogDestination.")
	case name == "" && in.Destination == "":
		return app.LogGroupKey{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter LogDestination or LogGroupName")
	case in.Destination != "":
		arn, err := app.ParseARN(in.Destination)
		group, ok := strings.CutPrefix(arn.Resource, "log-group:")
		if err != nil || arn.Service != "logs" || !ok {
			return app.LogGroupKey{}, flowInvalid("Value (%s) for parameter LogDestination is invalid: give the ARN of a log group", in.Destination)
		}
		if arn.Scope != scope {
			return app.LogGroupKey{}, flowInvalid("LogDestination %s is of another account or region: give a log group of %s in %s", in.Destination, scope.Account, scope.Region)
		}
		name = strings.TrimSuffix(group, ":*")
	}
	if !flowGroupName.MatchString(name) {
		return app.LogGroupKey{}, flowInvalid("The log group name '%s' is invalid: give 1 to 512 of the characters a-z, A-Z, 0-9, and ._-/#", name)
	}
	return app.LogGroupKey{Scope: scope, Name: name}, nil
}

// CreateFlowLogs starts recording the traffic of resources, of all or of none. The same ClientToken again returns what it made.
func (c *EC2) CreateFlowLogs(ctx context.Context, scope app.Scope, in CreateFlowLogsInput) ([]app.FlowLogID, error) {
	l, err := in.log(scope)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	l.CreatedAt = c.now()
	var out []app.FlowLogID
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		if out, err = madeBefore(tx, l, in.Resources); err != nil || len(out) > 0 {
			return err
		}
		n := count(store.FlowLogsByScope.Each(tx, scope))
		for _, id := range in.Resources {
			if err := flowResources[in.ResourceType].find(tx, scope, id); err != nil {
				return err
			}
			for have := range store.FlowLogsByScope.Each(tx, scope) {
				if have.Resource == id && have.Group == l.Group && have.Traffic == l.Traffic {
					return fail(app.KindExists, "FlowLogAlreadyExists", "There is an existing Flow Log with the same configuration and log destination: %s of %s", have.ID, id)
				}
			}
			if n++; n > c.cfg.Quotas.FlowLogs {
				return fail(app.KindQuota, "FlowLogsLimitExceeded", "The maximum number of flow logs for the region has been reached: %d are allowed. Delete one first", c.cfg.Quotas.FlowLogs)
			}
			l.ID, l.Resource = app.FlowLogID(c.cfg.IDs.Prefixed("fl")), id
			store.Control.FlowLogs.Put(tx, l)
			putTags(tx, string(l.ID), in.Tags)
			out = append(out, l.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// madeBefore returns what an earlier call with the same ClientToken made, in the order of the resources.
func madeBefore(tx *store.Tx, l app.FlowLog, resources []string) ([]app.FlowLogID, error) {
	if l.ClientToken == "" {
		return nil, nil
	}
	made := map[string]app.FlowLogID{}
	for have := range store.FlowLogsByScope.Each(tx, l.Scope) {
		if have.ClientToken != l.ClientToken {
			continue
		}
		made[have.Resource] = have.ID
		l.ID, l.Resource, l.CreatedAt = have.ID, have.Resource, have.CreatedAt
		if have != l || !slices.Contains(resources, have.Resource) {
			return nil, mismatch(l.ClientToken)
		}
	}
	var out []app.FlowLogID
	for _, id := range resources {
		if made[id] != "" {
			out = append(out, made[id])
		}
	}
	return out, nil
}

// DescribeFlowLogs returns all flow logs, by id.
func (c *EC2) DescribeFlowLogs(ctx context.Context, scope app.Scope) (out []FlowLogDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for l := range store.FlowLogsByScope.Each(tx, scope) {
			out = append(out, FlowLogDetail{l, Tags(tx, string(l.ID))})
		}
		return nil
	})
	return out, err
}

// DeleteFlowLogs stops recording, and returns the ids that are not there; what was recorded stays.
func (c *EC2) DeleteFlowLogs(ctx context.Context, scope app.Scope, ids []app.FlowLogID) (unknown []app.FlowLogID, err error) {
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		for _, id := range ids {
			if l, ok := store.FlowLogs.Get(tx, id); !ok || l.Scope != scope {
				unknown = append(unknown, id)
				continue
			}
			store.Control.FlowLogs.Delete(tx, id)
			deleteTags(tx, string(id))
		}
		return nil
	})
	return unknown, err
}
