package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/client"
)

// Trailers tell of the body as it was: where that is changed they are not shown, neither as trailers nor as fields.
func TestHeldResponsesHaveNoTrailers(t *testing.T) {
	e := before(judges(allows("d1", maskDuty("iban"))))
	s := httptest.NewUnstartedServer(e.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Kept", "yes")
		w.Header().Set("Trailer", "X-Early, X-Declared")
		w.Header().Set("X-Early", "DE0")
		w.Header().Set(http.TrailerPrefix+"X-Before", "DE1")
		io.WriteString(w, `{"iban":"DE1"}`)
		w.Header().Set("X-Declared", "DE2")
		w.Header().Set("X-Late", "DE2")
		w.Header().Set(http.TrailerPrefix+"X-Iban", "DE3") // as httputil.ReverseProxy passes trailers on
	}), asksFor, client.HandlerOptions{}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != `{"iban":"***"}` || resp.ProtoMajor != 2 {
		t.Fatalf("body %s, %v, over %s", body, err, resp.Proto)
	}
	resp.Header.Del("Date")
	want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"14"}, "X-Kept": {"yes"}}
	if diff := cmp.Diff(want, resp.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if len(resp.Trailer) > 0 {
		t.Errorf("trailers: %v", resp.Trailer)
	}
}
