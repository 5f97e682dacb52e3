// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestTLSVersion: a server that has nothing newer than TLS 1.2 is not talked to.
func TestTLSVersion(t *testing.T) {
	dir := t.TempDir()
	cert, caFile, _ := selfSigned(t, dir, "server")
	for version, ok := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		s := listening(t, &server.Options{TLS: true, TLSTimeout: 2, TLSHandshakeFirst: true, TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, MaxVersion: version, Certificates: []tls.Certificate{cert},
		}})
		c := Config{Name: "x", URLs: []string{strings.Replace(s.ClientURL(), "nats://", "tls://", 1)}, TLSFirst: true, CAFile: caFile}
		b, err := Connect(within(t, 3*time.Second), c)
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}
