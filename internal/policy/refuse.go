package policy

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// sentences say each code to the agent when no policy says it better. None tells a threshold.
var sentences = map[string]string{
	authz.CodeNoPermit:         "No policy permits this.",
	authz.CodeForbidden:        "A policy forbids this.",
	authz.CodePolicyError:      "A safeguard could not be evaluated, so this is refused.",
	authz.CodeApprovalRequired: "A person must approve this first.",
	authz.CodeStepUpRequired:   "This needs stronger authentication.",
	authz.CodeObligation:       "The enforcement point cannot do what would have to be done along with this.",
	authz.CodeAgentUnknown:     "The agent is not registered.",
	authz.CodePassport:         "The passport that was presented does not carry this.",
	authz.CodeTypeUnknown:      "The action and the types of subject and resource are not known, or do not go together.",
	authz.CodeUnavailable:      "No policies are loaded.",
}

// barred says the code of a bar to the agent.
func barred(code string) string {
	if code == authz.CodeNoPermit { // of a passport; no policy said so
		return "The agent was not granted this capability, or may not use it now."
	}
	return sentences[code]
}

// reasons returns what the agent is told: the reasons that the rules name, each once, else the
// sentence of the code.
func (s *Set) reasons(code string, rules ...*rule) []authz.Reason {
	var out []authz.Reason
	for _, r := range rules {
		if r.reason == "" || s.cat == nil || slices.ContainsFunc(out, func(o authz.Reason) bool { return o.Code == r.reason }) {
			continue
		}
		if c, ok := s.cat.Reason(r.reason); ok {
			out = append(out, authz.Reason{Code: r.reason, Message: c.Message})
		}
	}
	if out == nil {
		out = []authz.Reason{{Code: code, Message: sentences[code]}}
	}
	return out
}

// refuse makes d the refusal of a request that cannot be judged.
func (s *Set) refuse(d *authz.Decision, f *fault) {
	d.Effect, d.Code, d.Detail = authz.Deny, f.code, f.Error()
	r := authz.Reason{Code: f.code, Message: sentences[f.code]}
	switch f.code {
	case authz.CodeSignalMissing:
		r.Message = "A required signal is missing: " + strings.Join(f.missing, ", ") + "."
	case authz.CodeInvalid:
		r.Message = "The request is not valid: " + f.detail + "."
	}
	d.Reasons = []authz.Reason{r}
}
