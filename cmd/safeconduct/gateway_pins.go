package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// newGatewayPins returns the commands about what is remembered of tools.
func newGatewayPins() *cobra.Command {
	c := &cobra.Command{
		Use:   "pins",
		Short: "See and approve what servers say of their tools",
		Long: `See and approve what MCP servers say of their tools.

A gateway remembers the descriptor of each tool when it first sees it: name, title, description, schemas,
annotations. A server that says something else later is taken at its word only when somebody has looked
at the difference and approved it; until then the tool is neither listed nor called. Gateways that run
notice the approval within a second.

The pins are in the gateway's --pins FILE; without the flag, in the file of the server that --name names.`,
		Example: `  $ safeconduct gateway pins list --name files
  $ safeconduct gateway pins diff --name files
  $ safeconduct gateway pins approve --name files write_file@sha256:...`,
	}
	var file, name string
	open := func() (*mcp.Pins, error) {
		path := file
		if path == "" {
			if name == "" {
				return nil, usageError{errors.New("say which pins: --pins FILE, or --name of the server")}
			}
			var err error
			if path, err = defaultPins(name); err != nil {
				return nil, err
			}
		}
		p, err := mcp.OpenPins(path)
		if err != nil {
			return nil, err
		}
		if all, err := p.All(); err == nil && len(all) == 0 {
			return nil, hinted(authz.Errorf(authz.ErrNotFound, "no tools were seen: %s holds nothing", path), "a gateway writes it when it first lists the tools of a server")
		}
		return p, nil
	}
	add := func(sub *cobra.Command) {
		sub.Flags().StringVar(&file, "pins", "", "`FILE` of pins")
		sub.Flags().StringVar(&name, "name", "", "`NAME` of the server, whose pins are with your configurations")
		_ = sub.MarkFlagFilename("pins")
		c.AddCommand(sub)
	}
	add(pinsList(open))
	add(pinsDiff(open, func() string {
		if file != "" {
			return "--pins " + mcp.Quote(file)
		}
		return "--name " + mcp.Quote(name)
	}))
	add(pinsApprove(open))
	return c
}

func pinsList(open func() (*mcp.Pins, error)) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the tools that were seen", Args: cobra.NoArgs,
		Long: `List the tools that a gateway has seen, and which of them wait for approval.

A tool that waits is neither listed to agents nor called. STATE says how the descriptor came to be pinned:
at first sight, or because somebody approved it.`,
		Example: "  $ safeconduct gateway pins list --name files"}
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := open()
		if err != nil {
			return err
		}
		all, err := p.All()
		if err != nil {
			return err
		}
		if *asJSON {
			return pinsJSON(cmd.OutOrStdout(), all)
		}
		t := newTable("TOOL", "SERVER", "STATE", "SINCE", "DIGEST")
		for _, pin := range all {
			state, digest := pin.By, pin.Digest
			switch {
			case pin.Digest == "":
				state, digest = "new: waits", pin.Other.Digest
			case pin.Other != nil:
				state = "changed: waits"
			}
			t.add(pin.Tool, pin.Server, state, when(pin.At), fmt.Sprintf("%.19s", digest))
		}
		return t.print(cmd.OutOrStdout(), "No tools were seen.")
	}
	return c
}

func pinsDiff(open func() (*mcp.Pins, error), flags func() string) *cobra.Command {
	c := &cobra.Command{Use: "diff [TOOL...]", Short: "Show what servers say otherwise than before",
		Long: `Show what servers say of their tools otherwise than what is pinned, as a diff of the descriptors, and
the command that approves exactly that.

Characters that nobody would see, or that a terminal could take for orders, are written as \u{...}: a
description that hides something from you is meant for the model.`,
		Example: "  $ safeconduct gateway pins diff --name files"}
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := open()
		if err != nil {
			return err
		}
		all, err := p.All()
		if err != nil {
			return err
		}
		wanted := map[string]bool{}
		for _, a := range args {
			wanted[a] = true
		}
		var waiting []mcp.Pin
		for _, pin := range all {
			if pin.Other != nil && (len(wanted) == 0 || wanted[pin.Tool]) {
				waiting = append(waiting, pin)
			}
		}
		if *asJSON {
			return pinsJSON(cmd.OutOrStdout(), waiting)
		}
		for _, pin := range waiting {
			_, err := cmd.OutOrStdout().Write(diff.Diff("pinned/"+pin.Tool, readable(pin.Descriptor), "seen/"+pin.Tool, readable(pin.Other.Descriptor)))
			if err != nil {
				return err
			}
		}
		if len(waiting) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "Nothing waits for approval.")
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "\nTo approve what is shown here, and nothing else:\n  safeconduct gateway pins approve %s", flags())
		for _, pin := range waiting {
			fmt.Fprintf(cmd.OutOrStdout(), " %s", mcp.Quote(mcp.Look{Tool: pin.Tool, Digest: pin.Other.Digest}.String()))
		}
		fmt.Fprintln(cmd.OutOrStdout())
		return nil
	}
	return c
}

// readable shows a descriptor without characters that a terminal could take for orders.
func readable(d json.RawMessage) []byte {
	if len(d) == 0 {
		return nil
	}
	var b bytes.Buffer
	if json.Indent(&b, d, "", "  ") != nil {
		return nil
	}
	b.WriteByte('\n')
	var out bytes.Buffer
	for _, r := range b.String() {
		if r != '\n' && (r < ' ' || unseen(r)) {
			fmt.Fprintf(&out, "\\u{%x}", r)
			continue
		}
		out.WriteRune(r)
	}
	return out.Bytes()
}

// unseen reports whether nobody would see r, or a terminal would take it for an order: what is no letter, mark, number, sign or
// plain space, what Unicode has readers ignore (DerivedCoreProperties.txt, Default_Ignorable_Code_Point), and the blank of Braille.
func unseen(r rune) bool {
	switch {
	case r == ' ':
		return false
	case !unicode.IsPrint(r), unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point), r == 0x2800:
		return true
	}
	return false
}

func pinsApprove(open func() (*mcp.Pins, error)) *cobra.Command {
	c := &cobra.Command{Use: "approve TOOL@DIGEST...", Short: "Approve what servers say now",
		Long: `Approve what servers say of their tools now, if it is what you have looked at: the diff prints the command.
If a server has said something else since, nothing is approved.

A gateway that runs takes the approval up within a second.`,
		Example: `  $ safeconduct gateway pins diff --name files
  ...
  $ safeconduct gateway pins approve --name files write_file@sha256:...`}
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{hinted(errors.New("nothing is named that you have looked at"), "safeconduct gateway pins diff shows what waits, and the command that approves it")}
		}
		var looks []mcp.Look
		for _, a := range args {
			l, err := mcp.ParseLook(a)
			if err != nil {
				return usageError{hinted(err, "safeconduct gateway pins diff shows what waits, and the command that approves it")}
			}
			looks = append(looks, l)
		}
		p, err := open()
		if err != nil {
			return err
		}
		changed, err := p.Approve(time.Now(), looks...)
		if err != nil {
			return err
		}
		if *asJSON {
			return pinsJSON(cmd.OutOrStdout(), changed)
		}
		for _, pin := range changed {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", pin.Tool, pin.Digest)
		}
		if len(changed) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "Nothing waited for approval.")
		}
		return nil
	}
	return c
}

func pinsJSON(w io.Writer, all []mcp.Pin) error {
	type shown struct {
		Tool string `json:"tool"`
		mcp.Pin
	}
	list := []shown{}
	for _, p := range all {
		list = append(list, shown{p.Tool, p})
	}
	return writeJSON(w, map[string]any{"pins": list})
}
