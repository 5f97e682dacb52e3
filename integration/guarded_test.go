// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// partyAt writes the configuration of one process on an external NATS and
// returns it with its node file.
func partyAt(t *testing.T, dir, url, name, more string) site {
	t.Helper()
	s := site{name: name, state: filepath.Join(dir, name), config: filepath.Join(dir, name+".yaml"), file: filepath.Join(dir, name+".node.json")}
	text := fmt.Sprintf("fabric: {mode: external, urls: [%q], site: %s}\n%s", url, name, more)
	must(t, os.WriteFile(s.config, []byte(text), 0o600))
	return s
}

// describe writes the node file of a process.
func (s site) describe(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile(s.file, output(t, s.state, "keys", "node", "--config", s.config), 0o600))
}

// overheard collects everything that passes a NATS server.
type overheard struct {
	mu       sync.Mutex
	messages []*nats.Msg
	nc       *nats.Conn
}

func overhear(t *testing.T, url string) *overheard {
	t.Helper()
	nc, err := nats.Connect(url)
	must(t, err)
	t.Cleanup(nc.Close)
	o := &overheard{nc: nc}
	_, err = nc.Subscribe(">", func(m *nats.Msg) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.messages = append(o.messages, m)
	})
	must(t, err)
	must(t, nc.Flush())
	return o
}

// requests are those to one place, each with the answers to it.
func (o *overheard) requests(t *testing.T, subject string) (asked, answers []*nats.Msg) {
	t.Helper()
	must(t, o.nc.Flush())
	time.Sleep(50 * time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	replies := map[string]bool{}
	for _, m := range o.messages {
		if m.Subject == subject {
			asked = append(asked, m)
			replies[m.Reply] = true
		}
	}
	for _, m := range o.messages {
		if replies[m.Subject] {
			answers = append(answers, m)
		}
	}
	return asked, answers
}

// A lead and a verifier that are peers: requests are signed and sealed, answers
// are sealed, and the verdict is the one that it always was. A lead that is no
// peer, and one that signs nothing, learn nothing from the verifier.
func TestGuardedVerifier(t *testing.T) {
	url, dir := natsServer(t), t.TempDir()
	const expr = "topology: lead(cpu, gpu@vendor-a)\n"
	verifier := partyAt(t, dir, url, "vendor-a", "schemes: [nvidia-gpu]\nnode: {name: vendor-a}\n")
	verifier.describe(t)
	knows := func(name string) string {
		return expr + fmt.Sprintf("schemes: [intel-tdx]\nnode: {name: %s, peers: [%s], seal: always}\n", name, verifier.file)
	}
	lead := partyAt(t, dir, url, "lead", knows("lead"))
	lead.describe(t)
	stranger := partyAt(t, dir, url, "stranger", knows("stranger"))
	stranger.describe(t)
	verifier = partyAt(t, dir, url, "vendor-a", fmt.Sprintf("schemes: [nvidia-gpu]\nnode: {name: vendor-a, peers: [%s]}\n", lead.file))
	jwks := filepath.Join(dir, "vendor-a.jwks")
	must(t, os.WriteFile(jwks, output(t, verifier.state, "keys", "jwks", "--only", "nvidia-gpu"), 0o600))
	unnamed := partyAt(t, dir, url, "unnamed", expr+fmt.Sprintf("schemes: [intel-tdx]\ntrust: [%s]\n", jwks))

	tap := overhear(t, url)
	p, _ := start(t, `msg=serving`, verifier.state, "verifier", "--config", verifier.config)
	want := resultsAlone(t)

	_, at := serve(t, lead.state, "--config", lead.config)
	v := appraise(t, at+"/v1/appraise")
	if got := anonymous(t, v); got != want {
		t.Errorf("between peers:\n%s\nalone:\n%s", got, want)
	}
	const subject = "att.v1.local.appraise.nvidia-gpu.vendor-a"
	asked, answers := tap.requests(t, subject)
	if len(asked) == 0 || len(answers) != len(asked) {
		t.Fatalf("%d requests, %d answers", len(asked), len(answers))
	}
	for i, m := range append(asked, answers...) {
		if i < len(asked) && m.Header.Get("Att-Seal") == "" {
			t.Error("a request is not sealed")
		}
		for _, secret := range []string{"assize/request", "gpu/", "eyJ", "nvidia.gpu"} {
			if bytes.Contains(m.Data, []byte(secret)) {
				t.Errorf("%q can be read in message %d of %d", secret, i, len(asked))
			}
		}
	}

	before := len(asked)
	for _, s := range []site{stranger, unnamed} {
		_, at := serve(t, s.state, "--config", s.config)
		v := appraise(t, at+"/v1/appraise")
		for label, c := range v.Components {
			if !strings.HasPrefix(label, "gpu") {
				continue
			}
			if c["tier"] != "none" || reasons(c) != "refused" {
				t.Errorf("%s, %s: %v %s", s.name, label, c["tier"], reasons(c))
			}
		}
		if v.Verdict.Tier != "none" {
			t.Errorf("%s: verdict %s", s.name, v.Verdict.Tier)
		}
	}
	// They did ask, and each got the one text that there is.
	asked, answers = tap.requests(t, subject)
	if len(asked) != before+2 || len(answers) != len(asked) {
		t.Fatalf("%d requests, %d answers", len(asked), len(answers))
	}
	for _, m := range answers[before:] {
		if len(m.Data) != 0 || m.Header.Get("Nats-Service-Error-Code") != "403" || m.Header.Get("Nats-Service-Error") != "not allowed" {
			t.Errorf("an answer to a stranger: %v %q", m.Header, m.Data)
		}
	}
	p.stop(t)
	log := p.log.text.String()
	if n := strings.Count(log, "request not allowed"); n != 2 || strings.Count(log, "security=true") < 2 {
		t.Errorf("%d refusals logged:\n%s", n, log)
	}
}

// resultsAlone is what one process that knows nobody says of the components.
func resultsAlone(t *testing.T) string {
	t.Helper()
	_, url := serve(t, t.TempDir())
	return anonymous(t, appraise(t, url+"/v1/appraise"))
}

// anonymous is what a verdict says of the components, whoever said it and where.
func anonymous(t *testing.T, v verdictJSON) string {
	t.Helper()
	for _, c := range v.Components {
		maps.DeleteFunc(c, func(name string, _ any) bool {
			return !slices.Contains([]string{"tier", "scheme", "trust_vector", "freshness", "reasons", "claims", "duration_us"}, name)
		})
	}
	return components(t, v)
}

// Where sealing is required, a peer without a seal key is sent nothing, and the
// reason says so.
func TestSealingRequired(t *testing.T) {
	url, dir := natsServer(t), t.TempDir()
	verifier := partyAt(t, dir, url, "vendor-a", "schemes: [nvidia-gpu]\nnode: {name: vendor-a}\n")
	verifier.describe(t)
	raw, err := os.ReadFile(verifier.file)
	must(t, err)
	at := bytes.Index(raw, []byte(`"seal"`))
	if at < 0 {
		t.Fatal("the node file has no seal key")
	}
	bare := append(bytes.TrimRight(raw[:at], ", \n"), "\n}\n"...)
	must(t, os.WriteFile(verifier.file, bare, 0o600))
	lead := partyAt(t, dir, url, "lead", fmt.Sprintf(
		"topology: lead(gpu@vendor-a)\nschemes: [none]\nnode: {name: lead, peers: [%s], edges: {vendor-a: {seal: always}}}\n", verifier.file))
	start(t, `msg=serving`, verifier.state, "verifier", "--config", verifier.config)
	tap := overhear(t, url)
	_, api := serve(t, lead.state, "--config", lead.config)
	v := appraise(t, api+"/v1/appraise")
	for label, c := range v.Components {
		if strings.HasPrefix(label, "gpu") && (c["tier"] != "none" || reasons(c) != "refused" || !strings.Contains(fmt.Sprint(c["reasons"]), "vendor-a has no key")) {
			t.Errorf("%s: %v", label, c)
		}
	}
	if asked, _ := tap.requests(t, "att.v1.local.appraise.nvidia-gpu.vendor-a"); len(asked) != 0 {
		t.Errorf("%d requests were sent", len(asked))
	}
}
