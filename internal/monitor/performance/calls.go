package performance

import (
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// within is among how many of an agent's newest calls repetitions are sought.
const within = 12

// calls remembers an agent's newest calls, by hashes of session, action, resource and arguments.
type calls struct {
	ring [within]uint32 // 0 where there is none
	next uint8
	run  uint16 // how often the newest was asked in a row
}

// add takes in a call and returns how often it was asked: in a row, or among the newest.
func (c *calls) add(ev *conduct.Event) int {
	h := identity(ev)
	if c.ring[(c.next+within-1)%within] == h {
		c.run = min(c.run, 1<<16-2) + 1
	} else {
		c.run = 1
	}
	c.ring[c.next] = h
	c.next = (c.next + 1) % within
	n := 0
	for _, x := range c.ring {
		if x == h {
			n++
		}
	}
	return max(n, int(c.run))
}

// identity returns the hash of a call, never 0. Of a long name, or long arguments, the beginning, the end
// and the length count.
func identity(ev *conduct.Event) uint32 {
	h := conduct.Hash()
	h = mix(h, ev.Session)
	h = mix(h, ev.Action)
	h = mix(h, ev.Resource.Type)
	h = mix(h, ev.Resource.ID)
	h = mix(h, ev.Args)
	return uint32(h^h>>32) | 1
}

// mix goes on with a hash as conduct.Hash makes it, of texts told apart by their length.
func mix[T string | []byte](h uint64, text T) uint64 {
	const part, prime = 128, 1099511628211
	n := len(text)
	for range 3 { // up to 16 million
		h = (h ^ uint64(n&0xff)) * prime
		n >>= 8
	}
	head, tail := text, text[:0]
	if len(text) > 2*part {
		head, tail = text[:part], text[len(text)-part:]
	}
	for i := range len(head) {
		h = (h ^ uint64(head[i])) * prime
	}
	for i := range len(tail) {
		h = (h ^ uint64(tail[i])) * prime
	}
	return h
}
