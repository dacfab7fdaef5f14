package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/token"
)

func newTokenShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show what a token says, without verifying it",
		Long: `Show what a token says of itself. It is read from the file, or from standard input. Nothing is
verified and nobody is asked: anybody can write such a thing, and the command says so.

Verify it with ` + "`safeconduct token verify`" + `; what is true of it now ` + "`safeconduct token introspect`" + ` knows.`,
		Example: `  $ safeconduct token get --key orders-7.key | safeconduct token show
  not verified: this is what the token says of itself
  agent      orders-7
  issuer     https://pdp.example.com
  audience   https://pdp.example.com
  carries    read-orders
  issued     2026-11-27 07:00:00Z
  expires    2026-11-27 07:05:00Z (in 4m59s)
  bound to   dpop qk7ICvD1qXGi4fVnN3uq7mXlOe8m3n2x0vJxQhT5Q1E
  trust      high
  conduct    high, 212 decisions in 30d, 3 denied, as of entry 90412
  id         8Qy1lA3fS0y1Jk2n7pXw9A
  signed     EdDSA, key 6u2t0kW2ygQ5cS5DkOq4uF1zvTQpJx0tq3o8wVdYhZI`,
		Args: cobra.MaximumNArgs(1),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readToken(c, args)
		if err != nil {
			return err
		}
		j, err := token.Parse(text)
		if err != nil {
			return hinted(err, "a token has three parts with dots between them and begins with eyJ")
		}
		fmt.Fprintln(c.ErrOrStderr(), "not verified: this is what the token says of itself")
		return printJWS(c, j, false, *asJSON)
	}
	return c
}

// A shownToken is a token as show and verify print it in JSON.
type shownToken struct {
	Verified bool            `json:"verified"`
	Reason   string          `json:"reason,omitempty"` // why it is not valid
	Header   shownHeader     `json:"header"`
	Payload  json.RawMessage `json:"payload"`
}

type shownHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ,omitempty"`
	KeyID     string `json:"kid,omitempty"`
}

func printJWS(c *cobra.Command, j *token.JWS, verified, asJSON bool) error {
	w := c.OutOrStdout()
	if asJSON {
		return writeJSON(w, shownToken{Verified: verified, Header: shownHeader{j.Algorithm, j.Type, j.KeyID}, Payload: j.Payload})
	}
	p, err := token.ParsePassport(j.Payload)
	if err != nil || !j.Is(token.PassportType) { // something else that is signed
		fmt.Fprintf(w, "type       %s\n", clip(j.Type, 80))
		fmt.Fprintf(w, "claims     %s\n", clip(string(j.Payload), token.MaxToken))
		_, err := fmt.Fprintf(w, "signed     %s\n", signedBy(j))
		return err
	}
	return printPassport(w, p, signedBy(j), time.Now())
}

func signedBy(j *token.JWS) string {
	if j.KeyID == "" {
		return j.Algorithm
	}
	return j.Algorithm + ", key " + clip(j.KeyID, 100)
}

// printPassport prints one line for each thing that a passport says.
func printPassport(w io.Writer, p *token.Passport, signed string, now time.Time) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, clip(text, 500))
		}
	}
	chain := []string{p.Subject}
	for a := p.Actor; a != nil; a = a.Actor {
		chain = slices.Insert(chain, len(chain)-1, a.Subject)
	}
	line("agent", "%s", chain[0])
	line("acts for", "%s", strings.Join(chain[1:], ", for "))
	if p.ClientID != chain[0] {
		line("client", "%s", p.ClientID)
	}
	line("issuer", "%s", p.Issuer)
	line("audience", "%s", strings.Join(p.Audience, ", "))
	line("carries", "%s", strings.Join(p.Scope, ", "))
	for i := range p.Details {
		if limits := limitsOf(&p.Details[i]); limits != "" {
			line("limits", "%s: %s", p.Details[i].Identifier, limits)
		}
	}
	line("issued", "%s", when(p.IssuedAt))
	if left := p.Expires.Sub(now); left > 0 {
		line("expires", "%s (in %s)", when(p.Expires), left.Round(time.Second))
	} else {
		line("expired", "%s (%s ago)", when(p.Expires), (-left).Round(time.Second))
	}
	switch c := &p.Confirmation; {
	case c.JKT != "":
		line("bound to", "dpop %s", c.JKT)
	case c.X5TS256 != "":
		line("bound to", "certificate %s", c.X5TS256)
	default:
		line("bound to", "nothing: whoever has it can use it")
	}
	if p.MayAct != nil {
		line("may act", "%s", p.MayAct.Subject)
	}
	if level, ok := strings.CutPrefix(p.ACR, "urn:safeconduct:trust:"); ok {
		line("trust", "%s", level)
	} else { // a level of assurance; trust is in the conduct
		line("level", "%s", p.ACR)
	}
	line("person by", "%s", strings.Join(p.AMR, ", "))
	if d := p.Conduct; d != nil {
		line("conduct", "%s, %d decisions in %s, %d denied, as of entry %d", d.Level, d.Decisions, d.Window, d.Denied, d.AsOf)
	}
	line("id", "%s", p.ID)
	line("signed", "%s", signed)
	_, err := io.WriteString(w, b.String())
	return err
}
