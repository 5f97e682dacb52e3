// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/assize/assize/verdict"
)

// claims renders what the document says, in the words of the NSM API. Bytes are
// lower-case hexadecimal.
func claims(d *document, c chain) map[string]any {
	path := make([]any, len(c))
	for i, l := range c {
		path[i] = map[string]any{
			"subject": l.cert.Subject.CommonName, "serial": l.cert.SerialNumber.Text(16),
			"not_before": l.cert.NotBefore.UTC().Format(time.RFC3339), "not_after": l.cert.NotAfter.UTC().Format(time.RFC3339),
		}
	}
	root := sha256.Sum256(c[0].cert.Raw)
	m := map[string]any{
		// Nothing in silicon signs: AWS's hypervisor does, under AWS's root.
		"trust_basis": "hypervisor-rooted",
		"module_id":   d.moduleID,
		"timestamp":   d.timestamp.Format(time.RFC3339Nano),
		"digest":      digestName,
		"chain":       path,
		"root_sha256": hex.EncodeToString(root[:]),
	}
	for name, value := range d.registers() {
		m[name] = value
	}
	for name, value := range map[string][]byte{"nonce": d.nonce, "user_data": d.userData, "public_key": d.publicKey} {
		if len(value) > 0 {
			m[name] = hex.EncodeToString(value)
		}
	}
	return m
}

// registers are the PCRs by name.
func (d *document) registers() map[string]string {
	m := make(map[string]string, len(d.pcrs))
	for i, v := range d.pcrs {
		m[fmt.Sprintf("pcr%d", i)] = hex.EncodeToString(v)
	}
	return m
}

func (d *document) facts(spki []byte) verdict.Facts {
	signer := sha256.Sum256(spki)
	return verdict.Facts{
		Device:     []string{"aws-nitro:" + d.moduleID},
		SignerSPKI: hex.EncodeToString(signer[:]),
		ReportData: hex.EncodeToString(d.userData),
		Registers:  d.registers(),
		Keys:       d.keys(),
	}
}

// keys is public_key, if it is a SubjectPublicKeyInfo in DER. The application chose
// it, and nothing says what for (KMS encrypts to it), so that it is not the one key
// that signs composites (decision D-128).
func (d *document) keys() []verdict.CommittedKey {
	key, err := x509.ParsePKIXPublicKey(d.publicKey)
	if err != nil {
		return nil
	}
	// Other bytes for the same key would be found by nobody who has the key.
	if der, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(der, d.publicKey) {
		return nil
	}
	sum := sha256.Sum256(d.publicKey)
	return []verdict.CommittedKey{{SPKI: hex.EncodeToString(sum[:]), Via: "public-key", Origin: verdict.OriginApplication}}
}
