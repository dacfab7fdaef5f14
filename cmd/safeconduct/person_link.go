package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newPersonLink() *cobra.Command {
	c := &cobra.Command{
		Use:   "link PERSON",
		Short: "Let a person sign in once: print a link that is good for minutes",
		Long: `Make a link and print it on standard output, alone in its line. Whoever opens it in a browser and agrees
there is signed in as the person, once, until it expires (--ttl). It is for the first sign-in and for who
has lost a passkey. The service keeps a hash of it and cannot show it again; another link takes the
place of one that is not used yet.

A session that began with a link answers no ask that wants a passkey. Whoever holds the link can be
the person: hand it over as you would a password.`,
		Example: `  $ safeconduct person link anna --why "first sign-in" > anna.link
  anna can sign in once until 2026-11-27 16:10:00Z; the link is shown only now
  $ cat anna.link
  https://safeconduct.example.com/sign-in/link?token=sc_link_0mJ3WQ1c2v5rQ8Yt6Zb4nE7uK9xLpDsFaGhJkTyUiOP`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	ttl := c.Flags().Duration("ttl", 10*time.Minute, "how long the link can be used, 10 seconds to 10 minutes")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *ttl < 10*time.Second || *ttl > 10*time.Minute {
			return usageError{hinted(fmt.Errorf("--ttl %v is out of bounds", *ttl), "10 seconds to 10 minutes, such as 5m")}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var link struct {
			Person    string    `json:"person"`
			URL       string    `json:"url"`
			ExpiresAt time.Time `json:"expires_at"`
			AsOf      int64     `json:"as_of"`
		}
		in := map[string]any{"ttl_seconds": int64(*ttl / time.Second), "why": *why}
		if err := api.call(c.Context(), "POST", "/v1/people/"+segment(args[0])+"/link", in, &link); err != nil {
			return hintPerson(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), link)
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s can sign in once until %s; the link is shown only now\n", link.Person, when(link.ExpiresAt))
		_, err = fmt.Fprintln(c.OutOrStdout(), link.URL)
		return err
	}
	return c
}
