package catalog

import "github.com/safeconduct/safeconduct/authz"

// Severities are the severities of alerts and threat indicators, least first.
var Severities = []string{"low", "medium", "high", "critical"}

// Weights say how many points a source of risk adds to the score of a request, and what level a
// score is.
type Weights struct {
	Class       [4]int64 // by authz.DataClass
	UnknownZone int64    // the address is unknown or in none of the declared zones
	Alert       [4]int64 // by index in Severities
	Indicator   [4]int64 // likewise

	Elevated, High, Critical int64 // lowest score of each level
}

// DefaultWeights are those of a catalog that says nothing of risk and declares no networks.
func DefaultWeights() Weights {
	w := Weights{
		Alert:     [4]int64{5, 15, 35, 60},
		Indicator: [4]int64{10, 25, 50, 80},
		Elevated:  25,
		High:      50,
		Critical:  75,
	}
	w.Class[authz.Confidential], w.Class[authz.Restricted] = 10, 20
	return w
}

// defaultUnknownZone is the weight of an address in no zone, if zones are declared.
const defaultUnknownZone = 10

// Level returns the level of a score.
func (w *Weights) Level(score int64) string {
	switch {
	case score >= w.Critical:
		return "critical"
	case score >= w.High:
		return "high"
	case score >= w.Elevated:
		return "elevated"
	}
	return "low"
}
