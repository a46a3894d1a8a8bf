package control

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/funade/funade/internal/app"
)

// The names of App Runner's resources (apprunner model 2020-05-15). The generated checks match unanchored, as AWS's
// clients do; a name that becomes part of an ARN has to match as a whole.
var (
	serviceName       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{3,39}$`)
	connectorName     = serviceName
	configurationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{3,31}$`)
	logGroupName      = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
)

func checkName(member, name string, form *regexp.Regexp) error {
	if form.MatchString(name) {
		return nil
	}
	return invalid("The %s %q is not valid: it has to match %s.", member, name, form)
}

func checkStreamName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > 512 || strings.ContainsAny(name, ":*\x00") || !utf8.ValidString(name) {
		return app.Errorf(app.KindInvalidRequest, name, "The log stream name %q is not valid: it has 1 to 512 characters and none of them is : or *.", name)
	}
	return nil
}
