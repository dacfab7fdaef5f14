package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A personInfo is a person as the API shows one.
type personInfo struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Email    string              `json:"email,omitempty"`
	Issuer   string              `json:"issuer,omitempty"`
	Subject  string              `json:"subject,omitempty"`
	Claims   map[string][]string `json:"claims,omitempty"`
	Roles    []string            `json:"roles,omitempty"`
	Disabled bool                `json:"disabled,omitempty"`
	Passkeys []struct {
		ID        string    `json:"id"`
		Title     string    `json:"title"`
		CreatedAt time.Time `json:"created_at"`
		UsedAt    time.Time `json:"used_at,omitzero"`
		RevokedAt time.Time `json:"revoked_at,omitzero"`
	} `json:"passkeys"`
	Enrolment *struct {
		CreatedAt time.Time `json:"created_at"`
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"enrolment,omitempty"`
	Sessions []struct {
		Method    string              `json:"method"`
		Passkey   string              `json:"passkey,omitempty"`
		Roles     []string            `json:"roles,omitempty"`
		Claims    map[string][]string `json:"claims,omitempty"`
		At        time.Time           `json:"at"`
		ExpiresAt time.Time           `json:"expires_at"`
	} `json:"sessions"`
	AsOf int64 `json:"as_of"`
}

// active returns how many passkeys count.
func (p *personInfo) active() (n int) {
	for _, k := range p.Passkeys {
		if k.RevokedAt.IsZero() {
			n++
		}
	}
	return n
}

// may returns the roles of a person, which are those of an approver if none is said.
func (p *personInfo) may() string {
	if len(p.Roles) == 0 {
		return "approver"
	}
	return strings.Join(p.Roles, ",")
}

func newPerson() *cobra.Command {
	c := &cobra.Command{
		Use:   "person",
		Short: "Say who signs in, and what they may do",
		Long: `Make, change and disable the persons who sign in: to watch and administer the service by its pages, and
to answer what agents may do only if a person agrees. A person signs in with a passkey that they
registered by a link, with the organisation's identity provider, or once by a sign-in link. What they
may do, their roles say; which asks they may answer, the catalog's groups of approvers say.

An administrator who makes a link can use it, and then answers as that person. The record tells who
made which link: let auditors look at it.`,
		Example: `  $ safeconduct person put anna --name "Anna Schmidt" --email anna@example.com --why "new in finance"
  anna is known (as of entry 41)
  $ safeconduct person enrol anna --why "first passkey" > anna.link`,
	}
	c.AddCommand(newPersonPut(), newPersonList(), newPersonShow(), newPersonEnrol(), newPersonLink(), newPersonRevoke(), newPersonSignOut(), newPersonDisable())
	return c
}

func newPersonPut() *cobra.Command {
	c := &cobra.Command{
		Use:   "put PERSON",
		Short: "Make a person, or change one",
		Long: `Make a person, or change what is known of one. What is not named stays as it is. An id has letters,
digits and . _ @ + -; the catalog names the person by it, as {type: user, id: PERSON}.

With --issuer and --subject the person signs in with the identity provider: the subject is the sub of
its ID tokens. With --claim the person has claims by which groups of approvers can ask; what the
identity provider says at a sign-in is added to them. --enable lets a disabled person in again.

With --role the person may do more than answer. A viewer watches: agents, decisions, findings, alerts,
policies. An operator also stops and restores agents, sets trust, judges findings, raises and clears
alerts; an author also checks, publishes and rolls back policies; an auditor reads everything; an
administrator may do everything. An approver answers what the catalog lets them: that is what a person
is who has no role at all, and needs to be named beside another role. Nobody changes their own.`,
		Example: `  $ safeconduct person put anna --name "Anna Schmidt" --claim department=finance --why "new in finance"
  anna is known (as of entry 41)`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	name := c.Flags().String("name", "", "`NAME` of the person, as others see it")
	email := c.Flags().String("email", "", "`ADDRESS` where the person is told of asks")
	issuer := c.Flags().String("issuer", "", "`URL` of the identity provider with which the person signs in")
	subject := c.Flags().String("subject", "", "the person's `ACCOUNT` there")
	claims := c.Flags().StringArray("claim", nil, "`NAME=VALUE` of a claim; may be given more than once. --claim '' takes all away")
	roles := c.Flags().StringArray("role", nil, "`ROLE` of the person: "+listed(personRoleNames, "or")+"; may be given more than once. --role '' takes all away")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(personRoleNames, cobra.ShellCompDirectiveNoFileComp))
	enable := c.Flags().Bool("enable", false, "let a disabled person in again")
	c.RunE = func(c *cobra.Command, args []string) error {
		said, err := parseClaims(*claims)
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		path := "/v1/people/" + segment(args[0])
		var p personInfo
		if err := api.call(c.Context(), "GET", path, nil, &p); err != nil && !notFound(err) {
			return err
		}
		for _, f := range []struct {
			flag string
			to   *string
			from string
		}{{"name", &p.Name, *name}, {"email", &p.Email, *email}, {"issuer", &p.Issuer, *issuer}, {"subject", &p.Subject, *subject}} {
			if c.Flags().Changed(f.flag) {
				*f.to = f.from
			}
		}
		if c.Flags().Changed("claim") {
			p.Claims = said
		}
		if c.Flags().Changed("role") {
			p.Roles = slices.DeleteFunc(*roles, func(r string) bool { return r == "" })
		}
		if *enable {
			p.Disabled = false
		}
		if p.Name == "" {
			return usageError{hinted(fmt.Errorf("%q is a new person, who needs a name", brief(args[0], 64)), "give it with --name, as others see it: --name \"Anna Schmidt\"")}
		}
		if err := putPerson(c, api, path, &p, *why); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), p)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is known (as of entry %d)\n", p.ID, p.AsOf)
		return err
	}
	return c
}

// putPerson writes p, and reads what became of it.
func putPerson(c *cobra.Command, api *remote, path string, p *personInfo, why string) error {
	in := map[string]any{"name": p.Name, "if_as_of": p.AsOf, "why": why}
	for name, value := range map[string]string{"email": p.Email, "issuer": p.Issuer, "subject": p.Subject} {
		if value != "" {
			in[name] = value
		}
	}
	if len(p.Claims) > 0 {
		in["claims"] = p.Claims
	}
	if len(p.Roles) > 0 {
		in["roles"] = p.Roles
	}
	if p.Disabled {
		in["disabled"] = true
	}
	*p = personInfo{}
	return api.call(c.Context(), "PUT", path, in, p)
}

// parseClaims reads claims as the command line has them.
func parseClaims(args []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, a := range args {
		if a == "" {
			continue
		}
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" || value == "" {
			return nil, usageError{hinted(fmt.Errorf("--claim %q is no claim", clip(a, 80)), "NAME=VALUE, such as --claim department=finance")}
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

func newPersonList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the persons who can sign in",
		Long: `List the persons who can sign in, with their roles, how they do and whether they are signed in now.

A person without a passkey and without an account of the identity provider cannot sign in:
` + "`safeconduct person enrol`" + ` makes a link.`,
		Example: `  $ safeconduct person list
  ID    NAME          EMAIL             ROLES     PASSKEYS  PROVIDER  SIGNED IN  STATE
  anna  Anna Schmidt  anna@example.com  approver  1         -         yes        active`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	text := c.Flags().String("text", "", "only persons with this `TEXT` in their id, name or e-mail address")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		all := []personInfo{}
		for after := ""; ; {
			var page list[personInfo]
			if err := api.call(c.Context(), "GET", query("/v1/people", "text", *text, "after", after, "limit", "1000"), nil, &page); err != nil {
				return err
			}
			all = append(all, page.Items...)
			if after = page.Next; after == "" {
				break
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all)
		}
		t := newTable("ID", "NAME", "EMAIL", "ROLES", "PASSKEYS", "PROVIDER", "SIGNED IN", "STATE")
		for _, p := range all {
			t.add(clip(p.ID, 64), clip(p.Name, 40), clip(dash(p.Email), 60), p.may(), fmt.Sprint(p.active()), yesNo(p.Subject != ""), yesNo(len(p.Sessions) > 0), personState(&p))
		}
		return t.print(c.OutOrStdout(), "Nobody signs in; `safeconduct person put` makes a person.")
	}
	return c
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

func personState(p *personInfo) string {
	if p.Disabled {
		return "disabled"
	}
	return "active"
}

func newPersonShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show PERSON",
		Short: "Show a person, their passkeys and sessions",
		Long: `Show a person: account, claims, passkeys, and sessions that have not ended.

The claims of a session are those by which it answers: the person's own, and what the identity
provider said when it began.`,
		Example: `  $ safeconduct person show anna
  anna: Anna Schmidt <anna@example.com>, active, as of entry 44
  roles approver
  claim department: finance
  PASSKEY                 TITLE   CREATED               USED                  REVOKED
  yXh0cmFuZ2VyLXRoaW5ncw  laptop  2026-11-23 16:00:00Z  2026-11-27 07:00:00Z  -
  signed in by passkey 2026-11-27 07:00:00Z until 2026-11-27 15:00:00Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var p personInfo
		if err := api.call(c.Context(), "GET", "/v1/people/"+segment(args[0]), nil, &p); err != nil {
			return hintPerson(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), p)
		}
		w := c.OutOrStdout()
		email := ""
		if p.Email != "" {
			email = " <" + clip(p.Email, 254) + ">"
		}
		fmt.Fprintf(w, "%s: %s%s, %s, as of entry %d\n", p.ID, clip(p.Name, 100), email, personState(&p), p.AsOf)
		fmt.Fprintf(w, "roles %s\n", p.may())
		if p.Subject != "" {
			fmt.Fprintf(w, "account %s of %s\n", clip(p.Subject, 200), clip(p.Issuer, 200))
		}
		for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
			fmt.Fprintf(w, "claim %s: %s\n", clip(name, 128), clip(strings.Join(p.Claims[name], ", "), 400))
		}
		if len(p.Passkeys) > 0 {
			t := newTable("PASSKEY", "TITLE", "CREATED", "USED", "REVOKED")
			for _, k := range p.Passkeys {
				t.add(clip(k.ID, 120), clip(k.Title, 60), when(k.CreatedAt), when(k.UsedAt), when(k.RevokedAt))
			}
			if err := t.print(w, ""); err != nil {
				return err
			}
		}
		if e := p.Enrolment; e != nil {
			fmt.Fprintf(w, "a link made %s can be used until %s\n", when(e.CreatedAt), when(e.ExpiresAt))
		}
		for _, s := range p.Sessions {
			fmt.Fprintf(w, "signed in by %s %s until %s\n", s.Method, when(s.At), when(s.ExpiresAt))
		}
		return nil
	}
	return c
}

// hintPerson adds to an error that a person is not known how to find those that are.
func hintPerson(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct person list` shows who is known")
	}
	return err
}
