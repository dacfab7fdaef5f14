package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/token"
)

// Digest is what a passkey assertion is made over: SHA-256 of the ask's acts, the answer, its scope and the
// number of the view, in a form that docs/log-format.md tells. items are indexes of acts; none means all of
// the ask. Indexes that the ask does not have, and acts that cannot be bound, which no desk takes, are in it
// as nothing.
func Digest(a *Ask, yes bool, items []int, s Scope, view int64) [32]byte {
	return digest(a, yes, "", items, s, view)
}

// GlassDigest is what a passkey assertion is made over by whoever breaks the glass for a reason: a yes to all
// of the ask, with a line that no other answer has. So neither stands for the other, nor for another reason.
func GlassDigest(a *Ask, reason string, view int64) [32]byte {
	sum := sha256.Sum256([]byte(reason))
	return digest(a, true, "break_glass "+hex.EncodeToString(sum[:])+"\n", nil, Scope{}, view)
}

// digest returns SHA-256 of the text of an answer; glass is its line that the glass is broken, if it is.
func digest(a *Ask, yes bool, glass string, items []int, s Scope, view int64) [32]byte {
	var b bytes.Buffer
	answer, until := "no", "-"
	if yes {
		answer = "yes"
	}
	if !s.Until.IsZero() {
		until = s.Until.UTC().Format(time.RFC3339Nano)
	}
	fmt.Fprintf(&b, "safeconduct-answer/1\nask %s\nview %d\nanswer %s\n%suses %d\nuntil %s\nclass %t\narguments %t\n",
		a.ID, view, answer, glass, s.limit(), until, s.Class, s.Arguments)
	for _, name := range slices.Sorted(maps.Keys(s.Amounts)) {
		fmt.Fprintf(&b, "amount %s %s\n", quote(name), quote(s.Amounts[name]))
	}
	for _, r := range a.Bound.OnBehalf {
		fmt.Fprintf(&b, "behalf %s %s\n", quote(r.Type), quote(r.ID))
	}
	if a.Person != "" {
		fmt.Fprintf(&b, "person %s\n", quote(a.Person))
	}
	if a.Message != "" {
		fmt.Fprintf(&b, "message %s\n", quote(a.Message))
	}
	if len(a.Details) > 0 {
		var compact bytes.Buffer
		json.Compact(&compact, a.Details) // which desks have checked
		sum := sha256.Sum256(compact.Bytes())
		fmt.Fprintf(&b, "details %s\n", hex.EncodeToString(sum[:]))
	}
	if len(items) == 0 {
		items = make([]int, len(a.Items))
		for i := range items {
			items[i] = i
		}
	}
	for _, i := range items {
		act := ""
		if i >= 0 && i < len(a.Items) {
			it := &a.Items[i]
			act, _ = token.BindingHash(a.Bound.Subject, it.Action, it.Resource, a.Bound.Context, a.Bound.Members)
		}
		fmt.Fprintf(&b, "act %d %s\n", i, act)
	}
	return sha256.Sum256(b.Bytes())
}

// quote returns text as a JSON string, in the form of RFC 8785.
func quote(s string) string {
	q, err := jsontext.AppendQuote(nil, s)
	if err != nil { // not UTF-8, which no desk takes
		return `""`
	}
	return string(q)
}
