package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/token"
)

func newTokenGet() *cobra.Command {
	c := &cobra.Command{
		Use:   "get [METHOD URL]",
		Short: "Get a token and print it",
		Long: `Get a token as this agent and print it on standard output, alone in its line. What was granted, which
may be less than was asked for, is said on standard error. The token is bound to the agent's key: it
is of no use without a proof, made anew for each request.

With --dpop-proof METHOD URL both are printed, as the two header lines of that one request; curl
takes them with -H @-. A server that wants a nonce says it in the header DPoP-Nonce of its answer, for
--nonce. With --exchange the agent gets a token by which it acts for the subject of another token,
which must name it as its --may-act.`,
		Example: `  $ safeconduct token get --key orders-7.key --scope read-orders --resource https://shop.example.com > t
  DPoP token for read-orders until 2026-11-27 07:05:00Z
  $ safeconduct token get --key orders-7.key --resource https://shop.example.com \
        --dpop-proof GET https://shop.example.com/orders/12 | curl -H @- https://shop.example.com/orders/12`,
		Args: cobra.MaximumNArgs(2),
	}
	asJSON, who := jsonFlag(c), identityFlags(c)
	f := c.Flags()
	scope := f.StringSlice("scope", nil, "`CAPABILITY` that the token shall carry; may be repeated (default: what the server gives)")
	resources := f.StringArray("resource", nil, "`URL` of the resource server that the token is for; repeat it for a gateway and a server behind it")
	details := f.String("details", "", "`FILE` with authorization_details as JSON; - is standard input")
	exchange := f.String("exchange", "", "`FILE` with the token of whom the agent acts for; - is standard input")
	mayAct := f.String("may-act", "", "`AGENT` that may exchange the token and act for this one")
	algorithm := f.String("token-algorithm", "", "of the token's signature: EdDSA or ES256 (default: the server's choice)")
	prove := f.Bool("dpop-proof", false, "print the headers of one request, by that METHOD to that URL")
	nonce := f.String("nonce", "", "`NONCE` of the resource server, for --dpop-proof")
	_ = c.MarkFlagFilename("details", "json")
	_ = c.MarkFlagFilename("exchange")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *prove != (len(args) == 2) || len(args) == 1 {
			return usageError{hinted(errors.New("--dpop-proof, a METHOD and a URL go together"), "write --dpop-proof GET https://shop.example.com/orders/12")}
		}
		r := client.TokenRequest{Resources: *resources, MayAct: authz.AgentID(*mayAct), Algorithm: *algorithm}
		for _, s := range *scope {
			r.Scope = append(r.Scope, strings.Fields(s)...)
		}
		var err error
		if *details != "" {
			if r.Details, err = readDetails(c, *details); err != nil {
				return err
			}
		}
		a, err := who.open()
		if err != nil {
			return err
		}
		var t *client.Token
		if *exchange != "" {
			var subject string
			if subject, err = readToken(c, []string{*exchange}); err != nil {
				return err
			}
			t, err = a.Exchange(c.Context(), subject, r)
		} else {
			t, err = a.Token(c.Context(), r)
		}
		if err != nil {
			return agentHint(err)
		}
		proof := ""
		if *prove {
			if proof, err = t.Proof(args[0], args[1], *nonce); err != nil {
				return err
			}
		}
		return printToken(c, t, proof, *asJSON)
	}
	return c
}

func readDetails(c *cobra.Command, name string) ([]authz.Detail, error) {
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the details: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the details: %w", err)
	}
	details, err := token.ParseDetails(text)
	if err != nil {
		return nil, hinted(fmt.Errorf("reading %s: %w", name, err), `details look like [{"type": "capability", "identifier": "pay", "limits": {"amount": {"amount": "100"}}}]`)
	}
	return details, nil
}

// A gotten is a token as get prints it in JSON, in the words of RFC 6749.
type gotten struct {
	AccessToken string           `json:"access_token"`
	Type        string           `json:"token_type"`
	ExpiresAt   time.Time        `json:"expires_at"`
	Scope       string           `json:"scope"`
	Details     []authz.Detail   `json:"authorization_details,omitempty"`
	Refused     []client.Refusal `json:"refused,omitempty"`
	Proof       string           `json:"dpop_proof,omitempty"`
}

func printToken(c *cobra.Command, t *client.Token, proof string, asJSON bool) error {
	w := c.OutOrStdout()
	if asJSON {
		return writeJSON(w, gotten{t.Value, t.Type, t.ExpiresAt.UTC().Truncate(time.Second), strings.Join(t.Scope, " "), t.Details, t.Refused, proof})
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s token for %s until %s\n", t.Type, clip(strings.Join(t.Scope, " "), 300), when(t.ExpiresAt))
	for i := range t.Details {
		if limits := limitsOf(&t.Details[i]); limits != "" {
			fmt.Fprintf(c.ErrOrStderr(), "  %s: %s\n", clip(t.Details[i].Identifier, 80), clip(limits, 300))
		}
	}
	for _, r := range t.Refused {
		fmt.Fprintf(c.ErrOrStderr(), "  without %s: %s (%s)\n", clip(r.Capability, 80), clip(r.Message, 300), clip(r.Code, 80))
	}
	if proof != "" {
		_, err := fmt.Fprintf(w, "Authorization: %s %s\nDPoP: %s\n", t.Type, t.Value, proof)
		return err
	}
	_, err := fmt.Fprintln(w, t.Value)
	return err
}

// limitsOf says how far a capability goes, "" if as far as the catalog says.
func limitsOf(d *authz.Detail) string {
	narrowed := struct {
		Actions   []string      `json:"actions,omitempty"`
		Locations []string      `json:"locations,omitempty"`
		Limits    *authz.Limits `json:"limits,omitempty"`
	}{d.Actions, d.Locations, d.Limits}
	text, err := json.Marshal(narrowed)
	if err != nil || string(text) == "{}" {
		return ""
	}
	return string(text)
}
