package resolver

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

const maxKept = 300 // seconds that an upstream's answer is kept at most

// cache keeps upstreams' answers for as long as they allow. A nil cache keeps nothing.
type cache struct {
	size int
	now  func() time.Time

	mu   sync.Mutex
	kept map[cacheKey]kept
}

type cacheKey struct {
	name                   string
	kind                   uint16
	dnssec, unchecked, opt bool
}

type kept struct {
	m     *dns.Msg
	since time.Time
	until time.Time
}

func newCache(size int, now func() time.Time) *cache {
	if size <= 0 {
		return nil
	}
	return &cache{size: size, now: now, kept: map[cacheKey]kept{}}
}

func keyOf(q *dns.Msg) cacheKey {
	k := cacheKey{name: dns.CanonicalName(q.Question[0].Name), kind: q.Question[0].Qtype, unchecked: q.CheckingDisabled}
	if opt := q.IsEdns0(); opt != nil {
		k.opt, k.dnssec = true, opt.Do()
	}
	return k
}

// get returns a copy whose records live as long as is left of them, or nil.
func (c *cache) get(q *dns.Msg) *dns.Msg {
	if c == nil {
		return nil
	}
	key, now := keyOf(q), c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	if !ok {
		return nil
	}
	if !now.Before(k.until) {
		delete(c.kept, key)
		return nil
	}
	m := k.m.Copy()
	age := uint32(now.Sub(k.since) / time.Second)
	for _, rr := range records(m) {
		rr.Header().Ttl -= min(age, rr.Header().Ttl)
	}
	return m
}

// put keeps an answer: a name that does not exist as long as its zone says, others as long as their shortest record.
func (c *cache) put(q, m *dns.Msg) {
	if c == nil || m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return
	}
	seconds := lifetime(m)
	if seconds == 0 {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= c.size {
		c.makeRoom(now)
	}
	c.kept[keyOf(q)] = kept{m.Copy(), now, now.Add(time.Duration(seconds) * time.Second)}
}

// makeRoom drops what is over, or else any one.
func (c *cache) makeRoom(now time.Time) {
	var any cacheKey
	for key, k := range c.kept {
		if any = key; !now.Before(k.until) {
			delete(c.kept, key)
		}
	}
	if len(c.kept) >= c.size {
		delete(c.kept, any)
	}
}

// lifetime is the seconds that an answer may be kept; 0 = not at all.
func lifetime(m *dns.Msg) uint32 {
	least := uint32(maxKept)
	if len(m.Answer) == 0 {
		negative := uint32(0)
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				negative = min(soa.Minttl, soa.Hdr.Ttl)
			}
		}
		return min(least, negative)
	}
	for _, rr := range records(m) {
		least = min(least, rr.Header().Ttl)
	}
	return least
}

// records are all records with a time to live.
func records(m *dns.Msg) []dns.RR {
	var out []dns.RR
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				out = append(out, rr)
			}
		}
	}
	return out
}
