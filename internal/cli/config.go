package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ServerConfig is everything that funade server can be told. Flag, FUNADE_ variable and key of the configuration
// file have the same name; the first of these that is given wins, then the default.
type ServerConfig struct {
	Data   string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
	API    string `name:"api" help:"Address of the AWS API and the registry." default:"127.0.0.1:4566" env:"FUNADE_API" placeholder:"ADDR"`
	HTTP   string `name:"http" help:"Front door, plain HTTP: answers 301 to HTTPS." default:"127.0.0.1:80" env:"FUNADE_HTTP" placeholder:"ADDR"`
	HTTPS  string `name:"https" help:"Front door, HTTPS." default:"127.0.0.1:443" env:"FUNADE_HTTPS" placeholder:"ADDR"`
	Domain string `help:"Parent of all services' names." default:"apps.localhost" env:"FUNADE_DOMAIN"`

	Account string `help:"AWS account number of this install, 12 digits." default:"000000000000" env:"FUNADE_ACCOUNT"`
	Region  string `help:"AWS region of this install." default:"us-east-1" env:"FUNADE_REGION"`

	PublicAPI string `name:"public-api" help:"URL by which clients reach the API; default: made from --api." env:"FUNADE_PUBLIC_API" placeholder:"URL"`

	DNS                []string       `name:"dns" help:"Name servers for instances; default: the host's." env:"FUNADE_DNS" placeholder:"ADDR"`
	DefaultEgressAllow []netip.Prefix `help:"Private ranges that instances may reach; this machine's own addresses stay closed." env:"FUNADE_DEFAULT_EGRESS_ALLOW" placeholder:"CIDR"`
	RevokedFlows       string         `help:"Connections inside VPCs that rules no longer allow: after-grace cuts them 5 s after the change, now at once, keep never." enum:"after-grace,now,keep" default:"after-grace" env:"FUNADE_REVOKED_FLOWS" placeholder:"WHEN"`
	AllowDial          []netip.Prefix `help:"Private ranges that the server itself may dial for a caller, such as a registry's." env:"FUNADE_ALLOW_DIAL" placeholder:"CIDR"`

	Runtime      string   `help:"OCI runtime to use instead of the built-in runc." env:"FUNADE_RUNTIME" placeholder:"PATH"`
	LogsMaxBytes ByteSize `help:"Limit of all log groups together; default: 10% of the file system." env:"FUNADE_LOGS_MAX_BYTES" placeholder:"SIZE"`

	UploadSessions   int      `help:"Registry uploads that may be in progress at the same time." default:"64" env:"FUNADE_UPLOAD_SESSIONS" placeholder:"N"`
	UploadMaxBytes   ByteSize `help:"Limit of one blob pushed to the registry." default:"10GiB" env:"FUNADE_UPLOAD_MAX_BYTES" placeholder:"SIZE"`
	UploadTotalBytes ByteSize `help:"Limit of all registry uploads in progress together." default:"64GiB" env:"FUNADE_UPLOAD_TOTAL_BYTES" placeholder:"SIZE"`

	MaxServices int `help:"Services that one account may have in one region." default:"30" env:"FUNADE_MAX_SERVICES" placeholder:"N"`
}

type serverCmd struct {
	ServerConfig
	Config string `help:"YAML file with the same names as these flags." env:"FUNADE_CONFIG" type:"path" placeholder:"FILE"`
}

// Run checks the configuration and serves until the session's context ends.
func (c *serverCmd) Run(s *session) error {
	if err := c.ServerConfig.Validate(); err != nil {
		return err
	}
	return s.Hooks.Serve(s.ctx, c.ServerConfig)
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	labelPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Validate reports every bad value at once, each with field, value and remedy.
func (c *ServerConfig) Validate() error {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, usagef("--%s %v: %s", field, value, remedy))
	}
	if !filepath.IsAbs(c.Data) {
		bad("data", c.Data, "give an absolute path")
	}
	for _, a := range []struct{ field, value string }{{"api", c.API}, {"http", c.HTTP}, {"https", c.HTTPS}} {
		if err := checkListen(a.value); err != nil {
			bad(a.field, a.value, err.Error())
		}
	}
	if !validDomain(c.Domain) {
		bad("domain", c.Domain, "give a DNS name in lower case, at most 200 characters, such as apps.example.com")
	}
	if !accountPattern.MatchString(c.Account) {
		bad("account", c.Account, "give 12 digits")
	}
	if !regionPattern.MatchString(c.Region) {
		bad("region", c.Region, "give a region in AWS' form, such as eu-central-1")
	}
	if err := checkURL(c.PublicAPI); c.PublicAPI != "" && err != nil {
		bad("public-api", c.PublicAPI, err.Error())
	}
	for _, d := range c.DNS {
		if !validResolver(d) {
			bad("dns", d, "give an IP address, with :PORT if it is not 53")
		}
	}
	if c.Runtime != "" && !filepath.IsAbs(c.Runtime) {
		bad("runtime", c.Runtime, "give an absolute path")
	}
	c.validateLimits(bad)
	return errors.Join(errs...)
}

func (c *ServerConfig) validateLimits(bad func(field string, value any, remedy string)) {
	if c.LogsMaxBytes != 0 && c.LogsMaxBytes < 16<<20 {
		bad("logs-max-bytes", c.LogsMaxBytes, "give at least 16MiB")
	}
	if c.UploadSessions < 1 || c.UploadSessions > 10000 {
		bad("upload-sessions", c.UploadSessions, "give a number from 1 to 10000")
	}
	if c.UploadMaxBytes < 1<<20 {
		bad("upload-max-bytes", c.UploadMaxBytes, "give at least 1MiB")
	}
	if c.UploadTotalBytes < c.UploadMaxBytes {
		bad("upload-total-bytes", c.UploadTotalBytes, "give at least --upload-max-bytes")
	}
	if c.MaxServices < 1 || c.MaxServices > 100_000 {
		bad("max-services", c.MaxServices, "give a number from 1 to 100000")
	}
}

func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("give HOST:PORT, such as 127.0.0.1:4566")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("give a port from 0 to 65535; 0 picks a free one")
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return errors.New("give an IP address or localhost before the port")
	}
	return nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return errors.New("give a URL such as https://funade.example.com:4566, without a path")
	}
	return nil
}

func validDomain(domain string) bool {
	if len(domain) == 0 || len(domain) > 200 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !labelPattern.MatchString(label) {
			return false
		}
	}
	return true
}

func validResolver(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// ByteSize is a number of bytes; as text it may end in KiB, MiB, GiB, TiB or kB, MB, GB, TB.
type ByteSize int64

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor {
			break
		}
		*b = ByteSize(n * u.factor)
		return nil
	}
	return fmt.Errorf("cannot read size %q: give a whole number with a unit, such as 512MiB", s)
}

// String gives the size in the largest binary unit that divides it.
func (b ByteSize) String() string {
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && int64(b)%u.factor == 0 {
			return strconv.FormatInt(int64(b)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
