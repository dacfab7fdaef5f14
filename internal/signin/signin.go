// Package signin lets persons sign in: with passkeys (WebAuthn) that they enrolled by a single-use link, or
// with the organisation's identity provider (OpenID Connect, code flow with PKCE). It serves the few pages
// that this needs, and the page on which one ask is answered, and verifies passkey assertions over an act.
package signin
