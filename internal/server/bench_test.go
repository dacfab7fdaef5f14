package server_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// Decisions through HTTP on loopback, recorded durably, from 16 connections that stay open. CPU is
// that of the whole process, client included.
func BenchmarkDecide(b *testing.B) {
	cfg := load(b, "")
	cfg.Organisation.Catalog, cfg.Organisation.Schema = testdata("search", "catalog.yaml"), testdata("search", "schema.cedarschema")
	cfg.Organisation.Policies = []string{testdata("search", "policies.cedar")}
	s := start(b, cfg)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
	}
	url := s.URL() + "/access/v1/evaluation"
	b.SetParallelism(8)
	before := cpu()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest("POST", url, strings.NewReader(view))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+pepToken)
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	b.ReportMetric((cpu()-before)/float64(b.N), "cpu-µs/op")
}
