package cli

import "fmt"

type caCmd struct {
	Data string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
}

// Run prints the certificate in PEM.
func (c *caCmd) Run(s *session) error {
	cert, err := s.Hooks.RootCertificate(c.Data)
	if err != nil {
		return err
	}
	_, err = s.Stdout.Write(cert)
	return err
}

type trustCmd struct {
	Data   string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
	Remove bool   `help:"Stop trusting it."`
}

// Run installs the certificate into the system's store, or removes it.
func (c *trustCmd) Run(s *session) error {
	if err := s.Hooks.Trust(s.ctx, c.Data, !c.Remove); err != nil {
		return err
	}
	verb := "trusts"
	if c.Remove {
		verb = "no longer trusts"
	}
	_, err := fmt.Fprintf(s.Stdout, "This machine %s the certificate authority in %s. Programs with a store of their own, such as Firefox, need the output of funade ca.\n", verb, c.Data)
	return err
}
