// Command tokens measures the authorization server as agents use it: over HTTP connections that stay
// open, each passport asked for with a signed assertion and a DPoP proof that carries the server's
// nonce, judged by the policies and recorded before it is answered; and introspection by an
// enforcement point.
//
//	tokens -url URL -pid PID -admin FILE -pep FILE [-agents 100 -conns 128 -requests 20000]
//
// All requests are signed before anything is measured, so that the generator leaves the machine to
// the server. Processor time is that of the server's process as the kernel counts it: divided by the
// requests it is what one core can do, whatever else runs beside.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/bench/wire"
	"github.com/safeconduct/safeconduct/internal/token"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tokens:", err)
		os.Exit(1)
	}
}

// A bench is one run against one server.
type bench struct {
	base, admin, pep string
	pid              string
	conns            int
	algorithm        string
	http             *http.Client
	agents           []*agent
}

// An agent is a client with a key that it has enrolled, and a key for its proofs.
type agent struct {
	id, scope  string // all that it is granted
	key, proof *token.Signer
}

func run() error {
	var b bench
	flag.StringVar(&b.base, "url", "", "URL of the server")
	flag.StringVar(&b.pid, "pid", "", "its process")
	admin := flag.String("admin", "", "file with an administrator's token")
	pep := flag.String("pep", "", "file with an enforcement point's token")
	agents := flag.Int("agents", 100, "agents that ask by turns")
	requests := flag.Int("requests", 20000, "passports to ask for in a turn")
	rounds := flag.Int("rounds", 3, "turns")
	flag.IntVar(&b.conns, "conns", 128, "connections")
	flag.StringVar(&b.algorithm, "alg", "EdDSA", "of the agents' keys: EdDSA or ES256")
	flag.Parse()
	for _, f := range []struct {
		path string
		to   *string
	}{{*admin, &b.admin}, {*pep, &b.pep}} {
		text, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		*f.to = strings.TrimSpace(string(text))
	}
	b.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * b.conns}}
	if err := b.enrol(*agents); err != nil {
		return err
	}
	var tokens []string
	for i := range *rounds {
		got, err := b.issue(*requests, i)
		if err != nil {
			return err
		}
		tokens = got
	}
	longest := slices.MaxFunc(tokens, func(a, b string) int { return len(a) - len(b) })
	fmt.Printf("a passport has %d bytes at most\n", len(longest))
	for _, different := range []int{1, 100, len(tokens)} {
		if err := b.introspect(tokens[:min(different, len(tokens))], 3**requests); err != nil {
			return err
		}
	}
	return nil
}

// enrol gives the fixture's agents keys.
func (b *bench) enrol(n int) error {
	var page struct {
		Items []struct {
			ID           string   `json:"id"`
			Capabilities []string `json:"capabilities"`
		} `json:"items"`
	}
	if err := b.call("GET", "/v1/agents?limit="+strconv.Itoa(n), b.admin, nil, &page); err != nil {
		return err
	}
	if len(page.Items) == 0 {
		return fmt.Errorf("the server has no agents")
	}
	for _, a := range page.Items {
		var e struct {
			Token string `json:"token"`
		}
		if err := b.call("POST", "/v1/agents/"+a.ID+"/enrolment", b.admin, map[string]any{"why": "to measure"}, &e); err != nil {
			return fmt.Errorf("enrolling %s: %w", a.ID, err)
		}
		made := &agent{id: a.ID, scope: strings.Join(a.Capabilities, " ")}
		var err error
		for _, s := range []**token.Signer{&made.key, &made.proof} {
			if *s, _, err = token.GenerateSigner(b.algorithm, rand.Reader); err != nil {
				return err
			}
		}
		hash := sha256.Sum256([]byte(e.Token))
		now := time.Now().Unix()
		proof, err := made.key.SignWithKey("key-proof+jwt", fmt.Appendf(nil, `{"aud":%q,"iat":%d,"exp":%d,"jti":%q,"nonce":%q}`,
			b.base, now, now+60, rand.Text(), base64.RawURLEncoding.EncodeToString(hash[:])))
		if err != nil {
			return err
		}
		if err := b.call("POST", "/oauth2/enroll", "", map[string]any{"token": e.Token, "proof": proof}, nil); err != nil {
			return fmt.Errorf("registering a key of %s: %w", a.ID, err)
		}
		b.agents = append(b.agents, made)
	}
	return nil
}

// nonce asks the server for a DPoP nonce, by a request that lacks one.
func (b *bench) nonce() (string, error) {
	form, proof, err := b.agents[0].request(b.base, "")
	if err != nil {
		return "", err
	}
	req, err := http.NewRequest("POST", b.base+"/oauth2/token", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("DPoP", proof)
	resp, err := b.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if n := resp.Header.Get("DPoP-Nonce"); n != "" {
		return n, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return "", fmt.Errorf("no nonce: %s %s", resp.Status, text)
}

// request returns the form and the proof of one token request.
func (a *agent) request(issuer, nonce string) (form, proof string, err error) {
	now := time.Now()
	assertion, err := a.key.Sign("client-authentication+jwt", fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d,"jti":%q}`,
		a.id, a.id, issuer, now.Unix(), now.Unix()+290, rand.Text()))
	if err != nil {
		return "", "", err
	}
	proof, err = token.SignProof(a.proof, token.Proof{ID: rand.Text(), Nonce: nonce, Method: "POST", URL: issuer + "/oauth2/token", IssuedAt: now}, "")
	form = url.Values{
		"grant_type":            {"client_credentials"},
		"scope":                 {a.scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}.Encode()
	return form, proof, err
}

// issue asks for n passports and tells how fast they came.
func (b *bench) issue(n, round int) ([]string, error) {
	nonce, err := b.nonce()
	if err != nil {
		return nil, err
	}
	host := strings.TrimPrefix(b.base, "http://")
	requests := make([][]byte, n)
	for i := range requests {
		form, proof, err := b.agents[i%len(b.agents)].request(b.base, nonce)
		if err != nil {
			return nil, err
		}
		requests[i] = fmt.Appendf(nil, "POST /oauth2/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nDPoP: %s\r\n\r\n%s",
			host, len(form), proof, form)
	}
	tokens := make([]string, n)
	err = b.measure(fmt.Sprintf("issue, turn %d", round+1), requests, func(i int, answer []byte) error {
		var body struct {
			Token string `json:"access_token"`
			Type  string `json:"token_type"`
		}
		if err := json.Unmarshal(answer, &body); err != nil || body.Token == "" {
			return fmt.Errorf("no token in %s", answer)
		}
		tokens[i] = body.Token
		return nil
	})
	return tokens, err
}

// introspect asks n times what is true of tokens, by turns.
func (b *bench) introspect(tokens []string, n int) error {
	host := strings.TrimPrefix(b.base, "http://")
	requests := make([][]byte, n)
	for i := range requests {
		form := "token=" + tokens[i%len(tokens)]
		requests[i] = fmt.Appendf(nil, "POST /oauth2/introspect HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
			host, b.pep, len(form), form)
	}
	active := []byte(`"active":true`)
	return b.measure(fmt.Sprintf("introspect, %d tokens", len(tokens)), requests, func(_ int, answer []byte) error {
		if !bytes.Contains(answer, active) {
			return fmt.Errorf("not active: %s", answer)
		}
		return nil
	})
}

// measure sends the requests over all connections and prints rate, latency and processor time.
func (b *bench) measure(name string, requests [][]byte, check func(i int, answer []byte) error) error {
	before, err := wire.ProcessorTime(b.pid)
	if err != nil {
		return err
	}
	took := make([]time.Duration, len(requests))
	var next atomic.Int64
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	for range b.conns {
		wg.Go(func() {
			c, err := wire.Dial(strings.TrimPrefix(b.base, "http://"))
			for err == nil {
				i := int(next.Add(1)) - 1
				if i >= len(requests) {
					c.Close()
					return
				}
				sent := time.Now()
				var status int
				var body []byte
				if status, body, err = c.Do(requests[i]); err == nil && status != 200 {
					err = fmt.Errorf("status %d: %s", status, body)
				}
				took[i] = time.Since(sent)
				if err == nil {
					err = check(i, body)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			failed = err
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if failed != nil {
		return fmt.Errorf("%s: %w", name, failed)
	}
	after, err := wire.ProcessorTime(b.pid)
	if err != nil {
		return err
	}
	slices.Sort(took)
	each := (after - before) / time.Duration(len(requests))
	fmt.Printf("%-26s %8.0f/s   p50 %8v  p99 %8v   CPU %7v each, which is %6.0f/s of one core\n", name, float64(len(requests))/elapsed.Seconds(),
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), each.Round(100*time.Nanosecond), float64(time.Second)/float64(each))
	return nil
}

// call does one request of the administration API.
func (b *bench) call(method, path, bearer string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
