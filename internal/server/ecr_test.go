package server_test

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/control"
)

var controlIDs id.Source

const someDigest = app.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

// manifests is a registry by hand over control's catalogue.
type manifests struct {
	*control.Catalog
	bodies map[app.Digest][]byte
}

func newManifests(c *control.Control) *manifests {
	return &manifests{c.Catalog(), map[app.Digest][]byte{}}
}

func (m *manifests) ReadManifest(ctx context.Context, key app.RepositoryKey, reference string) (app.Manifest, []byte, error) {
	row, err := m.Manifest(ctx, key, reference)
	return row, m.bodies[row.Digest], err
}

func (m *manifests) PutManifest(ctx context.Context, key app.RepositoryKey, mediaType string, body []byte, tag string) (app.Manifest, error) {
	row := app.Manifest{Repository: key, Digest: app.SHA256(body), MediaType: mediaType, Size: int64(len(body)), ImageSize: 1000}
	if tag != "" {
		row.Tags = []string{tag}
	}
	m.bodies[row.Digest] = body
	return row, m.Catalog.PutManifest(ctx, row)
}

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

func TestECRTokens(t *testing.T) {
	a := newAPI(t)
	c := sdk.NewFromConfig(a.config)
	out, err := c.GetAuthorizationToken(t.Context(), &sdk.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	d := out.AuthorizationData[0]
	token, err := base64.StdEncoding.DecodeString(*d.AuthorizationToken)
	if err != nil || string(token) != "AWS:password-us-east-1-AKIAROOT" || *d.ProxyEndpoint != "https://localhost:4566" || d.ExpiresAt.Before(time.Now()) {
		t.Errorf("got %q, %+v, %v", token, d, err)
	}
	_, err = c.DescribeRepositories(t.Context(), &sdk.DescribeRepositoriesInput{RegistryId: aws.String("111111111111")})
	wantError(t, err, "InvalidParameterException", "another account")
	registry, err := c.DescribeRegistry(t.Context(), &sdk.DescribeRegistryInput{})
	if err != nil || *registry.RegistryId != account {
		t.Errorf("got %+v, %v", registry, err)
	}
}

func TestECRRepositories(t *testing.T) {
	a := newAPI(t)
	c, ctx := sdk.NewFromConfig(a.config), t.Context()
	name := aws.String("team/app")
	made, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
	if err != nil {
		t.Fatal(err)
	}
	r := made.Repository
	if *r.RepositoryUri != account+".dkr.ecr.us-east-1.amazonaws.com/team/app" || r.ImageTagMutability != types.ImageTagMutabilityMutable || r.ImageScanningConfiguration.ScanOnPush || r.EncryptionConfiguration.EncryptionType != types.EncryptionTypeAes256 {
		t.Errorf("got %+v", r)
	}
	_, err = c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name})
	wantError(t, err, "RepositoryAlreadyExistsException", "team/app")
	_, err = c.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})
	wantError(t, err, "RepositoryNotFoundException", "none")
	_, err = c.GetLifecyclePolicy(ctx, &sdk.GetLifecyclePolicyInput{RepositoryName: name})
	wantError(t, err, "LifecyclePolicyNotFoundException", "")
	_, err = c.GetRepositoryPolicy(ctx, &sdk.GetRepositoryPolicyInput{RepositoryName: name})
	wantError(t, err, "RepositoryPolicyNotFoundException", "")
	_, err = c.PutLifecyclePolicy(ctx, &sdk.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: aws.String("{}")})
	wantError(t, err, "InvalidParameterException", "")
	policy := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`
	put, err := c.PutLifecyclePolicy(ctx, &sdk.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: &policy})
	if err != nil || *put.LifecyclePolicyText != policy {
		t.Errorf("got %+v, %v", put, err)
	}
	mutability, err := c.PutImageTagMutability(ctx, &sdk.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutable})
	if err != nil || mutability.ImageTagMutability != types.ImageTagMutabilityImmutable {
		t.Errorf("got %+v, %v", mutability, err)
	}
	scan, err := c.PutImageScanningConfiguration(ctx, &sdk.PutImageScanningConfigurationInput{RepositoryName: name, ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: true}})
	if err != nil || !scan.ImageScanningConfiguration.ScanOnPush {
		t.Errorf("got %+v, %v", scan, err)
	}
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "1" {
		t.Errorf("got %+v, %v", tags, err)
	}
}

func TestECRImages(t *testing.T) {
	a := newAPI(t)
	c, ctx := sdk.NewFromConfig(a.config), t.Context()
	name := aws.String("hello")
	put := func(body, tag string) (*sdk.PutImageOutput, error) {
		in := &sdk.PutImageInput{RepositoryName: name, ImageManifest: &body, ImageManifestMediaType: aws.String(dockerManifest)}
		if tag != "" {
			in.ImageTag = &tag
		}
		return c.PutImage(ctx, in)
	}
	_, err := put("one", "v1")
	wantError(t, err, "RepositoryNotFoundException", "hello")
	if _, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name}); err != nil {
		t.Fatal(err)
	}
	made, err := put("one", "v1")
	digest := string(app.SHA256([]byte("one")))
	if err != nil || *made.Image.ImageId.ImageDigest != digest || *made.Image.ImageId.ImageTag != "v1" || *made.Image.ImageManifest != "one" {
		t.Fatalf("got %+v, %v", made, err)
	}
	_, err = put("one", "v1")
	wantError(t, err, "ImageAlreadyExistsException", digest)
	if _, err = put("one", "v2"); err != nil {
		t.Error(err)
	}
	_, err = c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: name, ImageManifest: aws.String("two"), ImageDigest: &digest})
	wantError(t, err, "ImageDigestDoesNotMatchException", digest)
	got, err := c.BatchGetImage(ctx, &sdk.BatchGetImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{
		{ImageTag: aws.String("v2")}, {ImageDigest: &digest}, {ImageTag: aws.String("none")}, {},
	}})
	if err != nil || len(got.Images) != 2 || *got.Images[0].ImageManifest != "one" || *got.Images[0].ImageId.ImageTag != "v2" || got.Images[1].ImageId.ImageTag != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if err == nil && (len(got.Failures) != 2 || got.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound || got.Failures[1].FailureCode != types.ImageFailureCodeMissingDigestAndTag) {
		t.Errorf("the failures are %+v", got.Failures)
	}
	described, err := c.DescribeImages(ctx, &sdk.DescribeImagesInput{RepositoryName: name})
	if err != nil || len(described.ImageDetails) != 1 || len(described.ImageDetails[0].ImageTags) != 2 || *described.ImageDetails[0].ImageSizeInBytes != 1000 {
		t.Errorf("got %+v, %v", described, err)
	}
	_, err = c.DescribeImages(ctx, &sdk.DescribeImagesInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("none")}}})
	wantError(t, err, "ImageNotFoundException", "none")
	listed, err := c.ListImages(ctx, &sdk.ListImagesInput{RepositoryName: name, MaxResults: aws.Int32(1)})
	if err != nil || len(listed.ImageIds) != 1 || listed.NextToken == nil {
		t.Errorf("got %+v, %v", listed, err)
	}
	_, err = c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name})
	wantError(t, err, "RepositoryNotEmptyException", "hello")
	deleted, err := c.BatchDeleteImage(ctx, &sdk.BatchDeleteImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}})
	if err != nil || len(deleted.ImageIds) != 2 || len(deleted.Failures) != 0 {
		t.Errorf("got %+v, %v", deleted, err)
	}
	if _, err = c.DeleteRepository(ctx, &sdk.DeleteRepositoryInput{RepositoryName: name}); err != nil {
		t.Error(err)
	}
}

func TestECRImmutableTags(t *testing.T) {
	a := newAPI(t)
	c, ctx := sdk.NewFromConfig(a.config), t.Context()
	name := aws.String("fixed")
	if _, err := c.CreateRepository(ctx, &sdk.CreateRepositoryInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	for n, body := range []string{"one", "two"} {
		_, err := c.PutImage(ctx, &sdk.PutImageInput{RepositoryName: name, ImageManifest: &body, ImageTag: aws.String("v1"), ImageManifestMediaType: aws.String(dockerManifest)})
		if n == 0 && err != nil {
			t.Fatal(err)
		} else if n == 1 {
			wantError(t, err, "ImageTagAlreadyExistsException", "v1")
		}
	}
}
