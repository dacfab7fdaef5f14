package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

// ParseAuthorization, and what else reads bytes of strangers, for fuzzing.
var (
	ParseAuthorization = parseAuthorization
	QueryToken         = queryToken
	ReadMetadata       = readMetadata
)

// ReadIssued reads the answer of a token endpoint.
func ReadIssued(text []byte) (value string, life time.Duration, err error) {
	now := time.Unix(1_800_000_000, 0)
	t, err := readIssued(text, now, false)
	if err != nil {
		return "", 0, err
	}
	return t.value, t.expires.Sub(now), nil
}

// ReadClaims reads claims, and says who acts by them as an authorization server with defaults has it.
func ReadClaims(payload []byte) (who []string, err error) {
	c, err := readClaims(payload)
	if err != nil {
		return nil, err
	}
	s := AuthServer{Subject: ClaimRef{Type: "agent", Claim: "client_id"}, OnBehalf: ClaimRef{Type: "user", Claim: "sub"}}
	subject, behalf, err := s.parties(c)
	if err != nil {
		return nil, err
	}
	who = []string{subject.String()}
	for _, b := range behalf {
		who = append(who, b.String())
	}
	return who, nil
}

// Mounted is what Serve serves.
func (g *Gateway) Mounted(door http.Handler) http.Handler { return g.mount(door) }

// Look looks at the service once.
func (g *Gateway) Look(r *http.Request) { g.health.look(r.Context(), g) }

// ProofMemory remembers proofs as a Verifier does that may remember that many: it reports whether one is fine, was "seen", or
// finds it "full".
func ProofMemory(most int, skew time.Duration) func(caller, id string, issued, now time.Time) string {
	p := new(proofs)
	p.init(most)
	key := &token.Key{ID: "a key"}
	return func(caller, id string, issued, now time.Time) string {
		return [...]string{proofFine: "fine", proofSeen: "seen", proofFull: "full"}[p.accept(&token.Proof{Key: key, ID: id, IssuedAt: issued}, caller, now, skew)]
	}
}

// Listen bounds the connections of l as Serve does.
func Listen(l net.Listener, most, perAddress int, patience time.Duration, log *slog.Logger) net.Listener {
	return &listener{Listener: l, most: most, perAddress: perAddress, patience: patience, log: log}
}

// NotReady returns why no decision can be had.
func (g *Gateway) NotReady() error { return g.notReady() }

// Clip cuts a text off.
var Clip = clip

// Bind takes the addresses of the document, as Start does.
func (g *Gateway) Bind(ctx context.Context) error { return g.bind(ctx) }

// HeapRoom returns how large the room is that is kept while a gateway serves.
func HeapRoom() int { return len(newHeapRoom()) }

// Processors counts the requests of a door, and run goes by it.
func Processors(door http.Handler) (h http.Handler, run func(context.Context) error) {
	p := newProcessors()
	return p.count(door), p.run
}
