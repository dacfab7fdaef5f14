package token

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// StatusListType is the typ of a status list token (draft-ietf-oauth-status-list, section 5.1).
const StatusListType = "statuslist+jwt"

// A StatusList has one bit for each of many tokens (draft-ietf-oauth-status-list, section 4): set
// means revoked. It is not safe for concurrent use while bits are set.
type StatusList struct {
	bits []byte // index 0 is the lowest bit of the first byte
}

// NewStatusList returns a list of size tokens, none revoked; size is rounded up to whole bytes.
func NewStatusList(size int) *StatusList { return &StatusList{make([]byte, (size+7)/8)} }

// Len returns how many tokens l has bits for.
func (l *StatusList) Len() int { return 8 * len(l.bits) }

// Set revokes token i. It panics if l has no such bit.
func (l *StatusList) Set(i int) { l.bits[i/8] |= 1 << (i % 8) }

// Get reports whether token i is revoked. A token that l has no bit for is.
func (l *StatusList) Get(i int) bool {
	return i < 0 || i >= l.Len() || l.bits[i/8]>>(i%8)&1 == 1
}

// Encode returns l compressed with zlib, in base64url.
func (l *StatusList) Encode() string {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err == nil {
		_, err = w.Write(l.bits)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("token: writing to memory: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}

// ParseStatusList reads what Encode returns. It returns authz.ErrInvalid if it is anything else, or
// has bits for more than most tokens; it never unpacks more than that.
func ParseStatusList(lst string, most int) (*StatusList, error) {
	packed, err := decode("the status list", lst)
	if err != nil {
		return nil, err
	}
	in := bytes.NewReader(packed)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, errStatusList(err)
	}
	room := int64(most+7) / 8
	bits, err := io.ReadAll(io.LimitReader(z, room+1))
	if err != nil {
		return nil, errStatusList(err)
	}
	if int64(len(bits)) > room || len(bits) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "the status list is empty or has more than %d bits", most)
	}
	if in.Len() > 0 {
		return nil, errStatusList(fmt.Errorf("%d bytes follow it", in.Len()))
	}
	return &StatusList{bits}, nil
}

func errStatusList(err error) error {
	return authz.Errorf(authz.ErrInvalid, "unpacking the status list: %v", err)
}

// A StatusToken has the claims of a status list token.
type StatusToken struct {
	Subject  string // URI of the list, which the tokens name
	IssuedAt time.Time
	Expires  time.Time     // zero if it does not expire
	TTL      time.Duration // how long a copy may be used, zero if that is not said
	List     *StatusList
}

const maxTTL = 100 * 365 * 24 * 3600 // seconds

// Append appends t's JSON form to b.
func (t *StatusToken) Append(b []byte) []byte {
	b = append(b, `{"sub":`...)
	b = appendString(b, t.Subject)
	b = appendSecond(b, `,"iat":`, t.IssuedAt)
	b = appendSecond(b, `,"exp":`, t.Expires)
	if t.TTL > 0 {
		b = appendInt(b, `,"ttl":`, int64(t.TTL/time.Second))
	}
	b = append(b, `,"status_list":{"bits":1,"lst":"`...)
	b = append(b, t.List.Encode()...)
	return append(b, `"}}`...)
}

// ParseStatusToken reads the payload of a verified JWS of StatusListType (section 5.1). It returns
// authz.ErrInvalid if a required claim is missing, or as ParseStatusList does.
func ParseStatusToken(payload []byte, most int) (*StatusToken, error) {
	t, bits, lst := new(StatusToken), int64(0), ""
	err := readObject("the status list token", payload, func(r *reader, name string) {
		switch name {
		case "sub":
			t.Subject = r.text()
		case "iat":
			t.IssuedAt = r.date()
		case "exp":
			t.Expires = r.date()
		case "ttl":
			n := r.integer()
			if n > maxTTL {
				r.fail("must be less than a hundred years")
			}
			t.TTL = time.Duration(n) * time.Second
		case "status_list":
			r.members(func(name string) {
				switch name {
				case "bits":
					bits = r.integer()
				case "lst":
					lst = r.text()
				default:
					r.skip()
				}
			})
		default:
			r.skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if t.Subject == "" || t.IssuedAt.IsZero() || bits != 1 {
		return nil, authz.Errorf(authz.ErrInvalid, "the status list token lacks sub or iat, or its list has not one bit a token")
	}
	if t.List, err = ParseStatusList(lst, most); err != nil {
		return nil, err
	}
	return t, nil
}
