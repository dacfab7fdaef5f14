package toolschema_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/gateway/toolschema"
	"github.com/safeconduct/safeconduct/internal/policy"
)

var tools = []toolschema.Tool{
	{"read_file", "Read a file.\nAll of it.", true, json.RawMessage(`{"type": "object", "properties": {"path": {"type": "string"}, "head": {"type": "integer"}}, "required": ["path"]}`)},
	{"edit_file", "Change */ a \"file\"\u202e", false, json.RawMessage(`{"type": "object", "required": ["path", "edits", "mode", "maybe"], "properties": {
		"path": {"type": "string"}, "dry-run": {"type": "boolean"}, "mode": {"enum": ["a", "b"]}, "maybe": {"type": ["string", "null"]},
		"edits": {"type": "array", "items": {"type": "object", "properties": {"old": {"type": "string"}, "weight": {"type": "number"}}, "required": ["old"]}},
		"also": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "if": {"type": "string"},
		"any": {}, "either": {"type": ["string", "integer"]}, "map": {"type": "object", "additionalProperties": true}, "list": {"type": "array"}, "ref": {"$ref": "#/$defs/x"}, "odd": {"type": "date"}}}`)},
	{"odd\nname", "", false, json.RawMessage(`17`)},
}

const want = `// The tools of the server files, as it describes them. Types and groups are its word.

action "files-read", "files-change";

// Read a file.
action "read_file" in ["files-read"] appliesTo {
  principal: [Agent, User], resource: [tool],
  context: { observed: Observed, claimed: { agent?: String }, args: {
    head?: Long,
    path: String,
  } },
};

// Change */ a "file" 
action "edit_file" in ["files-change"] appliesTo {
  principal: [Agent, User], resource: [tool],
  context: { observed: Observed, claimed: { agent?: String }, args: {
    also?: Long,
    "dry-run"?: Bool,
    edits: Set<{
      old: String,
      weight?: decimal,
    }>,
    "if"?: String,
    maybe?: String,
    mode: String,
    path: String,
  } },
};

action "odd\u{a}name" in ["files-change"] appliesTo {
  principal: [Agent, User], resource: [tool],
  context: { observed: Observed, claimed: { agent?: String }, args: {} },
};
`

func TestMake(t *testing.T) {
	got, err := toolschema.Make("files", tools)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Cedar); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	for _, name := range []string{"any", "either", "map", "list", "ref", "odd", "edits[].weight"} {
		if !slices.ContainsFunc(got.Notes, func(n string) bool { return strings.HasPrefix(n, "edit_file."+name+": ") }) {
			t.Errorf("nothing is said of %s: %q", name, got.Notes)
		}
	}
	if _, err := toolschema.Make("files", append(slices.Clone(tools), tools[0])); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a tool that is listed twice: %v, want invalid", err)
	}
}

// TestCompiles puts the schema beside that of the MCP example, and writes policies about arguments.
func TestCompiles(t *testing.T) {
	got, err := toolschema.Make("files", tools)
	if err != nil {
		t.Fatal(err)
	}
	check(t, got.Cedar, `@id("a") permit (principal, action in Action::"files-read", resource) when { context.args.path like "/srv/*" };`)
}

// check compiles a schema of tools with a policy.
func check(t *testing.T, schema, text string) {
	t.Helper()
	base, err := os.ReadFile("../../../examples/mcp/schema.cedarschema")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Parse("catalog.yaml", []byte("zone: UTC\n"))
	if err != nil {
		t.Fatal(err)
	}
	src := policy.Source{Schema: string(base) + schema, Files: []policy.File{{Name: "p.cedar", Text: text}}}
	if _, err := policy.Compile(src, cat); err != nil {
		t.Fatalf("%v\n%s", err, schema)
	}
}

// FuzzMake has whatever a server lists end in a schema that compiles, or in an error.
func FuzzMake(f *testing.F) {
	for _, tool := range tools {
		f.Add("files", tool.Name, tool.Description, string(tool.Input))
	}
	f.Fuzz(func(t *testing.T, server, name, description, input string) {
		got, err := toolschema.Make(server, []toolschema.Tool{{Name: name, Description: description, Input: json.RawMessage(input)}})
		if err != nil {
			return
		}
		read, change := toolschema.Groups(server)
		if name == read || name == change || !json.Valid([]byte(`"`+server+`"`)) || strings.ContainsRune(name+server, 0xFFFD) {
			return // the operator names servers
		}
		check(t, got.Cedar, `@id("a") permit (principal, action, resource);`)
	})
}

// TestList asks a real server.
func TestList(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "files", Version: "1"}, nil)
	type in struct {
		Path string `json:"path"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "read_file", Description: "Read a file.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "write_file"}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
	theirs, ours := mcp.NewInMemoryTransports()
	if _, err := s.Connect(t.Context(), theirs, nil); err != nil {
		t.Fatal(err)
	}
	got, err := toolschema.List(t.Context(), ours, "files__")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "files__read_file" || !got[0].ReadOnly || got[0].Description != "Read a file." || got[1].Name != "files__write_file" || got[1].ReadOnly {
		t.Fatalf("List = %+v", got)
	}
	schema, err := toolschema.Make("files", got)
	if err != nil {
		t.Fatal(err)
	}
	check(t, schema.Cedar, `@id("a") permit (principal, action == Action::"files__read_file", resource) when { context.args.path like "/srv/*" };`)
}
