package trust_test

import (
	"bytes"
	"testing"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// FuzzRead: whatever is read as a state can be used, and is written as it was read.
func FuzzRead(f *testing.F) {
	l := begin(defaults())
	f.Add(l.s.Append(nil))
	l.work(conduct.Write, 14, 4)
	l.find(conduct.Every, conduct.Critical, "s")
	l.tell(conduct.Write, conduct.ReporterPerson, "admin:ada", conduct.ResultHarmful, "s")
	l.s.Override(l.r, &trust.Override{Level: "low", Author: "admin:ada", Why: "a drill", Expires: l.now.Add(day)}, conduct.Money, 9, l.now)
	f.Add(l.s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := begin(defaults())
		if err := l.s.Read(conduct.NewReader(b)); err != nil {
			return
		}
		kept := l.s.Append(nil)
		again := new(trust.State)
		if err := again.Read(conduct.NewReader(kept)); err != nil {
			t.Fatalf("reading what was written: %v", err)
		}
		if got := again.Append(nil); !bytes.Equal(got, kept) {
			t.Fatalf("written\n%x, and again\n%x", kept, got)
		}
		for c := range conduct.Class(conduct.Classes) {
			l.standing(c)
			l.good(c, "s")
			l.find(c, conduct.High, "s")
			l.tell(c, conduct.ReporterPEP, "pep:gate", conduct.ResultWrong, "s")
		}
		l.level(conduct.Every)
	})
}

// FuzzReadPool likewise.
func FuzzReadPool(f *testing.F) {
	l := begin(defaults())
	l.work(conduct.Write, 3, 4)
	f.Add(l.p.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(trust.Pool)
		if p.Read(conduct.NewReader(b)) != nil {
			return
		}
		kept := p.Append(nil)
		again := new(trust.Pool)
		if err := again.Read(conduct.NewReader(kept)); err != nil || !bytes.Equal(again.Append(nil), kept) {
			t.Fatalf("written %x, and again %x, %v", kept, again.Append(nil), err)
		}
		trust.Start(defaults(), p.Prior(defaults(), monday), unknown, monday)
	})
}
