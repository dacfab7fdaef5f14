package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/feed"
)

const (
	maxPause = 5 * time.Second
	// patience is for how long a policy may be fetched and compiled.
	patience = time.Minute
)

func randomN(n int64) int64 { return rand.Int64N(n) }

// follow hears what the control plane tells, again whenever that ends, until ctx does.
func (p *Point) follow(ctx context.Context) {
	for failures := 0; ; failures++ {
		wasReady, err := p.listen(ctx)
		p.connected.Store(false)
		p.say(ctx, &p.trouble.feed, "control plane not heard", err)
		if wasReady {
			failures = 0
		}
		if !pause(ctx, failures, maxPause) {
			return
		}
	}
}

// A listener is one feed.
type listener struct {
	p       *Point
	pic     *picture
	ready   bool
	began   time.Time
	nearest time.Duration // the least that a head was behind our clock
	last    time.Time     // when the last head came
}

// listen hears one feed, and reports whether it came so far that everything was told.
func (p *Point) listen(ctx context.Context) (ready bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := min(max(p.cfg.MaxStale/2, 3*time.Second), 15*time.Second)
	quiet := authz.Errorf(authz.ErrUnavailable, "it has said nothing for %v", silence)
	watch := time.AfterFunc(silence, func() { cancel(quiet) })
	defer watch.Stop()
	resp, err := p.stream.call(ctx, "GET", "/v1/edge/feed", nil, "text/event-stream")
	if err != nil {
		if cause := context.Cause(ctx); cause == quiet {
			err = quiet
		}
		return false, err
	}
	defer resp.Body.Close()
	l := &listener{p: p, began: p.cfg.Now()}
	r := newEvents(resp.Body)
	for {
		watch.Reset(silence)
		ev, err := r.next()
		watch.Stop() // what is done about an event may take its time
		if err != nil {
			if cause := context.Cause(ctx); cause == quiet {
				err = quiet
			} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = authz.Errorf(authz.ErrUnavailable, "it has ended the feed")
			} else {
				err = authz.Errorf(authz.ErrUnavailable, "reading the feed: %w", err)
			}
			return l.ready, err
		}
		if err := l.take(ctx, ev); err != nil {
			return l.ready, err
		}
	}
}

// take takes one event in.
func (l *listener) take(ctx context.Context, ev event) error {
	if l.pic == nil && ev.name != feed.EventStart {
		return authz.Errorf(authz.ErrUnavailable, "the feed begins with %.32q, not with start", ev.name)
	}
	switch ev.name {
	case feed.EventStart:
		var s feed.Start
		if err := read(ev, &s); err != nil {
			return err
		}
		if s.Name == "" {
			return authz.Errorf(authz.ErrUnavailable, "the feed does not say under what name decisions are recorded")
		}
		l.pic, l.ready = l.p.newPicture(), false
		l.pic.name, l.pic.limits = s.Name, s.Limits
	case feed.EventPolicies:
		var a feed.Active
		if err := read(ev, &a); err != nil {
			return err
		}
		return l.policies(ctx, a)
	case feed.EventAgent:
		var a feed.Agent
		if err := read(ev, &a); err != nil {
			return err
		}
		return l.pic.tell(&a)
	case feed.EventForget:
		var f feed.Forget
		if err := read(ev, &f); err != nil {
			return err
		}
		l.pic.forget(f.ID)
	case feed.EventRisk:
		var r feed.Risk
		if err := read(ev, &r); err != nil {
			return err
		}
		return l.pic.tellRisk(ctx, &r)
	case feed.EventStops:
		var s feed.Stops
		if err := read(ev, &s); err != nil {
			return err
		}
		if err := l.pic.tellStops(&s); err != nil {
			return err
		}
		l.p.passports.drop()
	case feed.EventStanding:
		l.p.passports.drop()
	case feed.EventReady, feed.EventHead:
		var h feed.Head
		if err := read(ev, &h); err != nil {
			return err
		}
		return l.head(ctx, ev.name == feed.EventReady, h)
	}
	return nil
}

// read decodes the data of an event.
func read(ev event, into any) error {
	if err := json.Unmarshal(ev.data, into); err != nil {
		return authz.Errorf(authz.ErrUnavailable, "reading the event %s of the feed: %w", ev.name, err)
	}
	return nil
}

// head takes in how far everything is told.
func (l *listener) head(ctx context.Context, ready bool, h feed.Head) error {
	if !ready && !l.ready {
		return nil // nothing is complete yet
	}
	if !l.pic.stopped {
		return authz.Errorf(authz.ErrUnavailable, "it does not tell what is stopped, as one that is older than this program: upgrade it first")
	}
	// What was on its way longer than others is older than it looks.
	now := l.p.cfg.Now()
	behind := l.began.Round(0).Add(now.Sub(l.began)).Sub(h.At)
	if l.last.IsZero() {
		l.nearest = behind
	} else { // clocks drift apart, by no more than a thousandth
		l.nearest = min(behind, l.nearest+now.Sub(l.last)/1000)
	}
	l.last = now
	late := behind - l.nearest
	if late > l.p.cfg.MaxStale/2 {
		return authz.Errorf(authz.ErrUnavailable, "what it tells arrives %v late", late.Round(time.Millisecond))
	}
	l.pic.heard.Store(&heard{now.Add(-late), h.Seq})
	if ready && !l.ready {
		l.ready = true
		l.p.picture.Store(l.pic)
		l.p.passports.drop()
	}
	l.p.connected.Store(true)
	if ready {
		l.p.once.Do(func() { close(l.p.ready) })
		l.p.wakeUpload()
		l.p.cfg.Logger.InfoContext(ctx, "control plane heard", "service", l.p.remote.URL(), "entry", h.Seq, "agents", l.pic.count())
	}
	l.p.say(ctx, &l.p.trouble.feed, "control plane not heard", nil)
	return nil
}

// policies brings a version into effect. What cannot be fetched or compiled ends the feed: what is told after it must not
// count as known.
func (l *listener) policies(ctx context.Context, a feed.Active) error {
	defer l.p.passports.drop()
	if a.Version == 0 {
		l.pic.set.Store(nil)
		return nil
	}
	for _, pic := range [...]*picture{l.pic, l.p.picture.Load()} {
		if pic == nil {
			continue
		}
		if ps := pic.set.Load(); ps != nil && ps.set.Version() == a.Version && ps.digest == a.Digest {
			l.pic.set.Store(ps)
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v feed.Version
	if err := l.p.service.do(ctx, "GET", "/v1/edge/policies/"+strconv.FormatInt(a.Version, 10), nil, &v); err != nil {
		return wrap(fmt.Sprintf("fetching version %d of the policies", a.Version), err)
	}
	if v.Version != a.Version || v.Digest != a.Digest {
		return authz.Errorf(authz.ErrUnavailable, "asked for version %d of the policies, the control plane gave another one", a.Version)
	}
	ps, err := compile(&v, l.p.geoip)
	if errors.Is(err, authz.ErrUnavailable) {
		return wrap(fmt.Sprintf("taking version %d of the policies", a.Version), err)
	} else if err != nil {
		return wrap(fmt.Sprintf("version %d of the policies does not compile here, which an older program than the control plane's may be why", a.Version), err)
	}
	l.pic.set.Store(ps)
	if ps.remote != "" {
		l.p.cfg.Logger.WarnContext(ctx, "questions are not answered here", "why", ps.remote, "version", a.Version)
	}
	return nil
}
