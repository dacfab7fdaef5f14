package approval_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// Who decides: each rule as a story of one ask.
func TestWhoDecides(t *testing.T) {
	type stage struct {
		*world
		a *approval.Ask
	}
	is := func(s *stage, want approval.Status) {
		t := s.t
		t.Helper()
		got, err := s.Get(ctx, s.a.ID)
		wantKind(t, "Get", err, nil)
		wantStatus(t, got, want)
	}
	says := func(s *stage, p approval.Person, r approval.Reply, kind error) {
		s.t.Helper()
		_, err := s.answer(s.a, p, r)
		wantKind(s.t, p.ID+" answers", err, kind)
	}
	evaluator := func(s *stage, id string, r approval.Reply, kind error) {
		s.t.Helper()
		_, err := s.AnswerAs(ctx, id, s.a.ID, r)
		wantKind(s.t, id+" answers", err, kind)
	}
	away := func(s *stage, person, deputy string, claims map[string][]string) {
		s.t.Helper()
		wantKind(s.t, "PutAway", s.PutAway(ctx, "person:"+person, approval.Away{Person: person, Deputy: deputy, Until: s.log.Now().Add(time.Hour), Claims: claims}), nil)
	}
	key := approval.Reply{Yes: true, Evidence: json.RawMessage(`{"signature":"x"}`)}

	for _, c := range []struct {
		rule   string
		routes string
		ask    func(*approval.Ask)
		story  func(*stage)
	}{
		{"one of the group is enough where the route says so", "one", nil, func(s *stage) {
			says(s, who("anna"), yes, nil)
			is(s, approval.Approved)
		}},
		{"who is in none of the groups may not answer", "one", nil, func(s *stage) {
			says(s, who("carl"), yes, authz.ErrForbidden)
			says(s, who("carl"), no, authz.ErrForbidden)
			is(s, approval.Pending)
		}},
		{"the group is known by claims too", "one", nil, func(s *stage) {
			says(s, who("zoe", "sales"), yes, authz.ErrForbidden)
			says(s, who("zoe", "sales", "finance"), yes, nil)
			is(s, approval.Approved)
		}},
		{"one no refuses", "two", nil, func(s *stage) {
			says(s, who("anna"), yes, nil)
			says(s, who("ben"), no, nil)
			is(s, approval.Denied)
			says(s, who("zoe", "finance"), yes, authz.ErrConflict)
		}},
		{"a quorum is of different persons", "two", nil, func(s *stage) {
			says(s, who("anna"), yes, nil)
			says(s, who("anna"), yes, authz.ErrConflict)
			is(s, approval.Pending)
			says(s, who("ben"), yes, nil)
			is(s, approval.Approved)
		}},
		{"who has said yes may still refuse", "two", nil, func(s *stage) {
			says(s, who("anna"), yes, nil)
			says(s, who("anna"), no, nil)
			is(s, approval.Denied)
		}},
		{"all routes must be gone to their end", "one safe", nil, func(s *stage) {
			says(s, who("anna"), yes, nil)
			is(s, approval.Pending)
			says(s, who("anna"), yes, authz.ErrConflict)
			says(s, who("dora"), yes, nil)
			is(s, approval.Approved)
		}},
		{"one person counts for each route that leads to it", "one safe", func(a *approval.Ask) { a.Owner = "" }, func(s *stage) {
			says(s, who("olga"), yes, nil)
			is(s, approval.Approved)
		}},
		{"the owner does not decide alone", "one", nil, func(s *stage) {
			says(s, who("olga"), yes, authz.ErrForbidden)
			is(s, approval.Pending)
		}},
		{"the owner is known by an e-mail address too", "one", func(a *approval.Ask) { a.Owner = "Anna@example.org" }, func(s *stage) {
			says(s, who("anna", "staff"), yes, authz.ErrForbidden)
			says(s, approval.Person{ID: "anna", Names: []string{"anna@example.org"}}, yes, authz.ErrForbidden)
			says(s, who("ben", "staff"), yes, nil)
		}},
		{"who asks is known by an e-mail address too", "two", func(a *approval.Ask) {
			a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "anna@example.org"}}
		}, func(s *stage) {
			says(s, who("anna", "staff"), no, authz.ErrForbidden)
		}},
		{"the owner may refuse alone", "one", nil, func(s *stage) {
			says(s, who("olga"), no, nil)
			is(s, approval.Denied)
		}},
		{"the owner counts beside another", "two", nil, func(s *stage) {
			says(s, who("olga"), yes, nil)
			is(s, approval.Pending)
			says(s, who("anna"), yes, nil)
			is(s, approval.Approved)
		}},
		{"the owner and a program are nobody else", "pair", func(a *approval.Ask) { a.Owner = "anna" }, func(s *stage) {
			evaluator(s, "scanner", yes, nil)
			says(s, who("anna"), yes, nil)
			is(s, approval.Pending)
			says(s, who("ben"), yes, nil)
			is(s, approval.Approved)
		}},
		{"who made the agent does not decide alone", "one", nil, func(s *stage) {
			says(s, who("mike"), yes, authz.ErrForbidden)
		}},
		{"who made the agent counts beside another", "two", nil, func(s *stage) {
			says(s, who("mike"), yes, nil)
			says(s, who("anna"), yes, nil)
			is(s, approval.Approved)
		}},
		{"nobody answers what was asked for oneself", "two", func(a *approval.Ask) {
			a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "anna"}}
		}, func(s *stage) {
			says(s, who("anna"), yes, authz.ErrForbidden)
			says(s, who("anna"), no, authz.ErrForbidden)
		}},
		{"nobody answers what one has submitted", "two", func(a *approval.Ask) { a.Requester = "admin:anna" }, func(s *stage) {
			says(s, who("anna"), yes, authz.ErrForbidden)
		}},
		{"nobody answers as deputy of who asks", "one", func(a *approval.Ask) {
			a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "anna"}}
		}, func(s *stage) {
			away(s, "anna", "dora", nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
		}},
		{"a deputy answers for who is away", "one", nil, func(s *stage) {
			says(s, who("dora"), yes, authz.ErrForbidden)
			away(s, "anna", "dora", nil)
			says(s, who("dora"), yes, nil)
			is(s, approval.Approved)
			if got, _ := s.Get(ctx, s.a.ID); got.Answers[0].For != "anna" || got.Answers[0].By != "person:dora" {
				s.t.Errorf("answer = %s, want dora's, for anna", text(got.Answers))
			}
		}},
		{"a deputy answers for who is known by claims", "one", nil, func(s *stage) {
			away(s, "zoe", "dora", map[string][]string{"groups": {"finance"}})
			says(s, who("dora"), yes, nil)
			is(s, approval.Approved)
		}},
		{"a deputy stands in no longer than the absence lasts", "one", nil, func(s *stage) {
			away(s, "anna", "dora", nil)
			s.log.pass(30 * time.Minute)
			wantKind(s.t, "PutAway", s.PutAway(ctx, "person:anna", approval.Away{Person: "anna"}), nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
		}},
		{"a deputy's deputy does not stand in", "one", nil, func(s *stage) {
			away(s, "anna", "carl", nil)
			away(s, "carl", "dora", nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
			says(s, who("carl"), yes, nil)
		}},
		{"a person and the deputy are one", "two", nil, func(s *stage) {
			away(s, "anna", "dora", nil)
			says(s, who("anna"), yes, nil)
			says(s, who("dora"), yes, authz.ErrConflict)
			is(s, approval.Pending)
		}},
		{"a deputy and the person are one", "two", nil, func(s *stage) {
			away(s, "anna", "dora", nil)
			says(s, who("dora"), yes, nil)
			says(s, who("anna"), yes, authz.ErrConflict)
			is(s, approval.Pending)
		}},
		{"who can answer for oneself does so", "two", nil, func(s *stage) {
			away(s, "anna", "ben", nil)
			says(s, who("ben"), yes, nil)
			says(s, who("ben"), yes, authz.ErrConflict)
			is(s, approval.Pending)
		}},
		{"one deputy of two is one person", "two", nil, func(s *stage) {
			away(s, "anna", "dora", nil)
			away(s, "ben", "dora", nil)
			says(s, who("dora"), yes, nil)
			says(s, who("dora"), yes, authz.ErrConflict)
			is(s, approval.Pending)
		}},
		{"the owner of an agent on whose behalf another asks does not decide alone", "one", func(a *approval.Ask) {
			a.Owner, a.Creator = "wanda", ""
			a.Bound.OnBehalf, a.Owners = []authz.Ref{{Type: "agent", ID: "payer2"}}, []string{"admin:zoe", "user:anna"}
		}, func(s *stage) {
			says(s, who("anna"), yes, authz.ErrForbidden)
			says(s, who("zoe", "finance"), yes, authz.ErrForbidden)
			says(s, who("ben"), yes, nil)
			is(s, approval.Approved)
		}},
		{"the owner of such an agent may refuse", "one", func(a *approval.Ask) { a.Owners = []string{"anna"} }, func(s *stage) {
			says(s, who("anna"), no, nil)
			is(s, approval.Denied)
		}},
		{"the owner of such an agent does not break the glass", "one", func(a *approval.Ask) { a.Owners = []string{"dora"} }, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			if err == nil {
				_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, "It burns.", approval.Reply{View: v.Seq})
			}
			wantKind(s.t, "the owner breaks the glass", err, authz.ErrForbidden)
		}},
		{"the owner is no deputy that decides alone", "one", func(a *approval.Ask) { a.Owner = "dora" }, func(s *stage) {
			away(s, "anna", "dora", nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
		}},
		{"the owner's deputy does not decide alone", "one", nil, func(s *stage) {
			away(s, "olga", "dora", nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
		}},
		{"who is on call answers while the schedule is open", "duty", nil, func(s *stage) {
			s.log.pass(59 * time.Minute) // 16:59
			says(s, who("dora"), yes, nil)
			is(s, approval.Approved)
		}},
		{"who is off duty does not", "duty", nil, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			s.log.pass(59 * time.Minute)
			v, err = s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			s.log.pass(61 * time.Second)
			_, err = s.Answer(ctx, who("dora"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			if !errors.Is(err, authz.ErrForbidden) && !errors.Is(err, authz.ErrConflict) {
				s.t.Errorf("Answer after 17:00: %v, want it refused", err)
			}
		}},
		{"silence reaches those above", "late", nil, func(s *stage) {
			says(s, who("carl"), yes, authz.ErrForbidden)
			s.log.pass(10 * time.Minute)
			says(s, who("carl"), yes, authz.ErrForbidden) // nobody has told them yet
			wantKind(s.t, "Sweep", s.Sweep(ctx), nil)
			says(s, who("carl"), yes, nil)
			is(s, approval.Approved)
		}},
		{"those who were silent may still answer", "late", nil, func(s *stage) {
			s.log.pass(10 * time.Minute)
			wantKind(s.t, "Sweep", s.Sweep(ctx), nil)
			says(s, who("ben"), yes, nil)
			is(s, approval.Approved)
		}},
		{"expiry means refusal", "late", nil, func(s *stage) {
			v, err := s.View(ctx, who("anna"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			s.log.pass(30 * time.Minute)
			is(s, approval.Expired) // though no entry says so yet
			_, err = s.Answer(ctx, who("anna"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			wantKind(s.t, "Answer", err, authz.ErrConflict)
			wantKind(s.t, "Sweep", s.Sweep(ctx), nil)
			is(s, approval.Expired)
		}},
		{"a passkey is demanded for a yes", "key", nil, func(s *stage) {
			says(s, who("anna"), yes, authz.ErrForbidden)
			says(s, who("anna"), key, nil)
			is(s, approval.Approved)
		}},
		{"a passkey is not demanded for a no", "key", nil, func(s *stage) {
			says(s, who("anna"), no, nil)
			is(s, approval.Denied)
		}},
		{"a program answers where it is asked first", "robot", nil, func(s *stage) {
			evaluator(s, "other", yes, authz.ErrForbidden)
			evaluator(s, "scanner", yes, nil)
			is(s, approval.Approved)
		}},
		{"a program refuses", "robot", nil, func(s *stage) {
			evaluator(s, "scanner", no, nil)
			is(s, approval.Denied)
		}},
		{"a program is one voice", "three", nil, func(s *stage) {
			evaluator(s, "scanner", yes, nil)
			evaluator(s, "scanner", yes, authz.ErrForbidden)
			says(s, who("anna"), yes, nil)
			is(s, approval.Pending)
			says(s, who("ben"), yes, nil)
			is(s, approval.Approved)
		}},
		{"a program has no passkey", "key", nil, func(s *stage) {
			evaluator(s, "scanner", key, authz.ErrForbidden)
			evaluator(s, "scanner", no, nil)
		}},
		{"a person answers what it has looked at", "one", nil, func(s *stage) {
			_, err := s.Answer(ctx, who("anna"), s.a.ID, yes)
			wantKind(s.t, "Answer without a view", err, authz.ErrForbidden)
			v, err := s.View(ctx, who("ben"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.Answer(ctx, who("anna"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			wantKind(s.t, "Answer with another's view", err, authz.ErrForbidden)
		}},
		{"a view is good for ten minutes", "one", nil, func(s *stage) {
			v, err := s.View(ctx, who("anna"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			s.log.pass(approval.Fresh + time.Second)
			_, err = s.Answer(ctx, who("anna"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			wantKind(s.t, "Answer with an old view", err, authz.ErrForbidden)
			s.log.pass(-time.Second)
			_, err = s.Answer(ctx, who("anna"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			wantKind(s.t, "Answer in time", err, nil)
		}},
		{"an old view of the same person still counts", "one", nil, func(s *stage) {
			v, err := s.View(ctx, who("anna"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			for range 3 {
				_, err := s.View(ctx, who("anna"), s.a.ID)
				wantKind(s.t, "View again", err, nil)
			}
			_, err = s.Answer(ctx, who("anna"), s.a.ID, approval.Reply{Yes: true, View: v.Seq})
			wantKind(s.t, "Answer", err, nil)
		}},
		{"who has no part in it does not view", "one", nil, func(s *stage) {
			_, err := s.View(ctx, who("carl"), s.a.ID)
			wantKind(s.t, "View", err, authz.ErrForbidden)
		}},
		{"the glass is broken alone, with a reason", "one", nil, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, " ", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass without a reason", err, authz.ErrInvalid)
			_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, "the plant floods", approval.Reply{View: v.Seq, Scope: approval.Scope{Uses: 2}})
			wantKind(s.t, "BreakGlass for two uses", err, authz.ErrInvalid)
			a, err := s.BreakGlass(ctx, who("dora"), s.a.ID, "the plant floods", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass", err, nil)
			wantStatus(s.t, a, approval.Approved)
			if !a.Broken.Due.Equal(s.log.Now().Add(2 * time.Hour)) {
				s.t.Errorf("review is due at %v, want in two hours", a.Broken.Due)
			}
		}},
		{"the owner does not break the glass", "one", nil, func(s *stage) {
			v, err := s.View(ctx, who("olga"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.BreakGlass(ctx, who("olga"), s.a.ID, "now", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass", err, authz.ErrForbidden)
		}},
		{"the glass is broken only where every route says so", "one safe", nil, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, "now", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass", err, authz.ErrForbidden)
		}},
		{"breaking the glass needs the passkey too", "key", nil, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, "now", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass", err, authz.ErrForbidden)
			_, err = s.BreakGlass(ctx, who("dora"), s.a.ID, "now", approval.Reply{View: v.Seq, Evidence: key.Evidence})
			wantKind(s.t, "BreakGlass", err, nil)
		}},
		{"another person reviews a broken glass, once", "one", nil, func(s *stage) {
			v, err := s.View(ctx, who("dora"), s.a.ID)
			wantKind(s.t, "View", err, nil)
			_, err = s.Review(ctx, who("emil"), s.a.ID, true, "nothing")
			wantKind(s.t, "Review of none", err, authz.ErrConflict)
			a, err := s.BreakGlass(ctx, who("dora"), s.a.ID, "now", approval.Reply{View: v.Seq})
			wantKind(s.t, "BreakGlass", err, nil)
			for _, p := range []string{"dora", "olga", "mike", "carl"} {
				_, err = s.Review(ctx, who(p), s.a.ID, true, "fine")
				wantKind(s.t, "Review by "+p, err, authz.ErrForbidden)
			}
			if got := s.holds(a, 0, nil); got != "holds" {
				s.t.Errorf("before the review the approval %s, want that it holds", got)
			}
			_, err = s.Review(ctx, who("emil"), s.a.ID, false, "nothing burned")
			wantKind(s.t, "Review", err, nil)
			if got := s.holds(a, 0, nil); got != authz.ApprovalExpired {
				s.t.Errorf("after the review the approval %s, want %s", got, authz.ApprovalExpired)
			}
			_, err = s.Review(ctx, who("anna"), s.a.ID, true, "it did")
			wantKind(s.t, "Review again", err, authz.ErrConflict)
		}},
		{"the person who authorizes a token is alone", "two", func(a *approval.Ask) {
			a.Kind, a.Person, a.Message = approval.CIBA, "zoe", "W4SCT"
		}, func(s *stage) {
			says(s, who("anna"), yes, authz.ErrForbidden)
			away(s, "zoe", "dora", nil)
			says(s, who("dora"), yes, authz.ErrForbidden)
			says(s, who("zoe"), approval.Reply{Yes: true, Scope: approval.Scope{Uses: 2}}, authz.ErrInvalid)
			says(s, who("zoe"), yes, nil)
			is(s, approval.Approved)
			a, _ := s.Get(ctx, s.a.ID)
			if got := s.holds(a, 0, nil); got != authz.ApprovalUnverifiable {
				s.t.Errorf("what authorizes a token %s as an approval, want %s", got, authz.ApprovalUnverifiable)
			}
		}},
		{"the person who authorizes a token may refuse", "", func(a *approval.Ask) {
			a.Kind, a.Person = approval.CIBA, "zoe"
		}, func(s *stage) {
			says(s, who("zoe"), no, nil)
			is(s, approval.Denied)
		}},
		{"who asked may withdraw", "one", nil, func(s *stage) {
			a, err := s.Cancel(ctx, "pep:gate", s.a.ID, "not needed", "")
			wantKind(s.t, "Cancel", err, nil)
			wantStatus(s.t, a, approval.Cancelled)
			_, err = s.Cancel(ctx, "pep:gate", s.a.ID, "", "")
			wantKind(s.t, "Cancel again", err, authz.ErrConflict)
			says(s, who("anna"), yes, authz.ErrConflict)
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			s := &stage{world: open(t, organisation)}
			s.another() // which must agree with the first
			req := payment()
			a := about(req, 9, strings.Fields(c.routes)...)
			if c.ask != nil {
				c.ask(&a)
			}
			made, _, err := s.Ask(ctx, a)
			wantKind(t, "Ask", err, nil)
			s.a = made
			c.story(s)
			s.agree()
		})
	}
}

// agree checks that all desks have the same asks, and that one that starts now has them too, from the
// tables, from the log, and from both.
func (w *world) agree() {
	w.t.Helper()
	list := func(d *approval.Desk) []*approval.Ask {
		all, err := d.List(ctx, approval.Filter{Limit: approval.MaxPage})
		wantKind(w.t, "List", err, nil)
		return all
	}
	want := list(w.Desk)
	for i, d := range w.log.desks[1:] {
		if diff := cmp.Diff(want, list(d)); diff != "" {
			w.t.Errorf("desk %d (-first +other):\n%s", i+1, diff)
		}
	}
	wantKind(w.t, "Sweep", w.Sweep(ctx), nil)
	want = list(w.Desk)
	again := approval.New(w.cfg)
	wantKind(w.t, "Load", again.Load(ctx), nil)
	if diff := cmp.Diff(want, list(again)); diff != "" {
		w.t.Errorf("loaded from the tables (-desk +loaded):\n%s", diff)
	}
	for _, e := range w.log.entries {
		again.Apply(ctx, e) // verdicts may differ: what was loaded knows more than the entry
	}
	if diff := cmp.Diff(want, list(again)); diff != "" {
		w.t.Errorf("loaded, and the log read again (-desk +loaded):\n%s", diff)
	}
	cfg := w.cfg
	cfg.Store = none{}
	fresh := approval.New(cfg)
	for _, e := range w.log.entries {
		fresh.Apply(ctx, e)
	}
	if diff := cmp.Diff(want, list(fresh)); diff != "" {
		w.t.Errorf("made from the log alone (-desk +made):\n%s", diff)
	}
}
