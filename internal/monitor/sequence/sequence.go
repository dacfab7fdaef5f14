// Package sequence says how usual it is that one act follows another. It counts acts and pairs of acts
// in tables of bounded size, for one agent, for the agents of one purpose and for all, and interpolates
// between them (Model). Beside that it remembers what was seen at all, and on which day (Seen).
//
// It holds, whatever is fed in: the probabilities of all acts that can come next add up to no more than
// 1, but for acts that share a hash; and no eviction makes an act more probable than it was. A table that is full forgets
// what followed what and what came at all in a session, which then looks unusual, but not how often something came, for then what never
// followed it would look less unusual.
//
// Names are known by hashes of 19 to 32 bits that have no secret. Whoever can choose names freely can
// find one that shares its hash with a name that is usual; the tables are for names that somebody
// else gives, such as those of tools.
package sequence

// A Symbol stands for an act.
type Symbol uint32

// Start stands before the first act of every session.
const Start Symbol = 0

// Of returns the symbol of an action, given its conduct.Hash. Again tells the first time in a session from the later ones.
func Of(name uint64, again bool) Symbol {
	h := uint32(mix(name) >> 32)
	if again {
		h ^= 0x9e3779b9
	}
	return Symbol(max(h, 1))
}

// mix spreads all bits of x over all bits of the result: the finalizer of SplitMix64 (Steele, Lea and
// Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
