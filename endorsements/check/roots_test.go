// SPDX-License-Identifier: Apache-2.0

package check

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The roots that are pinned here are those that the vendors publish.
func TestPinnedRoots(t *testing.T) {
	for text, want := range map[string]string{
		intelRootPEM:        "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
		nvidiaDeviceRootPEM: "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
	} {
		certs, err := certificates([]byte(text))
		if err != nil || len(certs) != 1 {
			t.Fatal(len(certs), err)
		}
		if sum := sha256.Sum256(certs[0].Raw); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: %x", certs[0].Subject, sum)
		}
	}
}
