package asking

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

const (
	judged = 10          // answers by which a share is judged
	told   = 16          // answers that are remembered
	bulk   = time.Minute // within which one answer is for all asks for the same
	grave  = 0.8         // share that is medium, of judged answers
)

// A person is what is remembered of one who answers.
type person struct {
	answers uint8  // that are remembered, at most told
	fast    uint16 // which of them were yes and faster than reading; the newest is the lowest bit
	recent  ring   // numbers of the fast ones
	same    uint64 // the act of the newest answer
	at      int64  // when that was, microseconds since 1970
}

// A ring has the newest numbers of entries, oldest first.
type ring struct {
	n    uint8
	seqs [conduct.MaxEvidence]int64
}

func (r *ring) add(seq int64) {
	if int(r.n) == len(r.seqs) {
		copy(r.seqs[:], r.seqs[1:])
		r.n--
	}
	r.seqs[r.n] = seq
	r.n++
}

func (r *ring) all() []int64 { return append([]int64(nil), r.seqs[:r.n]...) }

// person returns what is remembered of somebody. When too many are, whoever has not answered for longest is
// forgotten.
func (f *Fleet) person(name string, at time.Time) *person {
	p := f.persons[name]
	if p != nil {
		return p
	}
	if f.persons == nil {
		f.persons = map[string]*person{}
	}
	if len(f.persons) >= maxPersons {
		oldest := ""
		for id, q := range f.persons {
			if o := f.persons[oldest]; o == nil || q.at < o.at || q.at == o.at && id < oldest {
				oldest = id
			}
		}
		delete(f.persons, oldest)
	}
	p = &person{at: at.UnixMicro()}
	f.persons[name] = p
	return p
}

// answered takes in an answer.
func (p *person) answered(r *catalog.AskingRules, an *Answer, emit func(Said)) {
	now := an.At.UnixMicro()
	together := p.answers > 0 && p.same == an.Ask.same && now-p.at < bulk.Microseconds()
	p.same, p.at = an.Ask.same, now
	if together {
		return // one look answers all asks for the same
	}
	took, fast := time.Duration(-1), false
	for _, v := range an.Ask.seen {
		if v.person == conduct.Hash(an.Person) {
			took = time.Duration(now-v.at) * time.Microsecond
			fast = an.Yes && took < an.Ask.reading
		}
	}
	p.answers, p.fast = min(p.answers+1, told), p.fast<<1
	if !fast {
		return
	}
	p.fast |= 1
	p.recent.add(an.Seq)
	n, of := share(p.fast, p.answers, r.Least)
	if of < r.Least || float64(n) < r.Fast*float64(of) {
		return
	}
	severity := conduct.Low
	if of >= judged && float64(n) >= grave*float64(of) {
		severity = conduct.Medium
	}
	evidence := p.recent.all()
	emit(Said{Person: an.Person, Draft: conduct.Draft{
		Kind: RubberStamp, Severity: severity, Class: conduct.Every, Evidence: evidence[max(0, len(evidence)-n):],
		Sentence: fmt.Sprintf("%s said yes to %d of %d asks sooner than they can be read, lately after %s to %s.",
			conduct.Quote(an.Person), n, of, took.Round(time.Millisecond), an.Ask.What),
	}})
}

// share returns how many bits are set, of how many answers that are judged.
func share(set uint16, answers uint8, least int) (n, of int) {
	of = min(int(answers), max(judged, min(least, told)))
	return bits.OnesCount16(set & uint16(1<<of-1)), of
}
