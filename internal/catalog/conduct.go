package catalog

import "time"

// Conduct is what the organisation declares of watching its agents: the section `conduct`. Every number
// has a default, so that an organisation that says nothing is watched too. A Conduct is a pure value: the
// same log under the same Conduct gives the same findings and the same trust.
type Conduct struct {
	// Shadow is whether findings and trust are worked out and shown, but decisions and passports go by
	// neutral trust.
	Shadow      bool
	Trust       TrustRules
	Deviation   DeviationRules
	Escalation  EscalationRules
	Performance PerformanceRules
	Compliance  ComplianceRules
	Asking      AskingRules
	// Cooldown is how long a finding of one kind, agent and class takes up its repetitions; 1 h.
	Cooldown time.Duration
	// Keep is how long a finding that nobody judged stays open; 7 days.
	Keep time.Duration
}

// TrustRules say how evidence moves trust. Weights are in units of one clean session.
type TrustRules struct {
	// Prior is what is known of an agent of whom nothing is known: the Beta posterior's alpha and beta
	// in every class; 5 and 1.
	PriorAlpha, PriorBeta float64
	// PriorMost is how much evidence of its purpose's other agents counts for a new agent at most; 4.
	PriorMost float64
	// Quantile is the credible bound that authority follows; 0.05.
	Quantile float64
	// Enter are the scores from which on an agent is trusted low, medium and high; Leave, below them,
	// the scores under which it is no longer: 0.15/0.10, 0.50/0.40, 0.85/0.80.
	Enter, Leave [3]float64
	// GoodHalfLife and BadHalfLife are after how long evidence for and against an agent counts half; 14 and 30 days.
	GoodHalfLife, BadHalfLife time.Duration
	// Severity is the weight against an agent of a finding, low to critical; 0.25, 1, 6, 20. One medium
	// finding leaves an agent of whom nothing is known at level medium, two do not.
	Severity [4]float64
	// Session is what one session can add at most; 1. Daily what a day can add in one class; 4.
	Session, Daily float64
	// Most is what can speak for an agent at most, in one class; 40, which takes two weeks to earn. Trust
	// cannot be hoarded: with 40, one finding of severity high takes an agent from level high by arithmetic alone,
	// and one medium finding every eleven days is the most that an agent can afford there. (gain.most)
	Most float64
	// Right, Wrong, Harmful and Reverted are the weights of outcomes; 0.5, 1, 12, 2.
	Right, Wrong, Harmful, Reverted float64
	// Person, PEP and Operator are how much the word of a reporter counts; 1, 0.5, 0.25. What an agent
	// says of itself counts as its operator's word, and only against it.
	Person, PEP, Operator float64
	// Reporter is the weight, for or against, that one reporter can move in one class of one agent in a
	// day, at most; 3.
	Reporter float64
	// Dwell is how long an agent that was lowered stays at least on low (to rise to medium) and on medium
	// (to rise to high), and on none (to rise to low); 24 h, 72 h and 24 h.
	DwellNone, DwellLow, DwellMedium time.Duration
	// Canary is how many clean acts in the class a step up needs; 10. They must be of several sessions; CanarySessions, 3.
	Canary, CanarySessions int
	// Essential acts are the only ones of an agent at none. Quarantine is whether an agent that falls to
	// none by a critical finding is quarantined; true.
	Quarantine bool
	// Bounds are floors and ceilings, in order: all that match hold, the ceiling over the floor.
	Bounds []TrustBound
}

// A TrustBound keeps the level of agents between two levels. An empty member matches everything.
type TrustBound struct {
	Agent, Purpose, Class string
	Floor, Ceiling        string // none, low, medium, high; "" if there is none
}

// DeviationRules say what is unusual.
type DeviationRules struct {
	Off bool
	// Alpha is how often, of benign calls, one may be called unusual: the bound of the conformal p-value; 0.002.
	Alpha float64
	// Traces is how many sessions of its own an agent must have before its own record speaks; 10.
	Traces int
	// Drift is the threshold of the CUSUM, in standard deviations; 8.
	Drift float64
	// Remember is how long what was seen counts as seen; 30 days.
	Remember time.Duration
}

// EscalationRules say what counts as reaching for more.
type EscalationRules struct {
	Off bool
	// Window is how far back refusals are held together; 15 min.
	Window time.Duration
	// Refusals is how many different things an agent may be refused within Window before it is scope creep; 5.
	Refusals int
	// Probes is how many varied retries around a threshold are probing; 4.
	Probes int
	// Protected are resource types that no agent should act on: its own policies, grants, the registry.
	// By default Agent, Capability, Policy.
	Protected []string
	// Excused are codes of refusals that do not count if the act is within the agent's capabilities: of
	// policies that take powers back when trust is low. By default those of the pack of guardrails.
	Excused []string
}

// PerformanceRules say how well is well enough.
type PerformanceRules struct {
	Off bool
	// Accuracy is the least share of right outcomes; 0.8. Errors the largest share of failed acts; 0.3.
	Accuracy, Errors float64
	// Brier is the largest Brier score of reported confidence; 0.3.
	Brier float64
	// Least is how many outcomes must be known before a share is judged; 10. They are weighed by Person,
	// PEP and Operator.
	Least int
	// Loop is how often the same call of a session is a loop, in a row or within the agent's last dozen
	// calls (which sees no more than 12); 5.
	Loop int
	// Schema is how many calls, about, whose arguments do not fit are too many if not many that fit come
	// between; 3.
	Schema int
	// Drift is the threshold of the CUSUMs of latency, size and faults, in standard deviations; 8.
	Drift float64
	// HalfLife is after how long an outcome counts half; 30 days.
	HalfLife time.Duration
	// Person, PEP and Operator are how much the word of a reporter counts; 1, 0.5, 0.25. An agent's word
	// counts as its operator's, and only against it.
	Person, PEP, Operator float64
	// Reporter and Session are how many outcomes a day, of one reporter and about one session, count in
	// full; 5 and 3. The n-th counts Reporter/n of that, the more than thousandfold nothing, so that
	// whatever is reported moves less than eight times as much.
	Reporter, Session float64
}

// ComplianceRules say what must hold whatever was decided.
type ComplianceRules struct {
	Off bool
	// Receipt is within what time an enforcement point must report the outcome of an allowed act of
	// ReceiptFor (classes), or of any act with obligations if ReceiptObliged; 0 asks for none.
	Receipt        time.Duration
	ReceiptFor     []string
	ReceiptObliged bool
	// Purposes are the business functions that belong to a purpose: a purpose that is listed acts within them.
	Purposes map[string][]string // capability ids
	// Regions: data with one of the labels (or all, if there are none) is used from these countries only.
	Regions []RegionRule
	// Retention: resources of a type are not read later than so long after the time that a property says.
	Retention []RetentionRule
}

// AskingRules say how much asking of persons is too much, and how fast an answer is no answer.
type AskingRules struct {
	Off bool
	// Many is how many asks of an agent within an hour are never too many; 10. Usual is how many times as many as
	// in its usual hours are too many beyond that; 4.
	Many  int
	Usual float64
	// Refused is the share of an agent's asks that, refused by persons, is too large; 0.6.
	Refused float64
	// Fast is the share of a person's answers that, being yes and given faster than the route's Reading, is too large; 0.5.
	Fast float64
	// Least is how many answers must be known before a share is judged; 5. At most 16 are.
	Least int
}

// A RegionRule bounds from where data may be used.
type RegionRule struct {
	Labels        []string
	Jurisdictions []string // of the data; empty means any
	Countries     []string // of the agent's address, ISO 3166-1 alpha-2
}

// A RetentionRule bounds how long data may be used.
type RetentionRule struct {
	Type     string        // AuthZEN resource type
	Property string        // of the resource: an RFC 3339 time or a date
	Keep     time.Duration // after it
}

// DefaultConduct is what holds for an organisation that declares nothing.
func DefaultConduct() Conduct {
	const day = 24 * time.Hour
	return Conduct{
		Trust: TrustRules{
			PriorAlpha: 5, PriorBeta: 1, PriorMost: 4, Quantile: 0.05,
			Enter: [3]float64{0.15, 0.50, 0.85}, Leave: [3]float64{0.10, 0.40, 0.80},
			GoodHalfLife: 14 * day, BadHalfLife: 30 * day,
			Severity: [4]float64{0.25, 1, 6, 20}, Session: 1, Daily: 4, Most: 40,
			Right: 0.5, Wrong: 1, Harmful: 12, Reverted: 2,
			Person: 1, PEP: 0.5, Operator: 0.25, Reporter: 3,
			DwellNone: day, DwellLow: day, DwellMedium: 3 * day,
			Canary: 10, CanarySessions: 3, Quarantine: true,
		},
		Deviation: DeviationRules{Alpha: 0.002, Traces: 10, Drift: 8, Remember: 30 * day},
		Escalation: EscalationRules{
			Window: 15 * time.Minute, Refusals: 5, Probes: 4, Protected: []string{"Agent", "Capability", "Policy"},
			Excused: []string{"beyond-present", "essential-only"},
		},
		Performance: PerformanceRules{
			Accuracy: 0.8, Errors: 0.3, Brier: 0.3, Least: 10, Loop: 5, Schema: 3, Drift: 8, HalfLife: 30 * day,
			Person: 1, PEP: 0.5, Operator: 0.25, Reporter: 5, Session: 3,
		},
		Asking:   AskingRules{Many: 10, Usual: 4, Refused: 0.6, Fast: 0.5, Least: 5},
		Cooldown: time.Hour,
		Keep:     7 * day,
	}
}
