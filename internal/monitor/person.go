package monitor

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
)

const (
	maxPeople = 4096 // of whom findings are remembered
	maxBlames = 8    // findings of a person that are remembered
)

// A person is somebody of whom there are findings. They move no trust: nobody's but agents' is kept.
type person struct{ findings []*conduct.Finding } // oldest first

// accuse makes a finding about a person, or adds it to the one that takes up its repetitions.
func (c *core) accuse(s asking.Said) {
	p := c.people[s.Person]
	if p == nil {
		if len(c.people) >= maxPeople {
			c.forgetSomebody()
		}
		p = new(person)
		c.people[s.Person] = p
	}
	if f, graver := c.again(p.findings, &s.Draft); f != nil {
		if graver {
			f.Severity, f.Sentence, f.Evidence = s.Severity, cut(s.Sentence, maxSentence), c.evidence(&s.Draft)
		}
		c.tell(f, graver || f.Count&(f.Count-1) == 0)
		return
	}
	f := c.fresh("", &s.Draft, "")
	f.Person = s.Person
	c.blamed[keyOf(f)] = p
	if len(p.findings) >= maxBlames {
		delete(c.blamed, keyOf(p.findings[0]))
		p.findings = slices.Delete(p.findings, 0, 1)
	}
	p.findings = append(p.findings, f)
	c.tell(f, true)
}

// forgetSomebody forgets the findings of the person whose newest is the oldest.
func (c *core) forgetSomebody() {
	newest := func(name string) int64 {
		fs := c.people[name].findings
		return fs[len(fs)-1].AsOf
	}
	first := ""
	for name := range c.people {
		if first == "" || newest(name) < newest(first) || newest(name) == newest(first) && strings.Compare(name, first) < 0 {
			first = name
		}
	}
	c.forgive(first, func(*conduct.Finding) bool { return true })
}

// forgive forgets findings of a person.
func (c *core) forgive(name string, gone func(*conduct.Finding) bool) {
	p := c.people[name]
	p.findings = slices.DeleteFunc(p.findings, func(f *conduct.Finding) bool {
		if !gone(f) {
			return false
		}
		delete(c.blamed, keyOf(f))
		return true
	})
	if len(p.findings) == 0 {
		delete(c.people, name)
	}
}

// forgivePeople forgets, once a day, findings of persons that are not open any more.
func (c *core) forgivePeople() {
	for name := range c.people {
		c.forgive(name, func(f *conduct.Finding) bool { return c.over(f) })
	}
}

// over reports whether a finding is no longer open by the present entry.
func (c *core) over(f *conduct.Finding) bool {
	end := c.end(f)
	return end != 0 && end <= c.at.UnixMicro()
}

// appendPeople appends what is known of persons.
func (c *core) appendPeople(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.people)))
	for _, name := range slices.Sorted(maps.Keys(c.people)) {
		fs := c.people[name].findings
		b = append(conduct.AppendText(b, name), byte(len(fs)))
		for _, f := range fs {
			b = appendFinding(b, f)
		}
	}
	return b
}

// readPeople reads what appendPeople wrote.
func (c *core) readPeople(r *conduct.Reader) error {
	for range r.Count(maxPeople) {
		name, p := r.Text(), new(person)
		n := r.Count(maxBlames)
		if r.Err() == nil && (n == 0 || c.people[name] != nil) {
			return authz.Errorf(authz.ErrInvalid, "what is kept of persons is damaged")
		}
		for range n {
			f := readFinding(r, "")
			f.Person = name
			p.findings = append(p.findings, f)
			c.blamed[keyOf(f)] = p
		}
		c.people[name] = p
	}
	return r.Err()
}
