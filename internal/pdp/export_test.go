package pdp

// AppendRecord is the form in which decisions are recorded.
func AppendRecord(b []byte, rec *Record) []byte { return rec.append(b) }
