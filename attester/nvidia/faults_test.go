// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto/x509"
	"math/bits"
	"reflect"
	"slices"
	"testing"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidiagpu"
)

// What today's scheme says to each fault. Where it has nothing to compare with,
// a fault leaves the same warning as honesty, and never more.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		arch   string
		set    func(*nvidia.Options)
		codes  []string
		status verdict.Tier
	}{
		{"debug, Blackwell", nvidia.Blackwell, func(o *nvidia.Options) { o.Debug = true }, append(slices.Clone(unproved), verdict.ReasonDebug), verdict.TierContraindicated},
		{"debug, Hopper", nvidia.Hopper, func(o *nvidia.Options) { o.Debug = true }, unproved, verdict.TierWarning},
		{"outdated, Hopper", nvidia.Hopper, func(o *nvidia.Options) { o.OutdatedTCB = true }, unproved, verdict.TierWarning},
		{"outdated, Blackwell", nvidia.Blackwell, func(o *nvidia.Options) { o.OutdatedTCB = true }, unproved, verdict.TierWarning},
		{"revoked", nvidia.Hopper, func(o *nvidia.Options) { o.Revoked = true }, unproved, verdict.TierWarning},
		{"on hold", nvidia.Hopper, func(o *nvidia.Options) { o.OnHold = true }, unproved, verdict.TierWarning},
		{"expired", nvidia.Hopper, func(o *nvidia.Options) { o.Expired = true }, []string{verdict.ReasonExpired}, verdict.TierContraindicated},
		{"wrong signer", nvidia.Hopper, func(o *nvidia.Options) { o.WrongSigner = true }, []string{verdict.ReasonSignatureInvalid}, verdict.TierContraindicated},
		{"measurement", nvidia.Hopper, func(o *nvidia.Options) { o.Measurement = true }, unproved, verdict.TierWarning},
		{"measurement, Blackwell", nvidia.Blackwell, func(o *nvidia.Options) { o.Measurement = true }, unproved, verdict.TierWarning},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options("faulty")
			o.Arch = c.arch
			c.set(&o)
			d := gpu(t, o)
			a := appraise(t, verifier(t, d.Root()), nvidia.Array(object(t, d, nonce)), nonce)
			got, want := slices.Sorted(slices.Values(codes(a))), slices.Sorted(slices.Values(c.codes))
			if a.Status() != c.status || !slices.Equal(got, want) {
				t.Errorf("status %v, reasons %v", a.Status(), a.Reasons)
			}
		})
	}
}

// differing lists the NVIDIA indices of unequal blocks and counts the bits.
func differing(t *testing.T, a, b *nvidia.Device) (indices []int, n int) {
	t.Helper()
	x, y := parsed(t, report(t, a)), parsed(t, report(t, b))
	for i := range x.Blocks {
		for j := range x.Blocks[i].Value {
			n += bits.OnesCount8(x.Blocks[i].Value[j] ^ y.Blocks[i].Value[j])
		}
		if !bytes.Equal(x.Blocks[i].Value, y.Blocks[i].Value) {
			indices = append(indices, i)
		}
	}
	return indices, n
}

func parsed(t *testing.T, raw []byte) *nvidiagpu.Report {
	t.Helper()
	r, err := nvidiagpu.ParseReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sameChain(a, b *nvidia.Device) bool {
	return bytes.Equal(pki.PEM(a.Chain()...), pki.PEM(b.Chain()...))
}

// A fault changes what it is about, and nothing else.
func TestFaultsAreAlone(t *testing.T) {
	type maker func(testing.TB, nvidia.Options) *nvidia.Device
	for _, c := range []struct {
		arch  string
		make  maker
		debug []int
	}{{nvidia.Hopper, gpu, []int{1, 2, 3, 9}}, {nvidia.Blackwell, gpu, nil}, {nvidia.LS10, nvswitch, []int{1, 2, 3}}} {
		o := options("one")
		o.Arch = c.arch
		honest := c.make(t, o)
		signed := parsed(t, report(t, honest)).Signed
		with := func(set func(*nvidia.Options)) *nvidia.Device {
			x := o
			set(&x)
			d := c.make(t, x)
			if !reflect.DeepEqual(d.Measurements(), honest.Measurements()) || d.PDI() != honest.PDI() || !d.Root().Equal(honest.Root()) {
				t.Errorf("%s: a fault changed references, identity or root", c.arch)
			}
			return d
		}
		d := with(func(o *nvidia.Options) { o.Measurement = true })
		if at, n := differing(t, d, honest); len(at) != 1 || n != 1 || !sameChain(d, honest) {
			t.Errorf("%s, measurement: indices %v, %d bits", c.arch, at, n)
		}
		d = with(func(o *nvidia.Options) { o.Debug = true })
		if at, _ := differing(t, d, honest); !slices.Equal(at, c.debug) || sameChain(d, honest) != (c.debug != nil) {
			t.Errorf("%s, debug: indices %v", c.arch, at)
		}
		d = with(func(o *nvidia.Options) { o.WrongSigner = true })
		if !bytes.Equal(parsed(t, report(t, d)).Signed, signed) || !sameChain(d, honest) {
			t.Errorf("%s, wrong signer: more than the signature changed", c.arch)
		}
		d = with(func(o *nvidia.Options) { o.Expired = true })
		if !bytes.Equal(report(t, d), report(t, honest)) || !slices.EqualFunc(d.Chain()[1:], honest.Chain()[1:], (*x509.Certificate).Equal) ||
			d.Chain()[0].NotAfter.After(now) {
			t.Errorf("%s, expired: more than the leaf's end changed", c.arch)
		}
		d = with(func(o *nvidia.Options) { o.Revoked = true })
		if !bytes.Equal(object(t, d, nonce), object(t, honest, nonce)) {
			t.Errorf("%s, revoked: the evidence changed", c.arch)
		}
		d = with(func(o *nvidia.Options) { o.OutdatedTCB = true })
		if !slices.EqualFunc(d.Chain()[1:], honest.Chain()[1:], (*x509.Certificate).Equal) || d.UEID() == honest.UEID() {
			t.Errorf("%s, outdated: the identity changed, or the firmware's key did not", c.arch)
		}
	}
}
