package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/aws/aws-sdk-go/aws/awserr" // keeps the module that holds the models in go.mod
)

const modelModule = "github.com/aws/aws-sdk-go"

// apiModel is a service model, as far as the generator reads it.
type apiModel struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		JSONVersion  string `json:"jsonVersion"`
		Protocol     string `json:"protocol"`
		ServiceID    string `json:"serviceId"`
		SigningName  string `json:"signingName"`
		Endpoint     string `json:"endpointPrefix"`
		TargetPrefix string `json:"targetPrefix"`
		XMLNamespace string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*modelOperation `json:"operations"`
	Shapes     map[string]*modelShape     `json:"shapes"`
}

type modelOperation struct {
	Input  *modelRef  `json:"input"`
	Output *modelRef  `json:"output"`
	Errors []modelRef `json:"errors"`
}

type modelRef struct {
	Shape         string `json:"shape"`
	LocationName  string `json:"locationName"`
	QueryName     string `json:"queryName"`
	ResultWrapper string `json:"resultWrapper"`
}

type modelShape struct {
	Type      string     `json:"type"`
	Required  []string   `json:"required"`
	Members   members    `json:"members"`
	Member    *modelRef  `json:"member"`
	Key       *modelRef  `json:"key"`
	Value     *modelRef  `json:"value"`
	Enum      []string   `json:"enum"`
	Min       *float64   `json:"min"`
	Max       *float64   `json:"max"`
	Pattern   string     `json:"pattern"`
	Sensitive bool       `json:"sensitive"`
	Flattened bool       `json:"flattened"`
	Exception bool       `json:"exception"`
	Fault     bool       `json:"fault"`
	Error     modelError `json:"error"`
}

type modelError struct {
	Code   string `json:"code"`
	Status int    `json:"httpStatusCode"`
}

type namedRef struct {
	name string
	modelRef
}

// members keeps the order in which the model lists a structure's members.
type members []namedRef

// UnmarshalJSON reads an object member by member.
func (m *members) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		ref := namedRef{name: fmt.Sprint(key)}
		if err := d.Decode(&ref.modelRef); err != nil {
			return err
		}
		*m = append(*m, ref)
	}
	return nil
}

// modelRoot finds the folder of the pinned module in the module cache, downloading it if need be.
func modelRoot() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", modelModule)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &info); jsonErr != nil {
		return "", fmt.Errorf("cannot locate module %s: %w", modelModule, errors.Join(err, jsonErr))
	}
	if info.Dir == "" {
		return "", fmt.Errorf("cannot locate module %s: %s", modelModule, info.Error)
	}
	return filepath.Join(info.Dir, "models", "apis"), nil
}

// readModel reads the model of a service: a file of ours, or the newest version under root.
func readModel(root, name string) (*apiModel, error) {
	path := name
	if !strings.HasSuffix(name, ".json") {
		found, err := filepath.Glob(filepath.Join(root, name, "*", "api-2.json"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("cannot find the model of %s under %s", name, root)
		}
		path = slices.Max(found)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read model: %w", err)
	}
	m := &apiModel{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("cannot parse model %s: %w", path, err)
	}
	return m, nil
}

// protocol names the model's protocol as package shape does.
func (m *apiModel) protocol() (string, error) {
	switch md := m.Metadata; {
	case md.Protocol == "json" && md.JSONVersion == "1.0":
		return "AWSJSON10", nil
	case md.Protocol == "json" && md.JSONVersion == "1.1":
		return "AWSJSON11", nil
	case md.Protocol == "query":
		return "AWSQuery", nil
	case md.Protocol == "ec2":
		return "EC2Query", nil
	default:
		return "", fmt.Errorf("protocol %q version %q has no codec", md.Protocol, md.JSONVersion)
	}
}

// signingName is the service part of the credential scope.
func (m *apiModel) signingName() string {
	if m.Metadata.SigningName != "" {
		return m.Metadata.SigningName
	}
	return m.Metadata.Endpoint
}
