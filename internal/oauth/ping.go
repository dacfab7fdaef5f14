package oauth

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A ping tells a client that it is worth asking for its token (CIBA Core 1.0, section 10.2).
//
// Pings are a courtesy: they are kept by the process that was asked, in memory, because the token that goes
// along is a secret of the client that belongs into no log. If the process ends, nobody is told. So a
// client in ping mode does well to poll now and then, as CIBA lets it.
type ping struct {
	ask     string
	address string
	bearer  string // client_notification_token
	until   time.Time
	tries   int
	next    time.Time // not before; zero: as soon as there is an answer
	sending bool
}

const (
	maxPings  = 20_000
	pingTries = 5
	pingPause = 2 * time.Second // before the second try; then twice as long each time
	pingTick  = time.Second
)

// pings are those that wait for an answer, by ask.
type pings struct {
	mu    sync.Mutex
	wait  map[string]ping
	woken chan struct{} // something may have been answered
}

func (p *pings) init() { p.wait, p.woken = map[string]ping{}, make(chan struct{}, 1) }

// add remembers a ping. If there are too many, the client is not told.
func (p *pings) add(pg ping) {
	p.mu.Lock()
	if len(p.wait) < maxPings {
		p.wait[pg.ask] = pg
	}
	p.mu.Unlock()
	p.wake() // it may have been answered already
}

func (p *pings) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// due returns the pings that may be sent now.
func (p *pings) due(now time.Time) (list []ping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pg := range p.wait {
		if !pg.sending && !now.Before(pg.next) {
			list = append(list, pg)
		}
	}
	return list
}

// begin takes a ping out of those that are due.
func (p *pings) begin(pg ping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.wait[pg.ask]; ok && have.bearer == pg.bearer {
		have.sending = true
		p.wait[pg.ask] = have
	}
}

// done forgets a ping, or keeps it for another try.
func (p *pings) done(pg ping, again bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.wait[pg.ask]; !ok || have.bearer != pg.bearer {
		return
	}
	pg.tries++
	if !again || pg.tries >= pingTries {
		delete(p.wait, pg.ask)
		return
	}
	pg.next = now.Add(pingPause << (pg.tries - 1))
	p.wait[pg.ask] = pg
}

// Run tells clients in ping mode that the persons they asked have answered, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if len(s.cfg.Clients.Pings) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(pingTick)
	defer tick.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, 16)
	for {
		for _, pg := range s.pings.due(s.cfg.Now()) {
			if !s.answered(ctx, pg) {
				continue
			}
			s.pings.begin(pg)
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			sending.Go(func() {
				defer func() { <-slots }()
				s.pings.done(pg, !s.tell(ctx, pg), s.cfg.Now())
			})
		}
		select {
		case <-s.pings.woken:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answered reports whether a client is to be told. An ask that expires unanswered is told as well: then
// the client learns that it need not wait.
func (s *Server) answered(ctx context.Context, pg ping) bool {
	c, err := s.cfg.Desk.Consent(ctx, pg.ask)
	return err == nil && (c.Status != ConsentPending || !s.cfg.Now().Before(c.Expires)) || err != nil && !s.cfg.Now().Before(pg.until)
}

// tell sends a ping, and reports whether it need not be sent again. Answers say nothing: 204 or 200 is
// what the standard wants, and a refusal or redirection is not tried again.
func (s *Server) tell(ctx context.Context, pg ping) bool {
	header := http.Header{"Content-Type": {jsonType}, "Authorization": {"Bearer " + pg.bearer}}
	resp, err := s.cfg.Clients.Post.Post(ctx, pg.address, header, append(appendString([]byte(`{"auth_req_id":`), pg.ask), '}'))
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "client not told that its person has answered", "ask", pg.ask, "try", pg.tries+1, "err", err)
		return false
	}
	if resp.Status >= 500 || resp.Status == http.StatusTooManyRequests {
		s.cfg.Logger.WarnContext(ctx, "client not told that its person has answered", "ask", pg.ask, "try", pg.tries+1, "status", resp.Status)
		return false
	}
	return true
}
