// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
)

// authority issues certificates for the tests of the listener.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.key, a.cert = a.issue(t, "root", true)
	return a
}

func (a *authority) issue(t *testing.T, name string, ca bool) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := tpl, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// write puts a certificate and its key into files and returns their names.
func (a *authority) write(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, c := a.issue(t, name, false)
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", c.Raw)
	writePEM(t, key, "PRIVATE KEY", raw)
	return cert, key
}

func writePEM(t *testing.T, name, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answered serves on the listener and says whether a client is answered, and by
// which certificate.
func answered(t *testing.T, ln net.Listener, client *tls.Config) (string, error) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Get("https://" + ln.Addr().String())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func TestListenTLS(t *testing.T) {
	dir, servers, clients, strangers := t.TempDir(), newAuthority(t), newAuthority(t), newAuthority(t)
	c := config.ListenTLS{ClientCA: filepath.Join(dir, "clients.pem")}
	c.Cert, c.Key = servers.write(t, dir, "first")
	writePEM(t, c.ClientCA, "CERTIFICATE", clients.cert.Raw)
	ln, scheme, err := listenHTTP(t.Context(), "127.0.0.1:0", c)
	if err != nil || scheme != "https" {
		t.Fatal(scheme, err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })

	roots := x509.NewCertPool()
	roots.AddCert(servers.cert)
	with := func(a *authority, name string) *tls.Config {
		out := &tls.Config{RootCAs: roots}
		if a != nil {
			cert, key := a.write(t, t.TempDir(), name)
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			out.Certificates = []tls.Certificate{pair}
		}
		return out
	}
	if got, err := answered(t, ln, with(clients, "client")); err != nil || got != "first" {
		t.Errorf("a client of ours: %q, %v", got, err)
	}
	if _, err := answered(t, ln, with(nil, "")); err == nil {
		t.Error("a client without certificate is answered")
	}
	if _, err := answered(t, ln, with(strangers, "stranger")); err == nil {
		t.Error("a client with somebody else's certificate is answered")
	}
	old := with(clients, "client")
	old.MaxVersion = tls.VersionTLS12
	if _, err := answered(t, ln, old); err == nil {
		t.Error("TLS 1.2 is spoken")
	}

	// Renewed under the running process.
	cert, key := servers.write(t, t.TempDir(), "second")
	move(t, cert, c.Cert)
	move(t, key, c.Key)
	later := time.Now().Add(2 * time.Second)
	for _, f := range []string{c.Cert, c.Key} {
		if err := os.Chtimes(f, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := answered(t, ln, with(clients, "client")); err != nil || got != "second" {
		t.Errorf("after the renewal: %q, %v", got, err)
	}
	if err := os.Remove(c.ClientCA); err != nil {
		t.Fatal(err)
	}
	if _, err := answered(t, ln, with(clients, "client")); err == nil {
		t.Error("clients are answered though it is not known any more who may ask")
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListenWithoutUsableFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := newAuthority(t).write(t, dir, "server")
	_, other := newAuthority(t).write(t, dir, "other")
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]config.ListenTLS{
		"no such file":     {Cert: filepath.Join(dir, "none.pem"), Key: key},
		"another key":      {Cert: cert, Key: other},
		"no client roots":  {Cert: cert, Key: key, ClientCA: empty},
		"a folder as file": {Cert: dir, Key: key},
	} {
		if ln, _, err := listenHTTP(t.Context(), "127.0.0.1:0", c); err == nil {
			_ = ln.Close()
			t.Errorf("%s: it listens", name)
		}
	}
	ln, scheme, err := listenHTTP(t.Context(), "127.0.0.1:0", config.ListenTLS{})
	if err != nil || scheme != "http" {
		t.Fatal(scheme, err)
	}
	_ = ln.Close()
}
