package main

import (
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	const stream = `
{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"run","Package":"a","Test":"TestX/one"}
{"Action":"output","Package":"a","Test":"TestX/one","Output":"x_test.go:3: got 1\n"}
{"Action":"fail","Package":"a","Test":"TestX/one"}
{"Action":"fail","Package":"a","Test":"TestX"}
{"Action":"run","Package":"a","Test":"TestY"}
{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"run","Package":"a","Test":"TestZ"}
{"Action":"skip","Package":"a","Test":"TestZ"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t0.1s\n"}
{"Action":"fail","Package":"a"}
{"ImportPath":"b [b.test]","Action":"build-output","Output":"b.go:1:1: no such thing\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb [build failed]\n"}
{"Action":"fail","Package":"b","FailedBuild":"b [b.test]"}
{"Action":"run","Package":"c","Test":"TestDies"}
{"Action":"output","Package":"c","Test":"TestDies","Output":"panic: oh\n"}
{"Action":"output","Package":"c","Output":"FAIL\tc\t0.1s\n"}
{"Action":"fail","Package":"c"}
{"Action":"output","Package":"d","Output":"?   \td\t[no test files]\n"}
{"Action":"skip","Package":"d"}
{"Action":"output","Package":"e","Output":"ok  \te\t(cached)\n"}
{"Action":"pass","Package":"e"}
{"Action":"run","Package":"f","Test":"TestCutOff"}
go: something is wrong`
	c, err := count(strings.NewReader(strings.TrimPrefix(stream, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	// Failed: TestX, TestX/one, the build of b, TestDies, TestCutOff, the go command's complaint.
	if c.passed != 1 || c.failed != 6 || c.skipped != 1 {
		t.Errorf("passed %d, failed %d, skipped %d; want 1, 6, 1", c.passed, c.failed, c.skipped)
	}
	var b strings.Builder
	c.report(&b)
	got := b.String()
	for _, want := range []string{"x_test.go:3: got 1\n", "no such thing", "panic: oh", "go: something is wrong"} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
	const end = "FAIL\ta\t0.1s\nFAIL\tb [build failed]\nFAIL\tc\t0.1s\nok  \te\t(cached)\n1 skipped\n1 passed, 6 failed\n"
	if !strings.HasSuffix(got, end) {
		t.Errorf("the report ends with\n%s\nwant\n%s", got, end)
	}
}
