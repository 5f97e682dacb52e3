// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verdict"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// listening starts a server on a random loopback port.
func listening(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoLog, o.NoSigs = "127.0.0.1", -1, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		t.Fatal("server is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]Config{
		"no name":            {URLs: []string{"nats://127.0.0.1:1"}},
		"no server":          {Name: "x"},
		"tenant":             {Name: "x", URLs: []string{"nats://127.0.0.1:1"}, Tenant: "a.b"},
		"site":               {Name: "x", URLs: []string{"nats://127.0.0.1:1"}, Site: "*"},
		"half a certificate": {Name: "x", URLs: []string{"nats://127.0.0.1:1"}, CertFile: "c.pem"},
		"missing nkey":       {Name: "x", URLs: []string{"nats://127.0.0.1:1"}, NKeyFile: "does-not-exist"},
		"missing ca":         {Name: "x", URLs: []string{"nats://127.0.0.1:1"}, CAFile: "does-not-exist"},
		"nobody listens":     {Name: "x", URLs: []string{"nats://127.0.0.1:1"}},
	} {
		if b, err := Connect(within(t, 2*time.Second), c); err == nil {
			t.Errorf("%s: accepted", name)
			_ = b.Close(t.Context())
		}
	}
}

func TestRetryConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	b := newTestBus(t, Config{Name: "x", URLs: []string{"nats://" + addr.String()}, RetryConnect: true})
	if err := b.Ready(within(t, time.Second)); err == nil {
		t.Error("ready without a server")
	}
	_, err = b.Caller(CallerOptions{Reconnect: 10 * time.Millisecond}).Appraise(within(t, 5*time.Second), newCall(AnySite))
	wantReason(t, err, verdict.ReasonUnreachable)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: addr.Port, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	eventually(t, "ready", func() bool { return b.Ready(context.Background()) == nil })
}

func TestReadyAndClose(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := b.Close(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("close took %v", d)
	}
	if err := b.Ready(t.Context()); err == nil {
		t.Error("ready after close")
	}
	if err := b.Close(within(t, time.Second)); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestClosedConnectionIsNotReady(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	b.services.Close()
	eventually(t, "not ready", func() bool { return b.Ready(context.Background()) != nil })
}

func nkeyUser(t testing.TB, dir, name string, p *server.Permissions) (*server.NkeyUser, string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	file := filepath.Join(dir, name+".nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return &server.NkeyUser{Nkey: pub, Permissions: p}, file
}

func TestPermissionDeniedFailsAtOnce(t *testing.T) {
	dir := t.TempDir()
	noPublish, noPublishSeed := nkeyUser(t, dir, "a", &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"att.v1.*.appraise.>"}}})
	noInbox, noInboxSeed := nkeyUser(t, dir, "b", &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_other.>"}}})
	s := listening(t, &server.Options{Nkeys: []*server.NkeyUser{noPublish, noInbox}})
	for name, c := range map[string]Config{
		"publish": {Name: "x", NKeyFile: noPublishSeed},
		"inbox":   {Name: "x", NKeyFile: noInboxSeed, InboxPrefix: "_INBOX_mine"},
	} {
		t.Run(name, func(t *testing.T) {
			c.URLs = []string{s.ClientURL()}
			b := newTestBus(t, c)
			start := time.Now()
			_, err := b.Caller(CallerOptions{}).Appraise(within(t, 20*time.Second), newCall(AnySite))
			wantReason(t, err, verdict.ReasonRefused)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestInboxPrefix(t *testing.T) {
	dir := t.TempDir()
	lead, leadSeed := nkeyUser(t, dir, "lead", &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"att.v1.local.appraise.>", "att.v1.local.cancel.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_lead.>"}},
	})
	verifier, verifierSeed := nkeyUser(t, dir, "verifier", &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"att.v1.local.event.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"att.v1.local.>", "$SRV.>"}},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
	})
	s := listening(t, &server.Options{Nkeys: []*server.NkeyUser{lead, verifier}})
	url := []string{s.ClientURL()}
	serviceOn(t, newTestBus(t, Config{Name: "v", URLs: url, NKeyFile: verifierSeed}), says("good"))
	b := newTestBus(t, Config{Name: "l", URLs: url, NKeyFile: leadSeed, InboxPrefix: "_INBOX_lead"})
	if _, err := b.Caller(CallerOptions{}).Appraise(within(t, 5*time.Second), newCall(AnySite)); err != nil {
		t.Fatal(err)
	}
}

// selfSigned makes a certificate for 127.0.0.1 and writes it and its key.
func selfSigned(t testing.TB, dir, name string) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	if cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	srvCert, caFile, _ := selfSigned(t, dir, "server")
	_, clientFile, clientKey := selfSigned(t, dir, "client")
	_, strangerFile, strangerKey := selfSigned(t, dir, "stranger")
	clients := x509.NewCertPool()
	clientPEM, err := os.ReadFile(clientFile)
	if err != nil {
		t.Fatal(err)
	}
	clients.AppendCertsFromPEM(clientPEM)
	s := listening(t, &server.Options{TLS: true, TLSVerify: true, TLSTimeout: 2, TLSHandshakeFirst: true, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{srvCert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	c := Config{Name: "x", URLs: []string{strings.Replace(s.ClientURL(), "nats://", "tls://", 1)}, TLSFirst: true, CAFile: caFile, CertFile: clientFile, KeyFile: clientKey}
	if err := newTestBus(t, c).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"stranger":       func(c *Config) { c.CertFile, c.KeyFile = strangerFile, strangerKey },
		"no certificate": func(c *Config) { c.CertFile, c.KeyFile = "", "" },
		"wrong root":     func(c *Config) { c.CAFile = strangerFile },
	} {
		bad := c
		change(&bad)
		if b, err := Connect(within(t, 3*time.Second), bad); err == nil {
			t.Errorf("%s: connected", name)
			_ = b.Close(t.Context())
		}
	}
}
