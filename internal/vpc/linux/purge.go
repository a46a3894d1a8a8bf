package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Purge removes everything that the install put into the kernel: namespaces, links, its host table and its rules in the
// tables of others. No process of the install may run. Folders stay: removing one that somebody mounted over would
// unmount it elsewhere. net.ipv4.ip_forward stays as it is, as others may rely on it by now.
func Purge(ctx context.Context, c Config) error {
	n, err := c.names()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(n.purgeHost(), n.purgePins())
}

func (n names) purgeHost() error {
	h, err := newHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	c, err := newConn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	return errors.Join(n.purgeLANs(h), deleteLink(h, n.hostLink()), n.purgeForeign(c), deleteTable(c, n.hostTable()))
}

func (n names) purgePins() error {
	ids, err := n.pins()
	if err != nil {
		return err
	}
	var failed error
	routers, err := n.routerPins()
	if err != nil {
		return err
	}
	for _, id := range routers {
		if pinned(n.routerPin(id)) {
			failed = errors.Join(failed, purgeLinks(n.routerPin(id)))
		}
		failed = errors.Join(failed, unpin(n.routerPin(id)))
	}
	if pinned(n.mgmtPin()) {
		failed = errors.Join(failed, purgeLinks(n.mgmtPin()))
	}
	for _, id := range ids {
		failed = errors.Join(failed, unpin(n.netnsPin(id)), unpin(n.usernsPin(id)))
	}
	failed = errors.Join(failed, unpin(n.mgmtPin()))
	mark := n.forwardingMark()
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		failed = errors.Join(failed, fmt.Errorf("cannot remove %s: %w", mark, err))
	}
	return failed
}

// purgeLinks deletes the links of a namespace, so that no instance that somebody keeps alive stays connected.
func purgeLinks(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot open namespace: %w", err)
	}
	defer ns.Close()
	return inNamespace(ns, func() error {
		h, err := newHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		links, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("cannot list links: %w", err)
		}
		var failed error
		for _, l := range links {
			if name := l.Attrs().Name; strings.HasPrefix(name, linkPrefix) || strings.HasPrefix(name, uplinkPrefix) {
				failed = errors.Join(failed, deleteLink(h, l.Attrs().Name))
			}
		}
		return failed
	})
}
