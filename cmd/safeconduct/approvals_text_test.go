package main

import "testing"

// What an agent wrote stays between its quotation marks, and all of it shows.
func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"invoice 7":                `"invoice 7"`,
		"a\u200b\u202e\U000e0041b": `"a\u200b\u202e\U000e0041b"`,
		"ok\nstatus approved":      `"ok\nstatus approved"`,
		"say \"yes\" \\":           `"say \"yes\" \\"`,
		"\x1b[2J\ufe0f\u3164":      `"\u001b[2J\ufe0f\u3164"`,
	} {
		if got := quote(in, 100); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
