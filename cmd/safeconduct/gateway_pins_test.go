package main

import (
	"strings"
	"testing"
)

// What nobody would see in a difference is written so that they do.
func TestReadable(t *testing.T) {
	for _, c := range []string{"\ufe00", "\ufe0f", "\u00ad", "\u034f", "\u061c", "\u115f", "\u180e", "\u3164", "\uffa0", "\u2800", "\U000e0041", "\U000e0101", "\u200b", "\u202e", "\u00a0", "\u2003", "\x1b", "\x7f", "\u0085", "\ufeff", "\ufff9"} {
		if out := string(readable([]byte(`{"d":"a` + c + `b"}`))); strings.Contains(out, c) {
			t.Errorf("%+q is shown as it is: %q", c, out)
		}
	}
	const seen = "Bücher, 本, e\u0301, 😀"
	if out := string(readable([]byte(`{"d":"` + seen + `"}`))); !strings.Contains(out, seen) {
		t.Errorf("%q is shown as %q", seen, out)
	}
}
