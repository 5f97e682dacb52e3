// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/assize/assize/attester/pki"
)

// examples is the folder whose files everything here is started from.
const examples = "../docs/federation"

// Who is who: the URI in the certificate, which is the user at the servers.
const (
	entryID  = "spiffe://lead.example/entry"
	nodeA    = "spiffe://vendor-a.example/node"
	nodeB    = "spiffe://vendor-b.example/node"
	leafB    = "spiffe://vendor-b.example/leaf"
	strange  = "spiffe://stranger.example/node"
	listenAt = "127.0.0.1"
)

// natsFederation is what the examples describe: a hub with an account for each
// party, a leaf node at vendor B's site, and three nodes.
type natsFederation struct {
	dir       string // instead of /etc/assize
	hub, leaf *server.Server
	leafPort  int // of the hub, for leaf nodes
	nodes     map[string]site
	ca        *pki.Authority
	operator  *operator // nil where hub.conf has the accounts
	// trust is the file of extra roots for the simulated machine in machine.
	machine, trust string
}

const federationNonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// startNATSFederation starts the servers, but no node, and simulates a machine. What
// a test adds to the files, it adds to what was read from them.
func startNATSFederation(t *testing.T, add func(hub, leaf *server.Options)) *natsFederation {
	t.Helper()
	f := &natsFederation{dir: t.TempDir(), nodes: map[string]site{}}
	f.start(t, add)
	return f
}

func (f *natsFederation) start(t *testing.T, add func(hub, leaf *server.Options)) {
	t.Helper()
	f.ca = authority(t, "federation")
	must(t, os.WriteFile(filepath.Join(f.dir, "ca.pem"), pki.PEM(f.ca.Cert), 0o600))
	for name, id := range map[string]string{
		"hub": "", "site": "", "entry": entryID, "vendor-a": nodeA, "vendor-b": nodeB, "leaf": leafB,
	} {
		f.certify(t, f.ca, name, id)
	}
	leaf := &server.Options{}
	f.hubEnvironment(t)
	hub := f.readHub(t, "", "")
	if add != nil {
		add(hub, leaf)
	}
	f.hub = startServer(t, hub)
	f.leafPort = hub.LeafNode.Port
	f.startLeaf(t, leaf)
	f.configure(t)
	f.machine = filepath.Join(f.dir, "hgx")
	f.trust = filepath.Join(f.machine, "trust.json")
	output(t, f.nodes["entry"].state, "simulate", "--machine", "hgx", "--nonce", federationNonce, "-o", f.machine)
}

// hubEnvironment sets what hub.conf takes from the environment.
func (f *natsFederation) hubEnvironment(t *testing.T) {
	t.Helper()
	for k, v := range map[string]string{
		"HUB_HOST": listenAt, "HUB_PORT": "-1", "HUB_LEAF_PORT": "-1", "HUB_STORE": filepath.Join(f.dir, "hub-store"),
		"HUB_CA": f.file("ca.pem"), "HUB_CERT": f.file("hub.pem"), "HUB_KEY": f.file("hub.key"),
	} {
		t.Setenv(k, v)
	}
}

func (f *natsFederation) file(name string) string { return filepath.Join(f.dir, name) }

// readHub reads hub.conf as the server's own program would, from the line that
// is the section on without the lines that contain the text; all of them when
// both are empty.
func (f *natsFederation) readHub(t *testing.T, section, without string) *server.Options {
	t.Helper()
	name := "hub.conf"
	if f.operator != nil {
		name = "hub-operator.conf"
	}
	raw, err := os.ReadFile(filepath.Join(examples, name))
	must(t, err)
	var kept []string
	in, dropped := false, 0
	for _, line := range strings.Split(string(raw), "\n") {
		if strings.HasPrefix(line, "  ") && strings.TrimLeft(line[2:], " ") == line[2:] && strings.HasSuffix(line, "{") {
			in = strings.TrimSpace(line) == section
		}
		if without != "" && in && strings.Contains(line, without) {
			dropped++
			continue
		}
		kept = append(kept, line)
	}
	if (dropped > 0) != (without != "") {
		t.Fatalf("hub.conf: %d lines with %q in %q", dropped, without, section)
	}
	file := f.file("hub.conf")
	must(t, os.WriteFile(file, []byte(strings.Join(kept, "\n")), 0o600))
	o, err := server.ProcessConfigFile(file)
	must(t, err)
	o.NoSigs, o.NoLog = true, true
	return o
}

// without has the running hub read its file again, with some lines gone.
func (f *natsFederation) without(t *testing.T, section, text string) {
	t.Helper()
	must(t, f.hub.ReloadOptions(f.readHub(t, section, text)))
	eventually(t, "the leaf node is there after the reload", func() bool { return f.hub.NumLeafNodes() == 1 })
}

// startLeaf starts the server of vendor B's site; extra is what a test adds to
// the file.
func (f *natsFederation) startLeaf(t *testing.T, extra *server.Options) {
	t.Helper()
	f.leafEnvironment(t, "leaf")
	o, err := server.ProcessConfigFile(f.siteFile(t))
	must(t, err)
	o.NoSigs, o.NoLog = true, true
	o.Users = append(o.Users, extra.Users...)
	for _, u := range extra.Users {
		u.Account = o.Users[0].Account
	}
	f.leaf = startServer(t, o)
	eventually(t, "the leaf node joins", func() bool { return f.hub.NumLeafNodes() == 1 && f.leaf.NumLeafNodes() == 1 })
}

// siteFile is vendor-b.conf, with what it says about credentials if the hub
// wants them.
func (f *natsFederation) siteFile(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(examples, "vendor-b.conf"))
	must(t, err)
	file := f.file("vendor-b.conf")
	must(t, os.WriteFile(file, []byte(f.uncommented(t, string(raw), "credentials:")), 0o600))
	return file
}

// uncommented takes the comment sign from a line that is for operator mode.
func (f *natsFederation) uncommented(t *testing.T, text, key string) string {
	t.Helper()
	if f.operator == nil {
		return text
	}
	if strings.Count(text, "# "+key) != 1 {
		t.Fatalf("the example has no comment with %s", key)
	}
	return strings.Replace(text, "# "+key, key, 1)
}

// leafEnvironment sets what vendor-b.conf takes from the environment; who names
// the certificate that the site shows to the hub.
func (f *natsFederation) leafEnvironment(t *testing.T, who string) {
	t.Helper()
	for k, v := range map[string]string{
		"SITE_HOST": listenAt, "SITE_PORT": "-1", "SITE_STORE": f.file("store-of-" + who), "SITE_CA": f.file("ca.pem"),
		"SITE_CERT": f.file("site.pem"), "SITE_KEY": f.file("site.key"),
		"LEAF_CERT": f.file(who + ".pem"), "LEAF_KEY": f.file(who + ".key"),
		"HUB_LEAF_URL": "tls://" + net.JoinHostPort(listenAt, strconv.Itoa(f.leafPort)),
	} {
		t.Setenv(k, v)
	}
}

func startServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatalf("%s does not come up", o.ServerName)
	}
	return s
}

// address of a server for its clients.
func address(s *server.Server) string { return "tls://" + s.Addr().String() }

// configure writes the shipped configurations of the nodes with the addresses
// and folders of this test, and the node files of each for the others.
func (f *natsFederation) configure(t *testing.T) {
	t.Helper()
	for _, name := range []string{"entry", "vendor-a", "vendor-b"} {
		raw, err := os.ReadFile(filepath.Join(examples, name+".yaml"))
		must(t, err)
		shipped, actual := "tls://hub.example:4222", address(f.hub)
		if name == "vendor-b" {
			shipped, actual = "tls://site.vendor-b.example:4222", address(f.leaf)
		}
		text := string(raw)
		if name != "vendor-b" { // whose server is its own
			text = f.uncommented(t, text, "creds:")
		}
		for from, to := range map[string]string{shipped: actual, "/etc/assize": f.dir, "/var/lib/assize": f.file("state")} {
			if !strings.Contains(text, from) {
				t.Fatalf("%s.yaml does not say %s", name, from)
			}
			text = strings.ReplaceAll(text, from, to)
		}
		s := site{name: name, state: filepath.Join(f.dir, "state", name), config: f.file(name + ".yaml"), file: f.file(name + ".node.json")}
		must(t, os.WriteFile(s.config, []byte(text), 0o600))
		must(t, os.WriteFile(s.file, output(t, s.state, "keys", "node", "--config", s.config), 0o600))
		f.nodes[name] = s
	}
}

// serve starts one node.
func (f *natsFederation) serve(t *testing.T, name string) (*process, string) {
	t.Helper()
	withCollateral(t, f.nodes[name], f.machine)
	return serve(t, f.nodes[name].state, "--config", f.nodes[name].config, "--trust", f.trust)
}

// withCollateral lets a node have the endorsements of a machine: every verifier
// needs its own.
func withCollateral(t *testing.T, s site, machine string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	must(t, err)
	line := "\nendorsements: " + filepath.Join(machine, "endorsements") + "\n"
	if !strings.Contains(string(text), line) {
		must(t, os.WriteFile(s.config, append(text, line...), 0o600))
	}
}

// appraise has the entry appraise the machine and returns exit status and
// verdict.
func (f *natsFederation) appraise(t *testing.T, topology string) (int, []byte) {
	t.Helper()
	entry := f.nodes["entry"]
	return appraiseAs(t, entry, f.machine, federationNonce, topology, "--config", entry.config)
}

// alone is the same appraisal in one process that knows nobody.
func (f *natsFederation) alone(t *testing.T, topology string) (int, []byte) {
	t.Helper()
	return appraiseAs(t, site{state: filepath.Join(t.TempDir(), "alone")}, f.machine, federationNonce, topology)
}

// authority is a new root.
func authority(t *testing.T, name string) *pki.Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca, err := pki.Root(key, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	must(t, err)
	return ca
}

// certify writes <name>.pem and <name>.key: a client with this id, or, without
// one, a server on loopback.
func (f *natsFederation) certify(t *testing.T, ca *pki.Authority, name, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if id == "" {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.ParseIP(listenAt)}
	} else {
		uri, err := url.Parse(id)
		must(t, err)
		c.ExtKeyUsage, c.URIs = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []*url.URL{uri}
	}
	cert, err := ca.Issue(key, c)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(f.file(name+".pem"), pki.PEM(cert.Cert), 0o600))
	must(t, os.WriteFile(f.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// dial connects a client that shows the certificate of that name; none for "".
func (f *natsFederation) dial(s *server.Server, name string, more ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{
		nats.RootCAs(f.file("ca.pem")), nats.Timeout(5 * time.Second), nats.NoReconnect(), nats.PermissionErrOnSubscribe(true),
	}, more...)
	if name != "" {
		opts = append(opts, nats.ClientCert(f.file(name+".pem"), f.file(name+".key")))
	}
	return nats.Connect(address(s), opts...)
}

// eventually waits up to ten seconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}
