package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// A keyInfo is a signing key of the server as the API shows it.
type keyInfo struct {
	ID          string          `json:"kid"`
	Use         string          `json:"use"`
	Algorithm   string          `json:"alg"`
	State       string          `json:"state"`
	Source      string          `json:"source"`
	JWK         json.RawMessage `json:"jwk"`
	PublishedAt time.Time       `json:"published_at"`
	NotBefore   time.Time       `json:"not_before"`
	ActiveAt    time.Time       `json:"active_at,omitzero"`
	ActiveUntil time.Time       `json:"active_until,omitzero"`
	VerifyUntil time.Time       `json:"verify_until,omitzero"`
	RetiredAt   time.Time       `json:"retired_at,omitzero"`
	PastAt      time.Time       `json:"historical_at,omitzero"`
	RevokedAt   time.Time       `json:"revoked_at,omitzero"`
	Why         string          `json:"why,omitempty"`
	Published   int64           `json:"published"`
	Activated   int64           `json:"activated,omitempty"`
	Retired     int64           `json:"retired,omitempty"`
	Historical  int64           `json:"historical,omitempty"`
	Revoked     int64           `json:"revoked,omitempty"`
	AsOf        int64           `json:"as_of"`
	Signs       bool            `json:"signs"`
}

// next says until when the key stays as it is, or since when.
func (k *keyInfo) next() string {
	switch k.State {
	case "published":
		return "from " + when(k.NotBefore)
	case "active":
		return "until " + when(k.ActiveUntil)
	case "verify-only":
		return "until " + when(k.VerifyUntil)
	case "revoked":
		return "since " + when(k.RevokedAt) + ": " + clip(k.Why, 60)
	}
	if k.ActiveAt.IsZero() {
		return "never signed"
	}
	return "signed " + when(k.ActiveAt) + " to " + when(k.ActiveUntil)
}

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "See, rotate and revoke the server's own signing keys",
		Long: `See, rotate and revoke the keys with which the server signs passports and status lists. They are made
and rotated by themselves: each is published before it signs, signs for a bounded period, and is kept
for verifying what it signed.

The key that signs the log's checkpoints is not one of them, and the keys of agents are not either:
see ` + "`safeconduct agent keys`" + `.`,
		Example: `  $ safeconduct keys revoke n0NY93k_XFLFrN84hLCjO1gDNiXbTbV2CfyL4zPbFX8 --why "found in a backup"`,
	}
	c.AddCommand(newKeysList(), newKeysRotate(), newKeysRevoke())
	return c
}

func newKeysList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the signing keys",
		Long: `List the signing keys in the order of their publication. A key goes from published over active and
verify-only to historical; or it is revoked.

Without --all, those that are history are left out. With --json each key is shown whole: the public
key, every date, and the entries of the log that moved it.`,
		Example: `  $ safeconduct keys list
  KEY                                          USE    ALG    STATE   WHERE     WHEN
  n0NY93k_XFLFrN84hLCjO1gDNiXbTbV2CfyL4zPbFX8  token  EdDSA  active  software  until 2026-12-23 16:00:00Z`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	everything := c.Flags().Bool("all", false, "also those that are history")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var all list[keyInfo]
		if err := api.call(c.Context(), "GET", "/v1/keys", nil, &all); err != nil {
			return err
		}
		keys := make([]keyInfo, 0, len(all.Items))
		for _, k := range all.Items {
			if *everything || k.State != "historical" {
				keys = append(keys, k)
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), keys)
		}
		t := newTable("KEY", "USE", "ALG", "STATE", "WHERE", "WHEN")
		for _, k := range keys {
			t.add(clip(k.ID, 64), clip(k.Use, 20), clip(k.Algorithm, 20), clip(k.State, 20), clip(k.Source, 60), k.next())
		}
		if err := t.print(c.OutOrStdout(), "There are no signing keys."); err != nil {
			return err
		}
		for _, k := range keys {
			if k.State == "active" && !k.Signs {
				fmt.Fprintf(c.ErrOrStderr(), "key %s cannot be used by the process that answered: see docs/keys.md\n", clip(k.ID, 64))
			}
		}
		return nil
	}
	return c
}

func newKeysRotate() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Begin the rotation of signing keys now",
		Long: `Publish the next signing keys now, instead of a while before the present ones end. They become active
after the usual time, when all verifiers know them. Where the next key is published already, nothing
is changed.

With --now they become active at once. Verifiers that keep a copy of the key set will meet passports
by a key that they do not know yet, and must fetch the set again. A key that leaked is not rotated but
revoked: what it signed would still count.`,
		Example: `  $ safeconduct keys rotate --use token --why "moving into the HSM"
  n0NY93k_XFLFrN84hLCjO1gDNiXbTbV2CfyL4zPbFX8 (token, EdDSA) is published, signs from 2026-11-24 16:00:00Z`,
		Args: cobra.NoArgs,
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	use := c.Flags().String("use", "", "`USE`: token or status; all keys without it")
	now := c.Flags().Bool("now", false, "sign with the new keys at once")
	_ = c.RegisterFlagCompletionFunc("use", cobra.FixedCompletions([]string{"token", "status"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		in := map[string]any{"why": *why, "at_once": *now}
		if *use != "" {
			in["use"] = *use
		}
		var keys list[keyInfo]
		if err := api.call(c.Context(), "POST", "/v1/keys/rotate", in, &keys); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), keys.Items)
		}
		for _, k := range keys.Items {
			if _, err := fmt.Fprintf(c.OutOrStdout(), "%s (%s, %s) is %s, signs %s\n", clip(k.ID, 64), clip(k.Use, 20), clip(k.Algorithm, 20), clip(k.State, 20), k.next()); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func newKeysRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke KEY",
		Short: "Revoke a signing key at once and for good",
		Long: `Revoke a signing key. When the command returns, the key has left this replica's key set, and the other
replicas drop it as soon as they have read the entry: nothing that it signed counts any more. Agents
that hold passports by it ask for new ones. If the key was active, another takes its place at once.

There is no way back. Verifiers elsewhere trust the key as long as they keep their copy of the key set;
docs/keys.md says what to do when a key leaks.`,
		Example: `  $ safeconduct keys revoke n0NY93k_XFLFrN84hLCjO1gDNiXbTbV2CfyL4zPbFX8 --why "found in a backup"
  n0NY93k_XFLFrN84hLCjO1gDNiXbTbV2CfyL4zPbFX8 (token, EdDSA) is revoked`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var k keyInfo
		if err := api.call(c.Context(), "POST", "/v1/keys/"+segment(args[0])+"/revoke", map[string]string{"why": *why}, &k); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct keys list --all` shows the keys")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), k)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s, %s) is revoked\n", clip(k.ID, 64), clip(k.Use, 20), clip(k.Algorithm, 20))
		return err
	}
	return c
}
