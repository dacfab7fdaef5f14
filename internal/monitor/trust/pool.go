package trust

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Prior is where a new agent starts, by class: what its purpose's other agents have earned.
type Prior [conduct.Classes]struct{ Good, Bad float64 }

// cap scales evidence down to so much in each class.
func (p *Prior) cap(most float64) {
	for c := range p {
		k := &p[c]
		if n := k.Good + k.Bad; n > most {
			k.Good, k.Bad = float64(k.Good/n)*most, float64(k.Bad/n)*most
		}
	}
}

// owners is how many owners of a purpose are told apart; those of one hash share.
const owners = 16

// A Pool adds up what the agents of one purpose have earned, for the Prior of new ones. It takes 1 KB. One
// owner's agents, however many, count for half of what a Prior can hold at most, for and against: nobody's many
// agents lift or sink all others.
type Pool struct {
	share [owners][conduct.Classes]share
}

type share struct {
	good, bad float32
	at        uint32 // minute
}

// add adds evidence of an agent of an owner.
func (p *Pool) add(r *catalog.TrustRules, owner uint16, c conduct.Class, good, bad float64, m uint32) {
	if p == nil {
		return
	}
	h := &p.share[owner%owners][c]
	g := float64(float64(h.good)*fade(h.at, m, r.GoodHalfLife)) + good
	b := float64(float64(h.bad)*fade(h.at, m, r.BadHalfLife)) + bad
	h.good, h.bad, h.at = down(g), up(b), max(h.at, m)
}

// Prior returns where a new agent of the purpose starts, before the cap of r.PriorMost and of level medium.
func (p *Pool) Prior(r *catalog.TrustRules, at time.Time) (all Prior) {
	if p == nil {
		return all
	}
	m := minute(at)
	for i := range p.share {
		var one Prior
		for c := range one {
			h := &p.share[i][c]
			one[c].Good = float64(float64(h.good) * fade(h.at, m, r.GoodHalfLife))
			one[c].Bad = float64(float64(h.bad) * fade(h.at, m, r.BadHalfLife))
		}
		one.cap(r.PriorMost / 2)
		for c := range all {
			all[c].Good += one[c].Good
			all[c].Bad += one[c].Bad
		}
	}
	return all
}

// Append and Read keep the pool.
func (p *Pool) Append(b []byte) []byte {
	n := 0
	for i := range p.share {
		for c := range p.share[i] {
			if p.share[i][c] != (share{}) {
				n++
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	for i := range p.share {
		for c := range p.share[i] {
			if h := p.share[i][c]; h != (share{}) {
				b = append(b, byte(i*conduct.Classes+c))
				b = appendFloat32(b, h.good)
				b = appendFloat32(b, h.bad)
				b = binary.AppendUvarint(b, uint64(h.at))
			}
		}
	}
	return b
}

func (p *Pool) Read(r *conduct.Reader) error {
	*p = Pool{}
	for range r.Count(owners * conduct.Classes) {
		i := int(r.Byte())
		h := share{good: readFloat32(r), bad: readFloat32(r), at: readUint32(r)}
		if i < owners*conduct.Classes {
			p.share[i/conduct.Classes][i%conduct.Classes] = h
		}
	}
	return r.Err()
}

func appendFloat32(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// readFloat32 reads evidence, which is not negative and bounded.
func readFloat32(r *conduct.Reader) float32 {
	x := math.Float32frombits(r.Uint32())
	if !(x >= 0) { // also what is not a number
		return 0
	}
	return min(x, enough)
}

func readUint32(r *conduct.Reader) uint32 { return uint32(min(r.Uvarint(), math.MaxUint32)) }
func readUint16(r *conduct.Reader) uint16 { return uint16(min(r.Uvarint(), math.MaxUint16)) }
