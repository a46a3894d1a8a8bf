package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// ownRegistry is the install's registry as a client sees it.
type ownRegistry struct {
	host     string // host:port of the API
	insecure bool
	options  []remote.Option
}

// openRegistry logs in.
func (c *clients) openRegistry(ctx context.Context) (*ownRegistry, error) {
	u, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, fmt.Errorf("cannot read endpoint: %w", err)
	}
	out, err := c.ecr.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, err
	}
	if len(out.AuthorizationData) == 0 {
		return nil, errors.New("cannot log in to the registry: the server gave no token")
	}
	token, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	if err != nil {
		return nil, fmt.Errorf("cannot log in to the registry: %w", err)
	}
	username, password, _ := strings.Cut(string(token), ":")
	return &ownRegistry{host: u.Host, insecure: u.Scheme == "http", options: []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(c.http.Transport),
		remote.WithAuth(&authn.Basic{Username: username, Password: password}),
	}}, nil
}

func (r *ownRegistry) reference(repository string) (name.Reference, error) {
	var opts []name.Option
	if r.insecure {
		opts = append(opts, name.Insecure)
	}
	return name.ParseReference(r.host+"/"+repository, opts...)
}

var notRepository = regexp.MustCompile(`[^a-z0-9]+`)

// repositoryName makes a repository's name of a service's.
func repositoryName(service string) string {
	return strings.Trim(notRepository.ReplaceAllString(strings.ToLower(service), "-"), "-")
}

// push brings a local image into the install's registry and returns its ImageIdentifier. The tag names the content,
// so the same image has the same identifier and a changed one never moves a tag.
func (c *clients) push(ctx context.Context, local *localImage, service string, progress io.Writer) (string, error) {
	digest, err := local.digest()
	if err != nil {
		return "", fmt.Errorf("cannot read image: %w", err)
	}
	uri, err := c.ensureRepository(ctx, repositoryName(service))
	if err != nil {
		return "", err
	}
	tag := "up-" + digest.Hex[:16]
	reg, err := c.openRegistry(ctx)
	if err != nil {
		return "", err
	}
	ref, err := reg.reference(repositoryName(service) + ":" + tag)
	if err != nil {
		return "", fmt.Errorf("cannot push image: %w", err)
	}
	identifier := uri + ":" + tag
	if d, err := remote.Head(ref, reg.options...); err == nil && d.Digest == digest {
		fmt.Fprintf(progress, "Image %s is in the registry already\n", digest)
		return identifier, nil
	}
	fmt.Fprintf(progress, "Pushing %s\n", identifier)
	if err := reg.write(ref, local, progress); err != nil {
		return "", fmt.Errorf("cannot push image: %w", err)
	}
	return identifier, nil
}

func (r *ownRegistry) write(ref name.Reference, local *localImage, progress io.Writer) error {
	updates := make(chan v1.Update, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var step int64 = 1
		for u := range updates {
			if u.Total > 0 && u.Error == nil && u.Complete*4/u.Total >= step {
				fmt.Fprintf(progress, "  %d of %d MiB\n", u.Complete>>20, u.Total>>20)
				step = u.Complete*4/u.Total + 1
			}
		}
	}()
	opts := append([]remote.Option{remote.WithProgress(updates)}, r.options...)
	var err error
	if local.index != nil {
		err = remote.WriteIndex(ref, local.index, opts...)
	} else {
		err = remote.Write(ref, local.image, opts...)
	}
	<-done // remote closes updates
	return err
}

// ensureRepository returns the repository's URI.
func (c *clients) ensureRepository(ctx context.Context, repository string) (string, error) {
	created, err := c.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repository})
	if err == nil {
		return aws.ToString(created.Repository.RepositoryUri), nil
	}
	if !isCode(err, "RepositoryAlreadyExistsException") {
		return "", err
	}
	out, err := c.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{repository}})
	if err != nil {
		return "", err
	}
	if len(out.Repositories) != 1 {
		return "", fmt.Errorf("cannot find repository %s: the server lists %d", repository, len(out.Repositories))
	}
	return aws.ToString(out.Repositories[0].RepositoryUri), nil
}

// currentDigests are the digests that a reference stands for now: its manifest's and, of an index, each image's.
func (c *clients) currentDigests(ctx context.Context, ref imageReference) (map[string]bool, error) {
	var r name.Reference
	var err error
	options := []remote.Option{remote.WithContext(ctx)}
	if ref.own {
		reg, rerr := c.openRegistry(ctx)
		if rerr != nil {
			return nil, rerr
		}
		r, err = reg.reference(ref.path)
		options = reg.options
	} else {
		r, err = name.ParseReference(ref.identifier)
	}
	if err != nil {
		return nil, err
	}
	got, err := remote.Get(r, options...)
	if err != nil {
		return nil, err
	}
	digests := map[string]bool{got.Digest.String(): true}
	if got.MediaType.IsIndex() {
		index, err := got.ImageIndex()
		if err != nil {
			return nil, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, err
		}
		for _, m := range manifest.Manifests {
			digests[m.Digest.String()] = true
		}
	}
	return digests, nil
}

// imageReference is an image that lies in a registry already.
type imageReference struct {
	identifier string // ImageIdentifier for the API
	own        bool   // it lies in the install's own registry
	path       string // repository and tag in that registry
}

var ownHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com$`)

// parseReference tells references to the install's own registry, in either of its forms, from others.
func (c *clients) parseReference(arg, registryHost string) (imageReference, error) {
	if _, err := name.ParseReference(arg); err != nil {
		return imageReference{}, usagef("%s is neither a file on this machine nor an image reference: %v", arg, err)
	}
	host, rest, _ := strings.Cut(arg, "/")
	u, err := url.Parse(c.endpoint)
	if err != nil {
		return imageReference{}, fmt.Errorf("cannot read endpoint: %w", err)
	}
	local := host == u.Host || host == "localhost:"+u.Port()
	if first, after, ok := strings.Cut(rest, "/"); local && ok && ownHost.MatchString(first) {
		host, rest = first, after
	} else if local {
		host = registryHost
	}
	if ownHost.MatchString(host) {
		return imageReference{identifier: host + "/" + rest, own: true, path: rest}, nil
	}
	return imageReference{identifier: arg}, nil
}
