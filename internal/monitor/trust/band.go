package trust

import (
	"math"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Band is how well trust in one class is known: the score that levels go by, the mean of the posterior, and the bound
// that it is below with the same chance with which it is above the score.
type Band struct{ Score, Mean, Upper float64 }

// Score returns the lower credible bound in a class at a time.
func (s *State) Score(r *catalog.TrustRules, c conduct.Class, at time.Time) float64 {
	s.by(r)
	return s.score(r, min(c, conduct.Admin), minute(at))
}

// Band returns the score in a class at a time with what belongs to it. Nothing is decided by it: it is for people.
func (s *State) Band(r *catalog.TrustRules, c conduct.Class, at time.Time) Band {
	s.by(r)
	c = min(c, conduct.Admin)
	m := minute(at)
	a, b := s.posterior(r, c, m)
	return Band{Score: s.score(r, c, m), Mean: math.Round(a/(a+b)*10_000) / 10_000, Upper: lower(a, b, 1-r.Quantile)}
}
