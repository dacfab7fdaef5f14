package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyfile"
)

// Pins remember of every tool the descriptor that was seen first, or approved since. They stand in a file of one
// JSON document that people can read, and that several gateways before the same server may share. They are safe
// for concurrent use. If they cannot be read or written, nothing that depends on them passes.
type Pins struct {
	path string // "" if they are in memory only

	mu     sync.Mutex
	pins   map[string]*Pin
	read   time.Time   // when the file was last looked at
	stamp  os.FileInfo // of the file that was read; nil if there was none
	loaded bool
}

// A Pin is what is remembered of one tool.
type Pin struct {
	Tool   string    `json:"-"`
	Server string    `json:"server"`
	Digest string    `json:"digest,omitempty"` // of the descriptor that is pinned; "" if none was approved yet
	At     time.Time `json:"at"`               // when it was pinned, or first seen
	// By is how it came to be pinned: first-sight, or approved.
	By         string          `json:"by,omitempty"`
	Descriptor json.RawMessage `json:"descriptor,omitempty"`
	Other      *Other          `json:"other,omitempty"` // what was seen last that is not what is pinned
}

// Other is a descriptor that waits for approval.
type Other struct {
	Digest     string          `json:"digest"`
	Seen       time.Time       `json:"seen"`
	Descriptor json.RawMessage `json:"descriptor"`
}

const (
	maxPinFile = 64 << 20
	maxPins    = 20_000
	maxPinsOne = 2_000   // of one server
	maxOwn     = 4 << 20 // bytes of descriptors of one server
	maxAll     = 48 << 20
	pinsFormat = "safeconduct-pins-1"
	lookAgain  = time.Second // how long it may take until what was approved counts
)

// OpenPins reads the pins in a file, which need not be there yet. With "" they are kept in memory, and forgotten at
// the end. authz.ErrInvalid: the file is no file of pins.
func OpenPins(path string) (*Pins, error) {
	p := &Pins{path: path, pins: map[string]*Pin{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.load()
}

// Path returns where the file is.
func (p *Pins) Path() string { return p.path }

// All returns every pin, by tool.
func (p *Pins) All() ([]Pin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return nil, err
	}
	out := make([]Pin, 0, len(p.pins))
	for _, name := range slices.Sorted(maps.Keys(p.pins)) {
		pin := *p.pins[name]
		pin.Tool = name
		out = append(out, pin)
	}
	return out, nil
}

// A Look is a descriptor that somebody has looked at.
type Look struct{ Tool, Digest string }

// ParseLook reads TOOL@sha256:DIGEST. authz.ErrInvalid: it is something else.
func ParseLook(s string) (Look, error) {
	i := strings.LastIndex(s, "@sha256:")
	if i < 1 || checkName(s[:i]) != nil || len(s)-i != len("@sha256:")+64 {
		return Look{}, authz.Errorf(authz.ErrInvalid, "%.64q does not say what was looked at: TOOL@sha256:DIGEST", s)
	}
	return Look{Tool: s[:i], Digest: s[i+1:]}, nil
}

func (l Look) String() string { return l.Tool + "@" + l.Digest }

// Approve pins descriptors that somebody has looked at, and returns the pins that have changed. What is pinned already stays.
// authz.ErrNotFound: there is no such tool. authz.ErrConflict: it is described otherwise by now. Then nothing was approved.
func (p *Pins) Approve(now time.Time, looks ...Look) ([]Pin, error) {
	var out []Pin
	err := p.change(func() (bool, error) {
		for _, l := range looks {
			switch pin := p.pins[l.Tool]; {
			case pin == nil:
				return false, authz.Errorf(authz.ErrNotFound, "no tool %.64q was ever seen", l.Tool)
			case pin.Digest != l.Digest && (pin.Other == nil || pin.Other.Digest != l.Digest):
				return false, authz.Errorf(authz.ErrConflict, "the tool %.64q is described otherwise by now than what was looked at", l.Tool)
			}
		}
		for _, l := range looks {
			pin := p.pins[l.Tool]
			if pin.Digest == l.Digest {
				continue
			}
			next := &Pin{Server: pin.Server, Digest: pin.Other.Digest, At: now.UTC(), By: "approved", Descriptor: pin.Other.Descriptor}
			p.pins[l.Tool] = next
			shown := *next
			shown.Tool = l.Tool
			out = append(out, shown)
		}
		return len(out) > 0, nil
	})
	return out, err
}

// A standing is how a descriptor stands to what is pinned.
type standing struct {
	changed bool   // it is not what is pinned
	isNew   bool   // nothing is pinned, and it waits
	full    bool   // nothing is pinned, and nothing more is remembered of its server, or of any
	pinned  string // digest
	first   bool   // this is the first time that this difference is seen

	approved bool // somebody has approved what is pinned
	other    bool // something else was seen since
}

// see remembers descriptors as a server has just listed them, and says how each stands. A server none of whose tools
// are known is pinned as it is; a tool that appears later waits if hold says so.
func (p *Pins) see(all []*descriptor, now time.Time, hold bool) (map[string]standing, error) {
	p.mu.Lock()
	out, dirty, err := p.compare(all, now, hold, false)
	p.mu.Unlock()
	if err != nil || !dirty {
		return out, err
	}
	err = p.change(func() (bool, error) {
		var dirty bool
		out, dirty, err = p.compare(all, now, hold, true)
		return dirty, err
	})
	return out, err
}

// state says how one descriptor stands, without remembering it.
func (p *Pins) state(d *descriptor) (standing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.read) > lookAgain {
		if err := p.load(); err != nil {
			return standing{}, err
		}
	}
	return stands(p.pins[d.name], d), nil
}

func stands(pin *Pin, d *descriptor) standing {
	switch {
	case pin == nil:
		return standing{isNew: true}
	case pin.Digest == "":
		return standing{isNew: true}
	}
	return standing{changed: pin.Digest != d.digest || pin.Server != d.server, pinned: pin.Digest, approved: pin.By == "approved", other: pin.Other != nil}
}

// compare says how descriptors stand, and whether something has to be remembered; with write it remembers that. p.mu is held.
func (p *Pins) compare(all []*descriptor, now time.Time, hold, write bool) (map[string]standing, bool, error) {
	if !write && time.Since(p.read) > lookAgain {
		if err := p.load(); err != nil {
			return nil, false, err
		}
	}
	known := map[string]quota{}
	size, count := 0, len(p.pins)
	for _, pin := range p.pins {
		q := known[pin.Server]
		q.tools++
		q.size += pin.size()
		size += pin.size()
		known[pin.Server] = q
	}
	before := map[string]bool{}
	for server := range known {
		before[server] = true
	}
	out, dirty := map[string]standing{}, false
	for _, d := range all {
		pin, own := p.pins[d.name], known[d.server]
		other := &Other{Digest: d.digest, Seen: now.UTC(), Descriptor: d.raw}
		var next *Pin
		s := stands(pin, d)
		switch {
		case pin == nil && (count >= maxPins || size+len(d.raw) > maxAll || own.tools >= maxPinsOne || own.size+len(d.raw) > maxOwn):
			s.full = true
		case pin == nil && hold && before[d.server]:
			s.first = true
			next = &Pin{Server: d.server, At: now.UTC(), Other: other}
		case pin == nil:
			s = standing{pinned: d.digest}
			next = &Pin{Server: d.server, Digest: d.digest, At: now.UTC(), By: "first-sight", Descriptor: d.raw}
		case (s.changed || s.isNew) && (pin.Other == nil || pin.Other.Digest != d.digest):
			s.first = true
			changed := *pin
			changed.Other = other
			next = &changed
			grown := next.size() - pin.size()
			if grown > 0 && (size+grown > maxAll || own.size+grown > maxOwn) { // it is changed all the same
				next = nil
			}
		}
		if next != nil {
			dirty = true
			own.size, size = own.size+next.size(), size+next.size()
			if pin == nil {
				own.tools, count = own.tools+1, count+1
			} else {
				own.size, size = own.size-pin.size(), size-pin.size()
			}
			known[d.server] = own
			if write {
				p.pins[d.name] = next
			}
		}
		out[d.name] = s
	}
	return out, dirty, nil
}

// A quota is what is remembered of one server: none takes what others need.
type quota struct{ tools, size int }

// size returns how many bytes of descriptors are remembered.
func (p *Pin) size() int {
	n := len(p.Descriptor)
	if p.Other != nil {
		n += len(p.Other.Descriptor)
	}
	return n
}

// pinFile is the document.
type pinFile struct {
	Format string          `json:"format"`
	Tools  map[string]*Pin `json:"tools"`
}

// load reads the file if it is not the one that was read. p.mu is held.
func (p *Pins) load() error {
	p.read = time.Now()
	if p.path == "" {
		return nil
	}
	info, err := os.Stat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && (!p.loaded || p.stamp == nil):
		p.loaded = true
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return authz.Errorf(authz.ErrUnavailable, "the file of pins %s has gone", p.path)
	case err != nil:
		return authz.Errorf(authz.ErrUnavailable, "reading the pins: %w", err)
	}
	if p.stamp != nil && os.SameFile(p.stamp, info) && p.stamp.ModTime().Equal(info.ModTime()) && p.stamp.Size() == info.Size() {
		return nil
	}
	b, err := keyfile.Read(p.path, maxPinFile)
	if err != nil {
		return authz.Errorf(authz.ErrUnavailable, "reading the pins: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var doc pinFile
	if err := dec.Decode(&doc); err != nil || doc.Format != pinsFormat {
		return authz.Errorf(authz.ErrInvalid, "%s is no file of pins: its format is not %s (%v)", p.path, pinsFormat, err)
	}
	for name, pin := range doc.Tools {
		if pin == nil || checkName(name) != nil || pin.Digest == "" && pin.Other == nil {
			return authz.Errorf(authz.ErrInvalid, "%s is no file of pins: the pin of tool %.64q says nothing", p.path, name)
		}
	}
	if doc.Tools == nil {
		doc.Tools = map[string]*Pin{}
	}
	p.pins, p.stamp, p.loaded = doc.Tools, info, true
	return nil
}

// change has f change what the file says now, and writes it if f says so. Others that write it wait.
func (p *Pins) change(f func() (bool, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.path != "" {
		unlock, err := lockFile(p.path + ".lock")
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "locking the pins: %w", err)
		}
		defer unlock()
		if err := p.load(); err != nil {
			return err
		}
	}
	before := maps.Clone(p.pins)
	dirty, err := f()
	if err != nil || !dirty || p.path == "" {
		return err
	}
	if err := p.write(); err != nil {
		p.pins = before
		return authz.Errorf(authz.ErrUnavailable, "writing the pins: %w", err)
	}
	return nil
}

func (p *Pins) write() error {
	b := []byte("{\n  \"format\": \"" + pinsFormat + "\",\n  \"tools\": {")
	for i, name := range slices.Sorted(maps.Keys(p.pins)) { // one in a line: to indent what servers nest would make it long
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, "\n    "...), encode(name)...), ": "...), encode(p.pins[name])...)
	}
	b = append(b, "\n  }\n}"...)
	if len(b) > maxPinFile {
		return fmt.Errorf("they have more than %d bytes", maxPinFile)
	}
	if err := keyfile.Replace(p.path, append(b, '\n')); err != nil {
		return err
	}
	info, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	p.stamp, p.loaded, p.read = info, true, time.Now()
	return nil
}
