package pdp

// AppendRecord is the form in which decisions are recorded.
func AppendRecord(b []byte, rec *Record) []byte { return rec.append(b, new(agentTexts)) }

// Size is how much room a record is given.
func Size(rec *Record) int { return rec.size() }

// Reported reads the confidence that a context claims.
var Reported = reported
