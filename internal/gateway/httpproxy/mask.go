package httpproxy

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/client"
)

// telling are headers that say something of a response's bytes, which are not those that the agent sees.
var telling = []string{
	"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Accept-Ranges", "Content-Range",
	"Content-Disposition", "Link", "Location", "Content-Location", "Signature", "Signature-Input", "Trailer", "Set-Cookie", "Server-Timing",
}

// mask holds a response whole and changes it as obligations say. What cannot be changed is withheld: the error is a
// *client.WithheldError then.
func (t *transfer) mask(res *http.Response) error {
	encoding := res.Header.Values("Content-Encoding")
	typ := res.Header.Values("Content-Type")
	for _, name := range telling {
		delete(res.Header, name)
	}
	defer func() { res.Trailer = nil }() // whatever came behind the body; net/http writes it once that was read
	if t.r.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		res.Body.Close()
		t.clock.Stop()
		res.Body = http.NoBody // there is none; where HTTP/2 has one all the same, nobody sees it
		res.ContentLength = -1
		return nil
	}
	whole, err := t.read(res, encoding)
	res.Body.Close()
	t.clock.Stop()
	if err != nil {
		return withhold(err)
	}
	if len(whole) > 0 && !isJSON(typ) {
		return withhold(errors.New("the response is no JSON"))
	}
	shown, err := t.permit.Shape(whole)
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(shown))
	res.ContentLength = int64(len(shown))
	res.TransferEncoding = nil
	res.Header.Set("Content-Length", strconv.Itoa(len(shown)))
	return nil
}

func withhold(err error) error { return &client.WithheldError{Cause: err} }

// read reads a response whole, decoded.
func (t *transfer) read(res *http.Response, encoding []string) ([]byte, error) {
	most := t.match.Route.MaxResult
	if res.StatusCode == http.StatusPartialContent {
		return nil, errors.New("the response is a part")
	}
	var r io.Reader = io.LimitReader(res.Body, most+1)
	switch all := strings.ToLower(strings.Join(encoding, ",")); all {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("decoding the response: %w", err)
		}
		r = io.LimitReader(z, most+1)
	default:
		return nil, fmt.Errorf("the response is encoded in a way that is not read here: %.32q", all)
	}
	whole, err := io.ReadAll(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the response: %w", err)
	case int64(len(whole)) > most:
		return nil, fmt.Errorf("the response has more than %d bytes", most)
	}
	return whole, nil
}

// isJSON reports whether a response is JSON in UTF-8.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	typ, params, err := mime.ParseMediaType(contentType[0])
	if err != nil || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return false
	}
	return typ == "application/json" || strings.HasPrefix(typ, "application/") && strings.HasSuffix(typ, "+json")
}
