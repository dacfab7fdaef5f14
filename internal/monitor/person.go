package monitor

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
	"github.com/safeconduct/safeconduct/internal/monitor/enforcing"
)

const (
	maxPeople = 4096 // of whom findings are remembered, and as many things of enforcement points
	maxThings = 256  // of the enforcement points of one caller
	maxBlames = 8    // findings of a person that are remembered
)

// A person is somebody of whom there are findings, or a thing about an enforcement point. They move no trust: nobody's but
// agents' is kept.
type person struct{ findings []*conduct.Finding } // oldest first

// accuse makes a finding about a person.
func (c *core) accuse(s asking.Said) {
	c.blame(c.people, s.Person, &s.Draft, func(f *conduct.Finding) { f.Person = s.Person })
}

// expose makes a finding about an enforcement point, and something of it.
func (c *core) expose(point, about string, d conduct.Draft) {
	c.blame(c.points, point+"\x00"+about, &d, func(f *conduct.Finding) { f.Point = point })
}

// blame makes a finding about a person or a point, or adds it to the one that takes up its repetitions.
func (c *core) blame(all map[string]*person, name string, d *conduct.Draft, about func(*conduct.Finding)) {
	p := all[name]
	if p == nil {
		if of := reporter(name); of != "" {
			c.makeRoom(all, of)
		} else if len(all) >= maxPeople {
			c.forgetSomebody(all, func(string) bool { return true })
		}
		p = new(person)
		all[name] = p
	}
	if f, graver := c.again(p.findings, d); f != nil {
		if graver {
			f.Severity, f.Sentence, f.Evidence = d.Severity, cut(d.Sentence, maxSentence), c.evidence(d)
		}
		c.tell(f, graver || f.Count&(f.Count-1) == 0)
		return
	}
	f := c.fresh("", d, "")
	about(f)
	c.blamed[keyOf(f)] = p
	if len(p.findings) >= maxBlames {
		delete(c.blamed, keyOf(p.findings[0]))
		p.findings = slices.Delete(p.findings, 0, 1)
	}
	p.findings = append(p.findings, f)
	c.tell(f, true)
}

// reporter returns the caller who said what a thing of an enforcement point is, "" of a person.
func reporter(name string) string {
	point, _, thing := strings.Cut(name, "\x00")
	if !thing {
		return ""
	}
	of, _, _ := strings.Cut(point, "/")
	return of
}

// makeRoom makes room for one more thing of a caller's enforcement points, at the cost of whoever has the most: that one reports
// much must not hide what others do.
func (c *core) makeRoom(all map[string]*person, of string) {
	things := map[string]int{}
	for name := range all {
		things[reporter(name)]++
	}
	if things[of] < maxThings {
		if len(all) < maxPeople {
			return
		}
		for caller, n := range things {
			if n > things[of] || n == things[of] && caller < of {
				of = caller
			}
		}
	}
	c.forgetSomebody(all, func(name string) bool { return reporter(name) == of })
}

// forgetSomebody forgets the findings of the person, among those, whose newest is the oldest; of things, first those that do not
// fail open.
func (c *core) forgetSomebody(all map[string]*person, among func(name string) bool) {
	open := func(name string) bool { return all[name].findings[0].Kind == enforcing.FailOpen }
	newest := func(name string) int64 {
		fs := all[name].findings
		return fs[len(fs)-1].AsOf
	}
	first := ""
	for name := range all {
		if !among(name) {
			continue
		}
		if first != "" && open(name) != open(first) {
			if open(first) {
				first = name
			}
			continue
		}
		if first == "" || newest(name) < newest(first) || newest(name) == newest(first) && strings.Compare(name, first) < 0 {
			first = name
		}
	}
	c.forgive(all, first, func(*conduct.Finding) bool { return true })
}

// forgive forgets findings of a person.
func (c *core) forgive(all map[string]*person, name string, gone func(*conduct.Finding) bool) {
	p := all[name]
	p.findings = slices.DeleteFunc(p.findings, func(f *conduct.Finding) bool {
		if !gone(f) {
			return false
		}
		delete(c.blamed, keyOf(f))
		return true
	})
	if len(p.findings) == 0 {
		delete(all, name)
	}
}

// forgivePeople forgets, once a day, findings of persons and points that are not open any more.
func (c *core) forgivePeople() {
	for _, all := range []map[string]*person{c.people, c.points} {
		for name := range all {
			c.forgive(all, name, func(f *conduct.Finding) bool { return c.over(f) })
		}
	}
}

// over reports whether a finding is no longer open by the present entry.
func (c *core) over(f *conduct.Finding) bool {
	end := c.end(f)
	return end != 0 && end <= c.at.UnixMicro()
}

// appendPeople appends what is known of persons, or of points.
func appendPeople(b []byte, all map[string]*person) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fs := all[name].findings
		b = append(conduct.AppendText(b, name), byte(len(fs)))
		for _, f := range fs {
			b = appendFinding(b, f)
		}
	}
	return b
}

// readPeople reads what appendPeople wrote.
func (c *core) readPeople(r *conduct.Reader, all map[string]*person, about func(f *conduct.Finding, name string)) error {
	for range r.Count(maxPeople) {
		name, p := r.Text(), new(person)
		n := r.Count(maxBlames)
		if r.Err() == nil && (n == 0 || all[name] != nil) {
			return authz.Errorf(authz.ErrInvalid, "what is kept of persons is damaged")
		}
		for range n {
			f := readFinding(r, "")
			about(f, name)
			p.findings = append(p.findings, f)
			c.blamed[keyOf(f)] = p
		}
		all[name] = p
	}
	return r.Err()
}

// readAccused reads what is known of persons and of points.
func (c *core) readAccused(r *conduct.Reader) error {
	if err := c.readPeople(r, c.people, func(f *conduct.Finding, name string) { f.Person = name }); err != nil {
		return err
	}
	return c.readPeople(r, c.points, func(f *conduct.Finding, name string) { f.Point, _, _ = strings.Cut(name, "\x00") })
}
