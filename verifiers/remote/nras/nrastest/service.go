// SPDX-License-Identifier: Apache-2.0

// Package nrastest stands in for NVIDIA's Remote Attestation Service in tests:
// an HTTP server on loopback that answers every request about one device with
// claims that the test gives it, signed with keys of its own. Begin with New.
//
// It writes every form anew and imports none of the code under test, and it
// verifies nothing: what it says about a device is what it was told to say.
package nrastest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Claims are those of a token.
type Claims = map[string]any

// Key is one signing key.
type Key struct {
	KID     string
	Private *ecdsa.PrivateKey
}

// Service is the stand-in. Fields may be changed while no request is under way.
type Service struct {
	URL string
	// Issuer is the claim iss; URL unless it is changed.
	Issuer string
	// Device are the claims of every device; ueid, hwmodel, eat_nonce and those of a
	// JWT are added from the request.
	Device Claims
	// Overall is the overall result.
	Overall bool
	// Edit changes both sets of claims before they are signed; nil changes nothing.
	Edit func(overall, device Claims)
	// Answer takes the place of everything about requests; nil for none.
	Answer http.HandlerFunc
	// Published are the keys in the key set, of which the last one signs.
	Published []Key
	// Signing is the key that signs instead, published or not.
	Signing *Key

	tb     testing.TB
	random io.Reader
	now    func() time.Time
	mu     sync.Mutex
	asked  []*http.Request
	keys   int
}

// New starts a service with one key and a device that it finds nothing wrong with.
func New(tb testing.TB, random io.Reader, now func() time.Time) *Service {
	tb.Helper()
	s := &Service{tb: tb, random: random, now: now, Overall: true, Device: GPU()}
	s.Rotate("kid-0")
	srv := httptest.NewServer(s)
	tb.Cleanup(srv.Close)
	s.URL, s.Issuer = srv.URL, srv.URL
	return s
}

// Rotate publishes a new key as the only one.
func (s *Service) Rotate(kid string) Key {
	k := s.Key(kid)
	s.Published = []Key{k}
	return k
}

// Key makes a key.
func (s *Service) Key(kid string) Key {
	s.tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P384(), s.random)
	if err != nil {
		s.tb.Fatal(err)
	}
	return Key{KID: kid, Private: private}
}

// Asked are the requests about devices, KeysAsked the number of those for keys.
func (s *Service) Asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.asked...)
}

// KeysAsked is how often the key set was fetched.
func (s *Service) KeysAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// Set changes the service while requests may be under way.
func (s *Service) Set(change func(*Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/.well-known/jwks.json" {
		s.keys++
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.KeySet())
		return
	}
	s.asked = append(s.asked, r)
	if s.Answer != nil {
		s.Answer(w, r)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.Method != http.MethodPost || len(parts) != 3 || parts[1] != "attest" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	reply, err := s.Reply(parts[2], body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(reply)
}

// KeySet is the JWK Set.
func (s *Service) KeySet() []byte {
	list := []any{}
	for _, k := range s.Published {
		list = append(list, JWK(k))
	}
	return encode(s.tb, Claims{"keys": list})
}

// JWK is the public part of a key.
func JWK(k Key) Claims {
	point := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	x, y := make([]byte, 48), make([]byte, 48)
	return Claims{
		"kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": k.KID,
		"x": point(k.Private.X.FillBytes(x)), "y": point(k.Private.Y.FillBytes(y)),
	}
}

type request struct {
	Nonce, Arch   string
	ClaimsVersion string                                   `json:"claims_version"`
	EvidenceList  []struct{ Evidence, Certificate string } `json:"evidence_list"`
}

type failure string

func (f failure) Error() string { return string(f) }

// Reply is the reply to a request for a kind of device ("gpu" or "switch").
func (s *Service) Reply(kind string, body []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	if nonce, err := hex.DecodeString(r.Nonce); err != nil || len(nonce) != 32 || r.ClaimsVersion != "3.0" || len(r.EvidenceList) == 0 {
		return nil, failure("bad request")
	}
	prefix := map[string]string{"gpu": "GPU-", "switch": "SWITCH-"}[kind]
	if prefix == "" {
		return nil, failure("no such device")
	}
	overall := s.standard(r.Nonce)
	overall["sub"], overall["x-nvidia-ver"], overall["x-nvidia-overall-att-result"] = "NVIDIA-PLATFORM-ATTESTATION", "3.0", s.Overall
	submods, tokens := Claims{}, Claims{}
	for i, e := range r.EvidenceList {
		device := s.standard(r.Nonce)
		for k, v := range s.Device {
			device[k] = v
		}
		if err := describe(device, e.Certificate); err != nil {
			return nil, err
		}
		if s.Edit != nil {
			s.Edit(overall, device)
		}
		name := prefix + strconv.Itoa(i)
		token := s.Sign(device)
		tokens[name], submods[name] = token, Digest(token)
	}
	if _, edited := overall["submods"]; !edited {
		overall["submods"] = submods
	}
	return Bundle(s.tb, s.Sign(overall), tokens), nil
}

// Bundle is a detached EAT bundle.
func Bundle(tb testing.TB, overall string, tokens Claims) []byte {
	return encode(tb, []any{[]any{"JWT", overall}, tokens})
}

// Digest is the entry of a device token in the overall token.
func Digest(token string) []any {
	sum := sha256.Sum256([]byte(token))
	return []any{"DIGEST", []any{"SHA-256", hex.EncodeToString(sum[:])}}
}

func (s *Service) standard(nonce string) Claims {
	now := s.now().Unix()
	return Claims{"iss": s.Issuer, "iat": now, "nbf": now, "exp": now + 3600, "jti": "test", "eat_nonce": strings.ToLower(nonce)}
}

// describe adds who the device is, from its certificates.
func describe(device Claims, chain string) error {
	text, err := base64.StdEncoding.DecodeString(chain)
	if err != nil {
		return err
	}
	for i := range 2 {
		block, rest := pem.Decode(text)
		if block == nil {
			return failure("no certificates")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if text = rest; i == 0 {
			device["ueid"] = c.SerialNumber.String()
		} else {
			device["hwmodel"] = c.Subject.CommonName
		}
	}
	return nil
}

// Sign makes a compact JWT with the key that signs now.
func (s *Service) Sign(claims Claims) string {
	k := s.Signing
	if k == nil {
		k = &s.Published[len(s.Published)-1]
	}
	return s.SignAs(Claims{"kid": k.KID, "alg": "ES384"}, claims, k.Private)
}

// SignAs makes a compact JWT with any header, signed with ES384.
func (s *Service) SignAs(header, claims Claims, key *ecdsa.PrivateKey) string {
	s.tb.Helper()
	input := base64.RawURLEncoding.EncodeToString(encode(s.tb, header)) + "." + base64.RawURLEncoding.EncodeToString(encode(s.tb, claims))
	sum := sha512.Sum384([]byte(input))
	r, t, err := ecdsa.Sign(s.random, key, sum[:])
	if err != nil {
		s.tb.Fatal(err)
	}
	raw := make([]byte, 96)
	r.FillBytes(raw[:48])
	t.FillBytes(raw[48:])
	return input + "." + base64.RawURLEncoding.EncodeToString(raw)
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// GPU are claims (version 3.0) about a GPU with which nothing is wrong.
func GPU() Claims { return healthy("x-nvidia-gpu-", "driver", "vbios") }

// Switch are such claims about an NVSwitch.
func Switch() Claims { return healthy("x-nvidia-switch-", "bios") }

func healthy(prefix string, manifests ...string) Claims {
	chain := func() Claims {
		return Claims{
			"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good",
			"x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z", "x-nvidia-cert-revocation-reason": nil,
		}
	}
	c := Claims{
		"measres": "success", "secboot": true, "dbgstat": "disabled", "oemid": "5703", "x-nvidia-attestation-warning": nil,
		prefix + "arch-check": true, prefix + "attestation-report-cert-chain": chain(),
	}
	for _, name := range []string{"cert-chain-fwid-match", "parsed", "nonce-match", "signature-verified"} {
		c[prefix+"attestation-report-"+name] = true
	}
	for _, m := range manifests {
		for _, name := range []string{"fetched", "schema-validated", "signature-verified", "version-match", "measurements-available"} {
			c[prefix+m+"-rim-"+name] = true
		}
		c[prefix+m+"-rim-cert-chain"] = chain()
	}
	if len(manifests) > 1 {
		c[prefix+"vbios-index-no-conflict"] = true
	}
	return c
}
