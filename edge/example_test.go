package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
)

// A program that has acts of agents decided inside it. The control plane tells it what to decide by; the journal keeps what was
// decided until the control plane has it.
func ExamplePoint() {
	point, err := edge.New(edge.Config{
		URL: "https://pdp.example.com", Token: os.Getenv("SAFECONDUCT_EDGE_TOKEN"), Journal: "/var/lib/erp/journal",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- point.Run(ctx) }()
	select {
	case <-point.Ready():
	case err := <-ended: // another process has the journal, or it is damaged
		log.Fatal(err)
	}

	enforcer := &client.Enforcer{Guard: &client.Guard{Decider: point}, Handlers: client.BuiltIn(slog.Default())}
	done, err := enforcer.Do(ctx, authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "invoice-bot"}},
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "120.00"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
	}, client.Act{Do: func(ctx context.Context) (json.RawMessage, error) { return json.RawMessage(`"paid"`), nil }})
	fmt.Println(done, err) // a *client.RefusedError says why it did not happen
}

// What a health page may show.
func ExamplePoint_Status() {
	var point *edge.Point // as New has made it
	s := point.Status()
	switch {
	case s.Err != nil:
		fmt.Println("refuses:", s.Err)
	case !s.Connected:
		fmt.Println("decides without the control plane since", time.Since(s.Heard))
	default:
		fmt.Println("decides by version", s.Version, "as of entry", s.Seq, "-", s.Pending, "records to be sent")
	}
	if errors.Is(s.Upload, authz.ErrForbidden) {
		fmt.Println("the token may not send:", s.Upload)
	}
}
