package trust

// Lower and Fade are what scores are made of; MaxCauses is how much is listed.
var (
	Lower = lower
	Fade  = fade
)

const MaxCauses = maxCauses
