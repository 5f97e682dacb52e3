// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"testing"
)

// TestLibraryTests runs the Rego tests of every shipped policy.
func TestLibraryTests(t *testing.T) {
	for _, name := range Names() {
		text, tests, err := Source(name)
		if err != nil {
			t.Fatal(err)
		}
		results, err := Test(context.Background(), name, text, tests)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range results {
			if !r.Passed {
				t.Errorf("%s:%d: %s: %v", name, r.Line, r.Name, r.Err)
			}
		}
	}
}
