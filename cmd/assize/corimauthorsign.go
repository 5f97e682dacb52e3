// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// signFlags are the flags of "assize corim sign".
type signFlags struct {
	key, kid, chain, name, uri, until, public, output string
}

func newCorimSign() *cobra.Command {
	f := &signFlags{}
	cmd := &cobra.Command{
		Use:   "sign --key KEY --name NAME TEMPLATE… -o FILE",
		Short: "Sign reference values",
		Long: `Sign makes a signed CoRIM (COSE_Sign1) of a template: one file as from-evidence
writes it, or those of cocli, first that of the CoRIM, then one for each CoMID; or
of an unsigned CoRIM. The key is a PKCS#8 PEM file that only its owner can read.

With --chain the certificates of the key go along, for verifiers that have their
root. Otherwise they find the key by its identifier: --kid, or the RFC 7638
thumbprint. --public writes the public key as the JWK set that stands under "keys"
in a file of authorities (schemas/corim-trust.schema.json).`,
		Example: `  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out vendor.pem && chmod 600 vendor.pem
  assize corim sign --key vendor.pem --name ACME golden.json -o golden.corim --public vendor-jwks.json
  assize corim sign --key leaf.pem --chain chain.pem --name ACME corim.json comid-gpu.json -o gpu.corim`,
		Args: some("TEMPLATE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "key", "kid", "chain", "name", "uri", "not-after", "public", "output"); err != nil {
				return err
			}
			return runSign(cmd, f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.key, "key", "", "private key (PKCS#8 PEM: P-256, P-384, P-521, Ed25519 or RSA; required)")
	fl.StringVar(&f.kid, "kid", "", "identifier of the key (default without --chain: its RFC 7638 thumbprint)")
	fl.StringVar(&f.chain, "chain", "", "certificates of the key (PEM, that of the key first, without the root)")
	fl.StringVar(&f.name, "name", "", "name of the signer (required)")
	fl.StringVar(&f.uri, "uri", "", "address of the signer")
	fl.StringVar(&f.until, "not-after", "", "end of the validity of the signature (RFC 3339)")
	fl.StringVar(&f.public, "public", "", "file to write the public key to, as JWK set")
	fl.StringVarP(&f.output, "output", "o", "", "file to write the signed CoRIM to (required)")
	return cmd
}

func runSign(cmd *cobra.Command, f *signFlags, files []string) error {
	if f.key == "" || f.name == "" || f.output == "" {
		return usage("corim sign wants --key, --name and -o")
	}
	s, public, err := f.signer()
	if err != nil {
		return err
	}
	raw, err := readTemplates(cmd, files)
	if err != nil {
		return err
	}
	out, err := corim.Sign(rand.Reader, raw, s)
	if err != nil {
		return err
	}
	if f.public != "" {
		if public == nil {
			return errors.New("--public: keys of this kind have no JWK here, use --chain")
		}
		if err := os.WriteFile(f.public, public, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(f.output, out, 0o644); err != nil {
		return err
	}
	d, err := corim.Parse(out)
	if err != nil {
		return err
	}
	by := "certificate of " + f.name
	if len(s.KeyID) > 0 {
		by = "key " + string(s.KeyID)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %d tags, profile %s, signed by %s, sha-256 %x\n", f.output, d.ID, len(d.Tags), d.Profile, by, d.Digest)
	return err
}

// signer reads key and certificates, and gives the public key as a JWK set, or nil.
func (f *signFlags) signer() (corim.Signer, []byte, error) {
	s := corim.Signer{Name: f.name, URI: f.uri, KeyID: []byte(f.kid)}
	if info, err := os.Stat(f.key); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return s, nil, fmt.Errorf("%s can be read by others (mode %o), want 0600", f.key, info.Mode().Perm())
	}
	raw, err := readFile(f.key, maxJWKS)
	if err != nil {
		return s, nil, err
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return s, nil, fmt.Errorf("%s is not one private key in PKCS#8 (PEM)", f.key)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return s, nil, fmt.Errorf("%s: %w", f.key, err)
	}
	var ok bool
	if s.Key, ok = key.(crypto.Signer); !ok {
		return s, nil, fmt.Errorf("%s: %T does not sign", f.key, key)
	}
	if f.until != "" {
		if s.Validity.NotAfter, err = time.Parse(time.RFC3339, f.until); err != nil {
			return s, nil, usage("--not-after: %w", err)
		}
	}
	if f.chain != "" {
		if s.Chain, err = readChain(f.chain); err != nil {
			return s, nil, err
		}
	}
	jose, err := trust.NewSigner(s.Key)
	if err != nil {
		if f.kid == "" && f.chain == "" {
			return s, nil, fmt.Errorf("%s: no identifier follows from a key of this kind, --kid gives one: %w", f.key, err)
		}
		return s, nil, nil
	}
	if f.kid == "" && f.chain == "" {
		s.KeyID = []byte(jose.KID())
	}
	one := jose.Key(f.name, nil, trust.RoleAuthor)
	if len(s.KeyID) > 0 {
		one.KID = string(s.KeyID)
	}
	public, err := publicSet(one)
	return s, public, err
}

// publicSet is the JWK set of one key, with a role that lets it sign neither
// verdicts nor results: for what it may speak says the file of authorities.
func publicSet(k trust.Key) ([]byte, error) {
	set, err := trust.NewAnchors(k)
	if err != nil {
		return nil, err
	}
	return set.JWKS()
}

func readChain(name string) ([]*x509.Certificate, error) {
	raw, err := readFile(name, maxJWKS)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for len(bytes.TrimSpace(raw)) > 0 {
		block, rest := pem.Decode(raw)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s has something other than certificates (PEM)", name)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out, raw = append(out, c), rest
	}
	return out, nil
}

// readTemplates reads what is to be signed, as an unsigned CoRIM.
func readTemplates(cmd *cobra.Command, files []string) ([]byte, error) {
	var list [][]byte
	for _, name := range files {
		raw, err := readInput(cmd, name, limits.CorimDocument)
		if err != nil {
			return nil, err
		}
		list = append(list, raw)
	}
	first := bytes.TrimSpace(list[0])
	if len(list) > 1 {
		return corim.FromTemplates(first, list[1:]...)
	}
	if len(first) == 0 || first[0] != '{' {
		return list[0], nil
	}
	var file templateFile
	dec := json.NewDecoder(bytes.NewReader(first))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w (a template of cocli wants those of its CoMIDs behind it)", files[0], err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: something follows the template", files[0])
	}
	comids := make([][]byte, len(file.Comids))
	for i, c := range file.Comids {
		comids[i] = c
	}
	return corim.FromTemplates(file.Corim, comids...)
}
