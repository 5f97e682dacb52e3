// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// machine is a simulated platform with its own Intel-like PKI. Tests change
// fields and then ask for a quote or for collateral.
type machine struct{ *dcaptest.Machine }

func newMachine(tb testing.TB) *machine {
	tb.Helper()
	return &machine{dcaptest.New(tb, rand.Reader, dcap.TDX)}
}

func (m *machine) deps(b *endorsements.Bundle) verifiers.Deps {
	return verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: {m.Root.Cert}}}
}
