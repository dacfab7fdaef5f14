package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/safeconduct/safeconduct/internal/approval"
)

// sendSlack tells an incoming webhook of Slack, or of something like it.
func (n *Notifier) sendSlack(ctx context.Context, c *Channel, d *Delivery, a *approval.Ask) (outcome, error) {
	body, err := n.slackMessage(c, d, a)
	if err != nil {
		return outcome{}, fmt.Errorf("encoding a message: %w", err)
	}
	_, o := n.post(ctx, c.Slack.Client, c.Slack.URL, http.Header{"Content-Type": {"application/json"}}, body)
	return o, nil
}

// Bounds that Slack has (Block Kit reference), in characters.
const (
	slackHeader = 150
	slackText   = 3000
)

type slackBlock struct {
	Type     string         `json:"type"`
	Text     *slackObject   `json:"text,omitempty"`
	Elements []slackElement `json:"elements,omitempty"`
}

type slackObject struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji *bool  `json:"emoji,omitempty"`
}

type slackElement struct {
	Type string       `json:"type"`
	Text *slackObject `json:"text"`
	URL  string       `json:"url"`
}

// slackMessage returns the message as blocks. What strangers wrote is in objects of plain text only, where
// nothing is markup; the text beside the blocks, which other products take for markup, has no word of theirs.
func (n *Notifier) slackMessage(c *Channel, d *Delivery, a *approval.Ask) ([]byte, error) {
	head, link := title(d.Event, a), n.link(a)
	blocks := []slackBlock{{Type: "header", Text: plainText(head, slackHeader)}}
	for _, l := range lines(d.Event, a, c.Arguments) {
		blocks = append(blocks, slackBlock{Type: "section", Text: plainText(l.Label+": "+l.Text, slackText)})
	}
	blocks = append(blocks, slackBlock{Type: "actions", Elements: []slackElement{{Type: "button", Text: plainText("See and answer", slackHeader), URL: link}}})
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Text        string       `json:"text"`
		Blocks      []slackBlock `json:"blocks"`
		Mrkdwn      bool         `json:"mrkdwn"`
		UnfurlLinks bool         `json:"unfurl_links"`
		UnfurlMedia bool         `json:"unfurl_media"`
	}{Text: head + ": " + link, Blocks: blocks})
	return bytes.TrimSpace(b.Bytes()), err
}

// plainText returns an object in which Slack looks for no markup. It asks nevertheless that three
// characters are written as entities ("Escaping text"), without which <!channel> would reach everybody.
func plainText(s string, most int) *slackObject {
	no := false
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	if len(s) > most { // of bytes, which are at least as many; not within an entity
		cut := strings.ToValidUTF8(s[:most-3], "")
		if i := strings.LastIndexByte(cut, '&'); i >= len(cut)-5 && i >= 0 && !strings.Contains(cut[i:], ";") {
			cut = cut[:i]
		}
		s = cut + "…"
	}
	return &slackObject{Type: "plain_text", Text: s, Emoji: &no}
}
