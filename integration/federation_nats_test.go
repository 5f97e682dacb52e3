// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// One composite gives the same component results in one process and across
// three accounts, one of which ends at a leaf node, under every topology.
func TestFederationTopologies(t *testing.T) {
	f := startNATSFederation(t, nil)
	a, _ := f.serve(t, "vendor-a")
	b, _ := f.serve(t, "vendor-b")
	code, raw := f.alone(t, "lead(cpu, gpu, switch)")
	if code != 3 {
		t.Fatalf("in one process: %d %s", code, raw)
	}
	want := componentResults(t, raw)
	for _, topology := range []string{
		"lead(cpu, gpu@vendor-a, switch@vendor-b)",
		"lead(cpu, lead(gpu)@vendor-a, lead(switch)@vendor-b)",
		"cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)",
		"lead(cpu, lead(gpu, cascade(switch@vendor-b))@vendor-a)",
		"parallel(cpu, parallel(gpu@vendor-a, cascade(switch@vendor-b)))",
	} {
		code, raw := f.appraise(t, topology)
		if code != 3 || componentResults(t, raw) != want {
			t.Errorf("%s: %d\n%s\nwant\n%s\n%s", topology, code, componentResults(t, raw), want, raw)
		}
	}
	stopQuietly(t, a, b)
}

// stopQuietly ends processes that must not have met a permission that the
// examples forget. At the entry such a line would have been part of the output.
func stopQuietly(t *testing.T, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		p.stop(t)
		if text := p.log.text.String(); strings.Contains(text, "denied") || strings.Contains(text, "level=ERROR") {
			t.Error(text)
		}
	}
}

// The entry as a service finds the vendors' verifiers, and remembers the nonces
// that were used, with no more permissions than the examples give.
func TestFederationService(t *testing.T) {
	f := startNATSFederation(t, nil)
	a, _ := f.serve(t, "vendor-a")
	b, _ := f.serve(t, "vendor-b")
	entry, url := f.serve(t, "entry")
	var list struct {
		Verifiers []struct{ Scheme, Site string }
	}
	for _, want := range []struct{ Scheme, Site string }{
		{"intel-tdx", "entry"}, {"nvidia-gpu", "vendor-a"}, {"nvidia-nvswitch", "vendor-b"},
	} {
		code, raw := get(t, url+"/v1/verifiers")
		must(t, json.Unmarshal(raw, &list))
		if code != 200 || !slices.Contains(list.Verifiers, want) {
			t.Errorf("%+v is not found: %d %s", want, code, raw)
		}
	}
	for _, want := range []int{200, 409} {
		code, raw := f.post(t, url+"/v1/appraise?nonce="+federationNonce)
		if code != want {
			t.Errorf("%d, want %d: %s", code, want, raw)
		}
		if code == 200 {
			noVerdict(t, raw, nil, nil)
		}
	}
	stopQuietly(t, entry, a, b)
}

// post sends the machine's evidence to a service.
func (f *natsFederation) post(t *testing.T, url string) (int, []byte) {
	t.Helper()
	evidence, err := os.Open(filepath.Join(f.machine, "evidence.cmw"))
	must(t, err)
	defer evidence.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, evidence)
	must(t, err)
	req.Header.Set("Content-Type", "application/cmw+json")
	req.Header.Set("Accept", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	must(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, raw
}

// tap sees all that an account sees: a user of it without any restriction, as
// the vendor's own administrator could be.
type tap struct {
	mu       sync.Mutex
	subjects []string
}

func (f *natsFederation) tap(t *testing.T, s *server.Server, name string) *tap {
	t.Helper()
	nc, err := f.dial(s, name)
	must(t, err)
	t.Cleanup(nc.Close)
	w := &tap{}
	_, err = nc.Subscribe(">", func(m *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.subjects = append(w.subjects, m.Subject)
	})
	must(t, err)
	must(t, nc.FlushTimeout(5*time.Second))
	return w
}

// with returns the seen subjects that contain any of the parts.
func (w *tap) with(parts ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.subjects {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) }) {
			out = append(out, s)
		}
	}
	return out
}

// Whatever a vendor's administrator permits in the vendor's own account, only
// what was meant for this vendor is seen there. It is the accounts that do it,
// not the permissions of users.
func TestFederationAccountsKeepApart(t *testing.T) {
	const adminA, adminB = "spiffe://vendor-a.example/admin", "spiffe://vendor-b.example/admin"
	f := startNATSFederation(t, func(hub, leaf *server.Options) {
		account := hub.Accounts[slices.IndexFunc(hub.Accounts, func(a *server.Account) bool { return a.Name == "VENDOR_A" })]
		hub.Users = append(hub.Users, &server.User{Username: adminA, Account: account})
		leaf.Users = append(leaf.Users, &server.User{Username: adminB})
	})
	f.certify(t, f.ca, "admin-a", adminA)
	f.certify(t, f.ca, "admin-b", adminB)
	f.serve(t, "vendor-a")
	f.serve(t, "vendor-b")
	a, b := f.tap(t, f.hub, "admin-a"), f.tap(t, f.leaf, "admin-b")
	for _, topology := range []string{"lead(cpu, gpu@vendor-a, switch@vendor-b)", "lead(cpu, lead(gpu)@vendor-a, lead(switch)@vendor-b)"} {
		if code, raw := f.appraise(t, topology); code != 3 {
			t.Fatalf("%s: %d %s", topology, code, raw)
		}
	}
	for _, c := range []struct {
		who        string
		tap        *tap
		own, other string
		scheme     string
	}{
		{"vendor A", a, "vendor-a", "vendor-b", "nvidia-gpu"},
		{"vendor B", b, "vendor-b", "vendor-a", "nvidia-nvswitch"},
	} {
		for _, subject := range []string{"att.v1.local.appraise." + c.scheme + "." + c.own, "att.v1.local.cascade.composite." + c.own} {
			eventually(t, c.who+" sees "+subject, func() bool { return len(c.tap.with(subject)) > 0 })
		}
		if seen := c.tap.with(c.other, "_INBOX_entry", "intel-tdx"); len(seen) > 0 {
			t.Errorf("%s sees what is not its own: %q", c.who, seen)
		}
	}
}

// A node's user has what the node needs and no more.
func TestFederationPermissions(t *testing.T) {
	f := startNATSFederation(t, nil)
	for _, c := range []struct {
		at        *server.Server
		who       string
		subscribe []string
		publish   []string
	}{
		{
			f.hub, "vendor-a",
			[]string{">", "att.v1.local.cascade.composite.vendor-b", "att.v1.local.cascade.composite.entry", "att.v1.local.appraise.*.vendor-b", "_INBOX_entry.>", "_INBOX.>", "$KV.>", "$SYS.>"},
			[]string{"att.v1.local.cascade.composite.entry", "_INBOX_entry.x", "$JS.API.STREAM.DELETE.KV_ATT_SPENT", "$JS.API.STREAM.PURGE.KV_ATT_SPENT"},
		},
		{
			f.leaf, "vendor-b",
			[]string{">", "att.v1.local.cascade.composite.vendor-a", "att.v1.local.appraise.*.vendor-a", "_INBOX_entry.>", "_INBOX_vendor-a.>", "_INBOX.>"},
			[]string{"att.v1.local.cascade.composite.entry", "att.v1.local.cascade.composite.vendor-a", "_INBOX_entry.x"},
		},
		{
			f.hub, "entry",
			[]string{">", "att.v1.local.cascade.composite.vendor-a", "att.v1.local.appraise.*.vendor-a", "_INBOX_vendor-a.>"},
			[]string{"_INBOX_vendor-a.x", "$JS.API.STREAM.DELETE.KV_ATT_SPENT"},
		},
	} {
		nc, err := f.dial(c.at, c.who, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		must(t, err)
		for _, subject := range c.subscribe {
			sub, err := nc.SubscribeSync(subject)
			must(t, err)
			if _, err = sub.NextMsg(5 * time.Second); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s subscribes to %s: %v", c.who, subject, err)
			}
		}
		for _, subject := range c.publish {
			must(t, nc.Publish(subject, []byte("x")))
			must(t, nc.FlushTimeout(5*time.Second))
			if err := nc.LastError(); err == nil || !strings.Contains(err.Error(), `Publish to "`+subject+`"`) {
				t.Errorf("%s publishes to %s: %v", c.who, subject, err)
			}
		}
		own, err := nc.SubscribeSync("_INBOX_" + c.who + ".>")
		must(t, err)
		if _, err = own.NextMsg(50 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
			t.Errorf("%s and its own inbox: %v", c.who, err)
		}
		nc.Close()
	}
}

// Nobody gets in without a certificate of the federation's authority that names
// a user, neither as a client nor as a leaf node.
func TestFederationIdentities(t *testing.T) {
	f := startNATSFederation(t, nil)
	f.certify(t, f.ca, "stranger", strange)
	f.certify(t, authority(t, "another"), "impostor", entryID)
	for _, s := range []*server.Server{f.hub, f.leaf} {
		for _, who := range []string{"", "stranger", "impostor", "leaf"} {
			if nc, err := f.dial(s, who); err == nil {
				nc.Close()
				t.Errorf("%q gets in at %s", who, s.Name())
			}
		}
	}
	// Each at home, and only there.
	for _, c := range []struct {
		at   *server.Server
		who  string
		good bool
	}{
		{f.hub, "entry", true}, {f.hub, "vendor-a", true}, {f.hub, "vendor-b", false},
		{f.leaf, "vendor-b", true}, {f.leaf, "vendor-a", false}, {f.leaf, "entry", false},
	} {
		nc, err := f.dial(c.at, c.who)
		if (err == nil) != c.good {
			t.Errorf("%s at %s: %v", c.who, c.at.Name(), err)
		}
		if err == nil {
			nc.Close()
		}
	}
	for _, who := range []string{"vendor-a", "stranger", "impostor"} {
		f.strangeLeaf(t, who)
	}
}

// refusals counts what a server logs about a leaf node that it refuses.
type refusals struct {
	mu sync.Mutex
	n  int
}

func (r *refusals) note() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func (*refusals) Noticef(string, ...any)  {}
func (*refusals) Warnf(string, ...any)    {}
func (*refusals) Debugf(string, ...any)   {}
func (*refusals) Tracef(string, ...any)   {}
func (r *refusals) Fatalf(string, ...any) { r.note() }
func (r *refusals) Errorf(string, ...any) { r.note() }

var _ server.Logger = (*refusals)(nil)

// strangeLeaf starts the site's file with another certificate: the hub refuses
// it.
func (f *natsFederation) strangeLeaf(t *testing.T, who string) {
	t.Helper()
	r := &refusals{}
	f.hub.SetLoggerV2(r, false, false, false)
	f.leafEnvironment(t, who)
	o, err := server.ProcessConfigFile(f.siteFile(t))
	must(t, err)
	o.NoSigs, o.NoLog, o.ServerName = true, true, who
	s := startServer(t, o)
	eventually(t, "the hub refuses a leaf node as "+who, func() bool { return r.count() > 0 })
	if f.hub.NumLeafNodes() != 1 || s.NumLeafNodes() != 0 {
		t.Errorf("%s is a leaf node", who)
	}
	s.Shutdown()
}

// noVerdict checks that the components with one of the prefixes have no
// verdict but one of the reasons, and that all others have one.
func noVerdict(t *testing.T, raw []byte, prefixes, want []string) {
	t.Helper()
	var v verdictJSON
	must(t, json.Unmarshal(raw, &v))
	if len(v.Components) != 13 {
		t.Errorf("%d components", len(v.Components))
	}
	for label, c := range v.Components {
		lost := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(label, p) })
		switch {
		case lost && (c["tier"] != "none" || !slices.Contains(want, reasons(c))):
			t.Errorf("%s is %v because of %q, want none because of %q", label, c["tier"], reasons(c), want)
		case !lost && c["tier"] != "warning" && c["tier"] != "affirming":
			t.Errorf("%s is %v: %s", label, c["tier"], reasons(c))
		}
	}
}

// What the federation takes away costs the components behind it, with a
// reason, within the budget, and nothing else.
func TestFederationLosses(t *testing.T) {
	leisurely(t)
	f := startNATSFederation(t, nil)
	f.serve(t, "vendor-a")
	b, _ := f.serve(t, "vendor-b")
	const placed, handed, cascade = "lead(cpu, gpu@vendor-a, switch@vendor-b)", "lead(cpu, lead(gpu)@vendor-a, lead(switch)@vendor-b)", "cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)"
	lose := func(what string, topology string, prefixes, want []string) {
		t.Helper()
		began := time.Now()
		code, raw := f.appraise(t, topology)
		if took := time.Since(began); took > 15*time.Second || (code == 5) != (len(prefixes) > 0) {
			t.Errorf("%s, %s: exit %d after %s", what, topology, code, took)
		}
		noVerdict(t, raw, prefixes, want)
	}
	unreachable := []string{"unreachable"}
	for _, topology := range []string{placed, handed, cascade} {
		lose("whole", topology, nil, nil)
	}

	// LEAD does not import vendor A any more. Vendor A still imports vendor B,
	// but nobody hands it anything.
	f.without(t, "LEAD {", "account: VENDOR_A")
	lose("no import of A", placed, []string{"gpu/"}, unreachable)
	lose("no import of A", handed, []string{"gpu/"}, unreachable)
	lose("no import of A", cascade, []string{"gpu/", "switch/"}, unreachable)

	// Vendor A does not import vendor B any more: a chain breaks between the
	// vendors, a lead that asks both is not touched.
	f.without(t, "VENDOR_A {", "account: VENDOR_B")
	lose("no import of B by A", cascade, []string{"switch/"}, unreachable)
	lose("no import of B by A", placed, nil, nil)
	f.without(t, "", "")
	lose("restored", cascade, nil, nil)

	f.leaf.Shutdown()
	f.leaf.WaitForShutdown()
	eventually(t, "the hub misses the leaf node", func() bool { return f.hub.NumLeafNodes() == 0 })
	lose("no leaf node", placed, []string{"switch/"}, unreachable)
	lose("no leaf node", handed, []string{"switch/"}, unreachable)
	lose("no leaf node", cascade, []string{"switch/"}, unreachable)
	b.kill(t) // it waits for its server
}
