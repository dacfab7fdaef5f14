package gateway

import "github.com/safeconduct/safeconduct/client"

// Realm returns what refusals of the door at that path say in challenges: where its metadata are (RFC 9728 section 5.1),
// nothing of a door that asks for no tokens or whose URL is not known yet.
func (g *Gateway) Realm(path string) client.Realm {
	realm := client.Realm{Name: g.common.Name}
	if g.PublicURL() != "" {
		realm.Metadata = g.metadataURL(path)
	}
	return realm
}
