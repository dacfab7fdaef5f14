package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func TestStream(t *testing.T) {
	enough := errors.New("enough")
	for _, tt := range []struct {
		name, body string
		status     int
		want       []client.Event
		err        error
	}{
		{"events", "retry: 3000\nid: 7\nevent: start\ndata: {\"seq\":7}\n\n:\n\nid: 9\nevent: trust\ndata: {\"a\":\ndata: 1}\n\n", 200,
			[]client.Event{{ID: "7", Type: "start", Data: []byte(`{"seq":7}`)}, {ID: "9", Type: "trust", Data: []byte("{\"a\":\n1}")}}, authz.ErrUnavailable},
		{"one that is not whole", "id: 9\nevent: trust\ndata: {}", 200, nil, authz.ErrUnavailable},
		{"one without data", "id: 9\nevent: trust\n\n", 200, nil, authz.ErrUnavailable},
		{"one without a space", "data:{}\n\n", 200, []client.Event{{Data: []byte("{}")}}, authz.ErrUnavailable},
		{"a line without an end", "data: " + strings.Repeat("x", 2<<20), 200, nil, authz.ErrUnavailable},
		{"an event without an end", strings.Repeat("data: "+strings.Repeat("x", 1<<16)+"\n", 32), 200, nil, authz.ErrUnavailable},
		{"a refusal", `{"error":{"code":"forbidden","message":"no","request_id":"r"}}`, 403, nil, authz.ErrForbidden},
		{"a reader that has enough", "data: {}\n\nid: 2\ndata: {}\n\n", 200, []client.Event{{Data: []byte("{}")}}, enough},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.String() != "/v1/stream?type=trust" || r.Header.Get("Authorization") != "Bearer t" {
				t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		c, err := client.New(s.URL, "t")
		if err != nil {
			t.Fatal(err)
		}
		var got []client.Event
		err = c.Stream(t.Context(), "/v1/stream?type=trust", func(e client.Event) error {
			if got = append(got, e); tt.err == enough {
				return enough
			}
			return nil
		})
		if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", tt.name, err, tt.err, diff)
		}
		s.Close()
	}
}

// A stream ends with its context, however quiet it is.
func TestStreamEnds(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Stream(ctx, "/v1/stream", func(client.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Stream = %v, want context.Canceled", err)
	}
}

// A stream without even heartbeats is given up.
func TestStreamSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("https://pdp.example.com", "t")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP = &http.Client{Timeout: time.Second, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			body, w := io.Pipe()
			context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
			go func() {
				for range 3 {
					time.Sleep(40 * time.Second)
					fmt.Fprint(w, ":\n\n")
				}
			}()
			return &http.Response{StatusCode: 200, Body: body}, nil
		})}
		start := time.Now()
		err = c.Stream(t.Context(), "/v1/stream", func(client.Event) error { return nil })
		if took := time.Since(start); !errors.Is(err, authz.ErrUnavailable) || took != 165*time.Second {
			t.Errorf("Stream = %v after %s, want authz.ErrUnavailable after 2m45s", err, took)
		}
	})
}

// Whatever a stream says, it is bounded, and ends.
func FuzzStream(f *testing.F) {
	for _, s := range []string{"data: {}\n\n", ":\n\n", "id: 1\nevent: x\ndata\ndata: a\n\n", "data: a\r\n\r\n", "\n\n\n", "data:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, err := client.New("https://pdp.example.com", "t")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}, nil
		})}
		told := 0
		err = c.Stream(t.Context(), "/v1/stream", func(e client.Event) error {
			if told += len(e.ID) + len(e.Type) + len(e.Data); e.Data == nil {
				t.Error("an event without data is told")
			}
			return nil
		})
		if !errors.Is(err, authz.ErrUnavailable) || told > len(body) {
			t.Errorf("Stream(%q) = %v after %d bytes, want authz.ErrUnavailable and no more than there are", body, err, told)
		}
	})
}
