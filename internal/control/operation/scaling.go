package operation

import (
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
)

// ScalingKey returns the key that a full auto scaling configuration ARN names.
func ScalingKey(scope app.Scope, arn string) (app.ConfigurationKey, error) {
	parsed, err := app.ParseARN(arn)
	if err != nil {
		return app.ConfigurationKey{}, err
	}
	parts := strings.Split(parsed.Resource, "/")
	if len(parts) != 4 || parts[0] != "autoscalingconfiguration" {
		return app.ConfigurationKey{}, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q does not name a revision of an auto scaling configuration.", arn)
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		return app.ConfigurationKey{}, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q has no revision number.", arn)
	}
	return app.ConfigurationKey{Scope: scope, Name: parts[1], Revision: n}, nil
}
