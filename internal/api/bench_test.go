package api_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// The door's own work for one evaluation, without net/http and without the PDP.
func BenchmarkEvaluation(b *testing.B) {
	d := openDoor(b)
	answer := authz.Decision{Seq: 123456, Effect: authz.Allow, Code: authz.CodeAllowed}
	d.pdp.answer = func(authz.Request) (authz.Decision, error) {
		d.pdp.asked = d.pdp.asked[:0]
		return answer, nil
	}
	body := []byte(`{"subject":{"type":"agent","id":"invoice-bot"},"action":{"name":"pay_invoice","properties":{"amount":"120.50","currency":"EUR"}},` +
		`"resource":{"type":"invoice","id":"2026-114","properties":{"status":"open"}},` +
		`"context":{"confidence":0.93,"observed":{"ip":"10.1.2.3","session":"s-81723","provenance":{"prompt":["amount"],"untrusted":["iban"]}}}}`)
	reader := bytes.NewReader(nil)
	r, err := http.NewRequest("POST", "/access/v1/evaluation", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer pep-token")
	r.Header.Set("Content-Type", "application/json")
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	w := &discard{header: http.Header{}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		d.handler.ServeHTTP(w, r)
	}
}
