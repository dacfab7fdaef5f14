package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newPersonEnrol() *cobra.Command {
	c := &cobra.Command{
		Use:     "enrol PERSON",
		Aliases: []string{"enroll"},
		Short:   "Let a person register a passkey: print a link that is good once",
		Long: `Make a link and print it on standard output, alone in its line. Whoever opens it in a browser can
register one passkey for the person, once, until it expires (--ttl). The service keeps a hash of it
and cannot show it again; another link takes the place of one that is not used yet.

Whoever holds the link can become the person: hand it over as you would a password, and let them tell
you when it has worked.`,
		Example: `  $ safeconduct person enrol anna --ttl 1h --why "first passkey" > anna.link
  anna can register one passkey until 2026-11-27 17:00:00Z; the link is shown only now
  $ cat anna.link
  https://safeconduct.example.com/enrol#sc_person_0mJ3WQ1c2v5rQ8Yt6Zb4nE7uK9xLpDsFaGhJkTyUiOP`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	ttl := c.Flags().Duration("ttl", 24*time.Hour, "how long the link can be used, a minute to 7 days")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *ttl < time.Minute || *ttl > 7*24*time.Hour {
			return usageError{hinted(fmt.Errorf("--ttl %v is out of bounds", *ttl), "a minute to 7 days, such as 1h or 72h")}
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
		if err := api.call(c.Context(), "POST", "/v1/people/"+segment(args[0])+"/enrolment", in, &link); err != nil {
			return hintPerson(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), link)
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s can register one passkey until %s; the link is shown only now\n", link.Person, when(link.ExpiresAt))
		_, err = fmt.Fprintln(c.OutOrStdout(), link.URL)
		return err
	}
	return c
}

func newPersonRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke PERSON PASSKEY",
		Short: "Revoke a passkey of a person",
		Long: `Revoke a passkey that was lost or stolen. Sessions that began with it end. When the command returns,
this replica refuses the passkey; the others do as soon as they have read the entry.

A revoked passkey stays in the list, and nobody can register it again. What it signed before stays
good evidence.`,
		Example: `  $ safeconduct person revoke anna yXh0cmFuZ2VyLXRoaW5ncw --why "lost"
  anna has 1 passkey left`,
		Args: cobra.ExactArgs(2),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var p personInfo
		in := map[string]string{"passkey": args[1], "why": *why}
		if err := api.call(c.Context(), "POST", "/v1/people/"+segment(args[0])+"/passkeys/revoke", in, &p); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct person show %s` shows the passkeys", clip(args[0], 64))
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), p)
		}
		left := "passkeys"
		if p.active() == 1 {
			left = "passkey"
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s has %d %s left\n", p.ID, p.active(), left)
		return err
	}
	return c
}

func newPersonSignOut() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign-out PERSON",
		Short: "End every session of a person",
		Long: `End every session of a person, in all browsers. When the command returns, this replica refuses them;
the others do as soon as they have read the entry.

The person can sign in again at once. To keep somebody out, use ` + "`safeconduct person disable`" + `.`,
		Example: `  $ safeconduct person sign-out anna --why "left the laptop in a train"
  anna is signed out everywhere`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var p personInfo
		if err := api.call(c.Context(), "POST", "/v1/people/"+segment(args[0])+"/sign-out", map[string]string{"why": *why}, &p); err != nil {
			return hintPerson(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), p)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is signed out everywhere\n", p.ID)
		return err
	}
	return c
}

func newPersonDisable() *cobra.Command {
	c := &cobra.Command{
		Use:   "disable PERSON",
		Short: "Keep a person out, for now or for good",
		Long: `Disable a person: their sessions end, a link that is not used yet is withdrawn, and neither a passkey
nor the identity provider lets them in. Answers that they gave before stay as they are; revoke the
approvals with ` + "`safeconduct approvals revoke`" + ` if they must not be used.

Persons are not deleted, because the record names them. ` + "`safeconduct person put PERSON --enable`" + ` lets
the person in again.`,
		Example: `  $ safeconduct person disable anna --why "left the company"
  anna is disabled`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		path := "/v1/people/" + segment(args[0])
		var p personInfo
		if err := api.call(c.Context(), "GET", path, nil, &p); err != nil {
			return hintPerson(err)
		}
		if p.Disabled {
			return hinted(errors.New(clip(p.ID, 64)+" is disabled already"), "`safeconduct person put %s --enable` lets them in again", clip(p.ID, 64))
		}
		p.Disabled = true
		if err := putPerson(c, api, path, &p, *why); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), p)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is disabled\n", p.ID)
		return err
	}
	return c
}
