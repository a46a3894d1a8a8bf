package script

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/test/harness"
)

// cmdOutside puts a network beside the server's: a link of the server's with an address, and behind it testapp, which
// serves on port 8080 of all its addresses and takes the server for its router.
func cmdOutside(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		usage(ts, "outside LINK ADDRESS/BITS HOST/BITS…")
	}
	app, err := harness.TestApp()
	ts.Check(err)
	cmd := exec.Command(app)
	cmd.Env = []string{"MESSAGE=outside by " + args[0]}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	log, err := os.Create(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	})
	ts.Check(connect(cmd.Process.Pid, args[0], args[1], args[2:]))
}

// connect makes a link here and its other end in the namespace of a process.
func connect(pid int, name, here string, there []string) error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("cannot make link %s: %w", name, err)
	}
	own, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer own.Close()
	if err := address(own, name, []string{here}); err != nil {
		return err
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("cannot open the namespace behind %s: %w", name, err)
	}
	defer ns.Close()
	far, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("cannot enter the namespace behind %s: %w", name, err)
	}
	defer far.Close()
	if err := address(far, "eth0", there); err != nil {
		return err
	}
	router, _, _ := strings.Cut(here, "/")
	if err := far.RouteAdd(&netlink.Route{Gw: net.ParseIP(router)}); err != nil {
		return fmt.Errorf("cannot route what is behind %s: %w", name, err)
	}
	return nil
}

func address(h *netlink.Handle, name string, addresses []string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("cannot find link %s: %w", name, err)
	}
	for _, a := range addresses {
		if _, err := netip.ParsePrefix(a); err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(link, parsed); err != nil {
			return fmt.Errorf("cannot give %s to link %s: %w", a, name, err)
		}
	}
	return h.LinkSetUp(link)
}
