package policy_test

import (
	"fmt"
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// benchSource returns 20 policies for each of some kinds of resources.
func benchSource(kinds int) policy.Source {
	src := policy.Source{Schema: benchSchema(kinds)}
	for k := range kinds {
		src.Files = append(src.Files, policy.File{Name: fmt.Sprintf("kind%d.cedar", k), Text: benchPolicies(k)})
	}
	return src
}

func BenchmarkCompile(b *testing.B) {
	for _, kinds := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("policies=%d", kinds*20), func(b *testing.B) {
			src := benchSource(kinds)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Compile(src, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
