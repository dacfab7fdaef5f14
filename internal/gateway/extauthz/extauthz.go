// Package extauthz answers Envoy's external authorization filter (ext_authz, v3).
package extauthz
