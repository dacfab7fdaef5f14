package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/safeconduct/safeconduct/client"
)

// report says something of an enforcement point by the client: report TOKENFILE JSON.
func report(ts *testscript.TestScript, neg bool, args []string) {
	s, ok := services.Load(ts)
	if neg || len(args) != 2 || !ok {
		ts.Fatalf("usage: report TOKENFILE JSON, while a service runs")
	}
	c, err := client.New(s.(*service).URL, strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	var r client.EnforcementReport
	ts.Check(json.Unmarshal([]byte(args[1]), &r))
	ts.Check(c.Report(context.Background(), r))
}
