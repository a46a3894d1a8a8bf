package shape_test

import (
	"strings"
	"testing"

	"github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/aws/api/ecr"
	"github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/api/logs"
	"github.com/funade/funade/internal/aws/shape"
)

func TestValidateWording(t *testing.T) {
	image := &apprunner.SourceConfiguration{ImageRepository: &apprunner.ImageRepository{ImageIdentifier: new("docker.io/library/nginx:1"), ImageRepositoryType: apprunner.ImageRepositoryTypeEcrPublic}}
	tests := []struct {
		name string
		in   interface{ Validate() error }
		want string
	}{
		{"valid", &apprunner.CreateServiceInput{ServiceName: new("hello"), SourceConfiguration: image}, ""},
		{"all at once",
			&apprunner.CreateServiceInput{SourceConfiguration: image, InstanceConfiguration: &apprunner.InstanceConfiguration{Cpu: new("0 vCPU"), Memory: new("0 GB")}},
			"3 validation errors detected: Value null at 'serviceName' failed to satisfy constraint: Member must not be null; " +
				"Value '0 vCPU' at 'instanceConfiguration.cpu' failed to satisfy constraint: Member must satisfy regular expression pattern: 256|512|1024|2048|4096|(0.25|0.5|1|2|4) vCPU; " +
				"Value '0 GB' at 'instanceConfiguration.memory' failed to satisfy constraint: Member must satisfy regular expression pattern: 512|1024|2048|3072|4096|6144|8192|10240|12288|(0.5|1|2|3|4|6|8|10|12) GB"},
		{"one error is singular", &apprunner.DescribeServiceInput{},
			"1 validation error detected: Value null at 'serviceArn' failed to satisfy constraint: Member must not be null"},
		{"enum", &ecr.PutImageTagMutabilityInput{RepositoryName: new("a/b"), ImageTagMutability: "IMMUTABLE_WITH_EXCLUSION"},
			"1 validation error detected: Value 'IMMUTABLE_WITH_EXCLUSION' at 'imageTagMutability' failed to satisfy constraint: Member must satisfy enum value set: [MUTABLE, IMMUTABLE]"},
		{"range", &apprunner.ListServicesInput{MaxResults: new(int32(21))},
			"1 validation error detected: Value '21' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 20"},
		{"range below", &funade.RollbackServiceInput{ServiceArn: new("arn:aws:apprunner:us-east-1:000000000000:service/a/b"), Revision: new(int32(0))},
			"1 validation error detected: Value '0' at 'revision' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"list elements and look-ahead", &apprunner.TagResourceInput{ResourceArn: new("arn:aws:apprunner:us-east-1:000000000000:service/a/b"),
			Tags: []apprunner.Tag{{Key: new("ok")}, {Key: new("aws:no"), Value: new(strings.Repeat("v", 257))}}},
			"2 validation errors detected: Value 'aws:no' at 'tags.2.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!aws:).+; " +
				"Value '" + strings.Repeat("v", 256) + "…' at 'tags.2.member.value' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"map keys", &logs.CreateLogGroupInput{LogGroupName: new("/aws/x"), Tags: map[string]string{"a\tb": "v"}},
			"1 validation error detected: Value 'a\tb' at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: ^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+)$]"},
		{"list length", &logs.DescribeLogGroupsInput{AccountIdentifiers: strings.Split(strings.Repeat("000000000000,", 20)+"000000000000", ",")},
			"1 validation error detected: Value '[000000000000, 000000000000, 000000000000, 000000000000, 000000000000, 000000000000, 000000000000, 000000000000, …]' at 'accountIdentifiers' failed to satisfy constraint: Member must have length less than or equal to 20"},
		{"empty list", &logs.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: []logs.InputLogEvent{}},
			"1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"names match whole", &ecr.CreateRepositoryInput{RepositoryName: new("Hello/x")},
			`1 validation error detected: Value 'Hello/x' at 'repositoryName' failed to satisfy constraint: Member must satisfy regular expression pattern: (?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.in.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSensitiveValuesAreNotEchoed(t *testing.T) {
	secret := "echo hunter2\nrm"
	in := &apprunner.CreateServiceInput{ServiceName: new("hello"), SourceConfiguration: &apprunner.SourceConfiguration{ImageRepository: &apprunner.ImageRepository{
		ImageIdentifier: new("x"), ImageRepositoryType: apprunner.ImageRepositoryTypeEcr,
		ImageConfiguration: &apprunner.ImageConfiguration{StartCommand: &secret, RuntimeEnvironmentVariables: map[string]string{"hunter2": strings.Repeat("hunter2", 10000), "": "x"}},
	}}}
	err := in.Validate()
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"3 validation errors", "Value at 'sourceConfiguration.imageRepository.imageConfiguration.startCommand' failed to satisfy constraint: Member must satisfy regular",
		"Value at 'sourceConfiguration.imageRepository.imageConfiguration.runtimeEnvironmentVariables.*.member' failed to satisfy constraint: Member must have length less than or equal to 51200",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestViolationsAreBounded(t *testing.T) {
	in := &apprunner.UntagResourceInput{ResourceArn: new("bad"), TagKeys: make([]string, 50)}
	v, ok := in.Validate().(*shape.Violations)
	if !ok || v.Total != 101 || len(v.List) != 100 || !strings.HasSuffix(v.Error(), "; and 1 more") {
		t.Errorf("total %d listed %d", v.Total, len(v.List))
	}
}

func TestErrorsConvert(t *testing.T) {
	e, ok := shape.AsError(&logs.InvalidSequenceTokenException{Message: "m", ExpectedSequenceToken: new("t")})
	if !ok || e.Code != "InvalidSequenceTokenException" || e.HTTPStatus() != 400 || e.Members["expectedSequenceToken"] != "t" {
		t.Errorf("got %+v", e)
	}
	if e, _ := shape.AsError(&apprunner.InternalServiceErrorException{}); e.HTTPStatus() != 500 {
		t.Errorf("got %+v", e)
	}
}
