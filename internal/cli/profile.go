package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/funade/funade/internal/base/atomicfile"
)

var profilePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// setting is one line of an AWS settings file.
type setting struct{ key, value string }

// writeProfile puts the install into the AWS settings of whoever runs the program; under sudo, of the user behind it.
func writeProfile(s *session, name string, a *access) error {
	if !profilePattern.MatchString(name) {
		return usagef("--profile %q: give a name of letters, digits, dots, dashes and underscores", name)
	}
	return asInvokingUser(func(home string) error {
		section := "profile " + name
		if name == "default" {
			section = name
		}
		configFile := pathFromEnv("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config"))
		err := editINI(configFile, section, []setting{{"region", a.Region}, {"endpoint_url", a.API}, {"ca_bundle", a.bundle}})
		if err != nil {
			return err
		}
		credentialsFile := pathFromEnv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
		err = editINI(credentialsFile, name, []setting{{"aws_access_key_id", a.AccessKeyID}, {"aws_secret_access_key", a.SecretAccessKey}})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Stdout, "Wrote profile %s to %s and %s. Use it with AWS_PROFILE=%s or aws --profile %s (aws 2.13 or 1.29 and newer).\n",
			name, configFile, credentialsFile, name, name)
		return err
	})
}

func pathFromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// editINI sets keys of one section and leaves every other line as it is; an empty value removes the key. The file
// is replaced at once, mode 0600, and only when something changes.
func editINI(path, section string, settings []setting) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot edit %s: %w", path, err)
	}
	text := setINI(string(old), section, settings)
	if text == string(old) && err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot edit %s: %w", path, err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil { // keep a link that points elsewhere
		path = real
	}
	return atomicfile.Write(path, []byte(text), 0o600)
}

// setINI is editINI on text.
func setINI(text, section string, settings []setting) string {
	var lines []string
	if text != "" {
		lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	start, end := findSection(lines, section)
	if start < 0 {
		if len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) != "" {
			lines = append(lines, "")
		}
		lines = append(lines, "["+section+"]")
		start, end = len(lines)-1, len(lines)
	}
	body := append([]string(nil), lines[start+1:end]...)
	for _, s := range settings {
		body = setLine(body, s)
	}
	out := append([]string(nil), lines[:start+1]...)
	out = append(append(out, body...), lines[end:]...)
	return strings.Join(out, "\n") + "\n"
}

// findSection returns the line of the section's head and the line after its last; -1 when it is missing.
func findSection(lines []string, section string) (start, end int) {
	start = -1
	for i, l := range lines {
		name, ok := sectionName(l)
		if !ok {
			continue
		}
		if start >= 0 {
			return start, i
		}
		if name == section {
			start = i
		}
	}
	return start, len(lines)
}

func sectionName(line string) (string, bool) {
	l := strings.TrimSpace(line)
	if !strings.HasPrefix(l, "[") {
		return "", false
	}
	name, _, ok := strings.Cut(l[1:], "]")
	return strings.Join(strings.Fields(name), " "), ok
}

// setLine changes the key's line, or adds it before the blank lines at the end of the section.
func setLine(body []string, s setting) []string {
	for i, l := range body {
		key, _, ok := strings.Cut(l, "=")
		if !ok || strings.TrimSpace(key) != s.key || strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t") {
			continue
		}
		if s.value == "" {
			return append(body[:i], body[i+1:]...)
		}
		body[i] = s.key + " = " + s.value
		return body
	}
	if s.value == "" {
		return body
	}
	at := len(body)
	for at > 0 && strings.TrimSpace(body[at-1]) == "" {
		at--
	}
	return append(body[:at], append([]string{s.key + " = " + s.value}, body[at:]...)...)
}

// asInvokingUser calls f with the home directory of the user behind sudo and with that user's rights, so that
// files get the right owner and a link in that home cannot lead root astray. Without sudo it just calls f.
func asInvokingUser(f func(home string) error) error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil || uid == 0 || os.Geteuid() != 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("cannot find the home directory: %w", err)
		}
		return f(home)
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return fmt.Errorf("cannot find the user behind sudo: %w", err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return fmt.Errorf("cannot find the group of the user behind sudo: %w", err)
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return fmt.Errorf("cannot read the groups of this process: %w", err)
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setegid(gid), syscall.Seteuid(uid)); err != nil {
		return fmt.Errorf("cannot act as %s: %w", u.Username, err)
	}
	err = f(u.HomeDir)
	return errors.Join(err, syscall.Seteuid(0), syscall.Setegid(0), syscall.Setgroups(groups))
}
