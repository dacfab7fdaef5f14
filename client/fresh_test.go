package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An act happens on a decision that is fresh, however long it has been delayed.
func TestDelayedActsAreDecidedAnew(t *testing.T) {
	for name, c := range map[string]struct {
		suspended bool
		slow      time.Duration // to meet the notification
		presented *authz.Presented
		asked     int
		notified  int
		err       bool
	}{
		"as before":             {asked: 2, notified: 1},
		"suspended meanwhile":   {suspended: true, asked: 2, notified: 2, err: true},
		"by a proof for one":    {presented: &authz.Presented{Token: "t", Proof: "p"}, asked: 1, notified: 1, err: true},
		"slowly notified":       {slow: 50 * time.Second, asked: 2, notified: 1},
		"by a proof that shown": {presented: &authz.Presented{Token: "t", Proof: "p", Shown: time.Now()}, asked: 2, notified: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				obliged := []authz.Obligation{duty("n", "notification", `{"to":"a","body":"b"}`), duty("d", "custom", `{"obligation":"delay","for":"24h"}`), maskDuty("iban")}
				began, first := time.Now(), allows("d1", obliged...)
				j := judges(first)
				j.answer = func(*client.Question) ([]*client.Answer, error) {
					a := allows("d1", obliged...)
					if time.Since(began) > time.Hour {
						if a = allows("d2", obliged...); c.suspended {
							a = refuses("d2", obliged[0])
							a.Code = authz.CodeAgentInactive
						}
					}
					return []*client.Answer{&a}, nil
				}
				notified := 0
				e := before(j, client.Handlers{"delay": client.MeetDelay(48 * time.Hour), "notification": func(context.Context, *client.Duty) error {
					notified++
					time.Sleep(c.slow)
					return nil
				}})
				p, err := e.Permit(t.Context(), client.Question{Requests: one.Requests, Presented: c.presented}, false)
				if (err != nil) != c.err || len(j.asked) != c.asked || notified != c.notified {
					t.Fatalf("error %v, asked %d times, notified %d times; want %v, %d, %d", err, len(j.asked), notified, c.err, c.asked, c.notified)
				}
				if took := time.Since(began); took < 24*time.Hour || took > 24*time.Hour+2*time.Minute {
					t.Errorf("it took %v, want the delay once", took)
				}
				if c.err {
					return
				}
				done, err := p.Do(t.Context(), client.Act{Do: func(context.Context) (json.RawMessage, error) { return json.RawMessage(`{"iban":1}`), nil }})
				if err != nil || string(done.Result) != `{"iban":"***"}` || done.Decision != "d2" || len(done.Met) != 3 {
					t.Errorf("done = %+v, %v; want what is hidden to be, by decision d2, with 3 obligations met", done, err)
				}
			})
		})
	}
}

// It is asked once more and not for ever, and a Permit is as old as the answer.
func TestPermitsAreAsOldAsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		slow := client.Handlers{"slow": func(context.Context, *client.Duty) error { n++; time.Sleep(40 * time.Second); return nil }}
		obliged := []authz.Obligation{duty("s", "custom", `{"obligation":"slow"}`)}
		p, err := before(judges(allows("d1", obliged...)), slow).Permit(t.Context(), one, false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if _, _, err := p.Begin(t.Context()); !errors.Is(err, authz.ErrForbidden) {
			t.Errorf("a minute after the answer: %v", err)
		}

		j := judges()
		j.answer = func(*client.Question) ([]*client.Answer, error) { // other words each time
			n++
			a := allows("d1", duty("s", "custom", `{"obligation":"slow","n":"`+string(rune('a'+n))+`"}`), duty("s2", "custom", `{"obligation":"slow","n":"`+string(rune('a'+n))+`"}`))
			return []*client.Answer{&a}, nil
		}
		if _, err := before(j, slow).Permit(t.Context(), one, false); !errors.Is(err, authz.ErrForbidden) || len(j.asked) != 2 {
			t.Errorf("with obligations that always take longer: asked %d times, %v", len(j.asked), err)
		}
	})
}

// A Guard for itself asks once more as well.
func TestGuardAsksAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := judges(allows("d1", duty("u", "step-up", `{"acr_value":"x"}`)))
		n := 0
		g := &client.Guard{Decider: j, Obligations: map[string]client.Obliger{"step-up": func(context.Context, authz.Obligation) error { n++; time.Sleep(time.Hour); return nil }}}
		acted := false
		err := g.Do(t.Context(), act, func(context.Context) error { acted = true; return nil })
		if err != nil || !acted || n != 1 || len(j.asked) != 2 {
			t.Errorf("error %v, acted %v, stepped up %d times, asked %d times; want no error, true, 1, 2", err, acted, n, len(j.asked))
		}
	})
}
