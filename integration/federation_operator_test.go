// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// operator is the federation of hub.conf as signed accounts: the same exports,
// imports and permissions, each import with an activation token.
type operator struct {
	key      nkeys.KeyPair
	accounts map[string]*signedAccount
	folder   string // of account JWTs
}

type signedAccount struct {
	key    nkeys.KeyPair
	claims *jwt.AccountClaims
	// open says which accounts an export is for, by subject.
	open map[string][]any
}

func keyPair(t *testing.T, make func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := make()
	must(t, err)
	return k
}

func publicKey(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	must(t, err)
	return p
}

// startOperatorFederation starts hub-operator.conf. Tokens are not signed for
// what the account named in denied would import.
func startOperatorFederation(t *testing.T, denied string) *natsFederation {
	t.Helper()
	f := &natsFederation{dir: t.TempDir(), nodes: map[string]site{}}
	o := &operator{key: keyPair(t, nkeys.CreateOperator), accounts: map[string]*signedAccount{}, folder: f.file("accounts")}
	f.operator = o
	must(t, os.Mkdir(o.folder, 0o700))
	for name, rules := range hubAccounts(t) {
		o.export(t, name, rules)
	}
	for name, rules := range hubAccounts(t) {
		o.imports(t, name, rules, name == denied)
	}
	claims := jwt.NewOperatorClaims(publicKey(t, o.key))
	claims.SystemAccount = publicKey(t, o.accounts["SYS"].key)
	token, err := claims.Encode(o.key)
	must(t, err)
	must(t, os.WriteFile(f.file("operator.jwt"), []byte(token), 0o600))
	for _, a := range o.accounts {
		token, err := a.claims.Encode(o.key)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(o.folder, publicKey(t, a.key)+".jwt"), []byte(token), 0o600))
	}
	rules := hubAccounts(t)
	for _, u := range []struct{ account, file string }{{"LEAD", "entry"}, {"VENDOR_A", "vendor-a"}, {"VENDOR_B", "leaf"}} {
		o.user(t, u.account, rules[u.account], f.file(u.file+".creds"))
	}
	t.Setenv("HUB_OPERATOR", f.file("operator.jwt"))
	t.Setenv("HUB_SYS", claims.SystemAccount)
	t.Setenv("HUB_ACCOUNTS", o.folder)
	t.Setenv("LEAF_CREDS", f.file("leaf.creds"))
	f.start(t, nil)
	return f
}

// hubAccounts reads the accounts of hub.conf.
func hubAccounts(t *testing.T) map[string]map[string]any {
	t.Helper()
	for k, v := range map[string]string{"HUB_HOST": listenAt, "HUB_PORT": "-1", "HUB_LEAF_PORT": "-1", "HUB_STORE": "x", "HUB_CA": "x", "HUB_CERT": "x", "HUB_KEY": "x"} {
		t.Setenv(k, v)
	}
	m, err := conf.ParseFile(filepath.Join(examples, "hub.conf"))
	must(t, err)
	out := map[string]map[string]any{}
	for name, rules := range m["accounts"].(map[string]any) {
		out[name] = rules.(map[string]any)
	}
	return out
}

// listOf is a list of maps of an account, empty if it has none.
func listOf(rules map[string]any, key string) []map[string]any {
	var out []map[string]any
	list, _ := rules[key].([]any)
	for _, e := range list {
		out = append(out, e.(map[string]any))
	}
	return out
}

func (o *operator) export(t *testing.T, name string, rules map[string]any) {
	t.Helper()
	a := &signedAccount{key: keyPair(t, nkeys.CreateAccount), open: map[string][]any{}}
	a.claims = jwt.NewAccountClaims(publicKey(t, a.key))
	a.claims.Name = name
	if rules["jetstream"] == "enabled" || rules["jetstream"] == true {
		a.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	}
	for _, e := range listOf(rules, "exports") {
		subject := e["service"].(string)
		x := &jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Service, TokenReq: true, ResponseType: jwt.ResponseTypeSingleton}
		if e["response"] == "stream" {
			x.ResponseType = jwt.ResponseTypeStream
		}
		if s, ok := e["threshold"].(string); ok {
			d, err := time.ParseDuration(s)
			must(t, err)
			x.ResponseThreshold = d
		}
		a.claims.Exports.Add(x)
		a.open[subject] = e["accounts"].([]any)
	}
	o.accounts[name] = a
}

// imports adds the imports, each with the exporter's token, or without any.
func (o *operator) imports(t *testing.T, name string, rules map[string]any, denied bool) {
	t.Helper()
	a := o.accounts[name]
	for _, e := range listOf(rules, "imports") {
		from := e["service"].(map[string]any)
		exporter, subject := o.accounts[from["account"].(string)], from["subject"].(string)
		in := &jwt.Import{Name: subject, Subject: jwt.Subject(subject), Account: publicKey(t, exporter.key), Type: jwt.Service}
		if slices.Contains(exporter.open[subject], any(name)) && !denied {
			c := jwt.NewActivationClaims(publicKey(t, a.key))
			c.ImportSubject, c.ImportType, c.Expires = in.Subject, jwt.Service, time.Now().Add(time.Hour).Unix()
			token, err := c.Encode(exporter.key)
			must(t, err)
			in.Token = token
		}
		a.claims.Imports.Add(in)
	}
}

// user writes credentials with the permissions of the account's only user in
// hub.conf; a leaf node, which has none there, is not restricted.
func (o *operator) user(t *testing.T, account string, rules map[string]any, file string) {
	t.Helper()
	key := keyPair(t, nkeys.CreateUser)
	c := jwt.NewUserClaims(publicKey(t, key))
	for _, u := range listOf(rules, "users") {
		p := u["permissions"].(map[string]any)
		for verb, to := range map[string]*jwt.StringList{"publish": &c.Pub.Allow, "subscribe": &c.Sub.Allow} {
			for _, s := range p[verb].(map[string]any)["allow"].([]any) {
				to.Add(s.(string))
			}
		}
		r := p["allow_responses"].(map[string]any)
		d, err := time.ParseDuration(r["expires"].(string))
		must(t, err)
		c.Resp = &jwt.ResponsePermission{MaxMsgs: int(r["max"].(int64)), Expires: d}
	}
	token, err := c.Encode(o.accounts[account].key)
	must(t, err)
	seed, err := key.Seed()
	must(t, err)
	creds, err := jwt.FormatUserConfig(token, seed)
	must(t, err)
	must(t, os.WriteFile(file, creds, 0o600))
}

// With signed accounts and activation tokens the same composite gives the same
// component results.
func TestFederationActivationTokens(t *testing.T) {
	f := startOperatorFederation(t, "")
	a, _ := f.serve(t, "vendor-a")
	b, _ := f.serve(t, "vendor-b")
	code, raw := f.alone(t, "lead(cpu, gpu, switch)")
	if code != 3 {
		t.Fatalf("in one process: %d %s", code, raw)
	}
	want := componentResults(t, raw)
	for _, topology := range []string{
		"lead(cpu, gpu@vendor-a, switch@vendor-b)",
		"cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)",
		"lead(cpu, lead(gpu, cascade(switch@vendor-b))@vendor-a)",
	} {
		if code, raw := f.appraise(t, topology); code != 3 || componentResults(t, raw) != want {
			t.Errorf("%s: %d\n%s\nwant\n%s", topology, code, raw, want)
		}
	}
	stopQuietly(t, a, b)
}

// An import without the exporter's token is no import, and neither a
// certificate nor credentials alone are a login.
func TestFederationWithoutToken(t *testing.T) {
	f := startOperatorFederation(t, "VENDOR_A")
	for _, c := range []struct {
		certificate, creds string
		good               bool
	}{{"entry", "entry", true}, {"entry", "", false}, {"", "entry", false}} {
		var opts []nats.Option
		if c.creds != "" {
			opts = append(opts, nats.UserCredentials(f.file(c.creds+".creds")))
		}
		nc, err := f.dial(f.hub, c.certificate, opts...)
		if (err == nil) != c.good {
			t.Errorf("certificate %q, credentials %q: %v", c.certificate, c.creds, err)
		}
		if err == nil {
			nc.Close()
		}
	}
	f.serve(t, "vendor-a")
	f.serve(t, "vendor-b")
	_, raw := f.appraise(t, "cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)")
	noVerdict(t, raw, []string{"switch/"}, []string{"unreachable"})
	_, raw = f.appraise(t, "lead(cpu, gpu@vendor-a, switch@vendor-b)")
	noVerdict(t, raw, nil, nil)
}
