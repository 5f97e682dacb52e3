// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// The sizes of TestMutations.
const (
	mutatedQuotes   = 10000
	mutatedMachines = 250
)

// TestMutations mutates the recorded quotes and appraises them here and with
// go-tdx-guest: none that is accepted here may be refused there. Nothing of ours may
// panic, which Appraise would report as such; what the library panics on is refused
// here. The mutations are the same each time.
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("10000 appraisals")
	}
	platforms := recordedPlatforms(t)
	honest := simulatedPlatform(t, "simulated", newMachine(t))
	platforms = append(platforms, honest)
	r := rand.New(rand.NewPCG(1, 2))
	var accepted, panics, onlyThere int
	for i := range mutatedQuotes {
		p := platforms[i%len(platforms)]
		raw, how := mutate(r, p.raw, platforms[r.IntN(len(platforms))].raw)
		a := appraise(t, p.v, raw, nil, p.now)
		for _, reason := range a.Reasons {
			if reason.Code == verdict.ReasonMalformed && bytes.Contains([]byte(reason.Detail), []byte("panic")) && !bytes.Contains([]byte(reason.Detail), []byte(errParsersDisagree.Error())) {
				t.Fatalf("%s, mutation %d (%s): %s", p.name, i, how, reason.Detail)
			}
		}
		rejected := a.Vector == verdict.AllClaims(verdict.ClaimCryptoFailed)
		if _, panicked := libraryParse(raw).(errPanic); panicked {
			panics++
			if !rejected {
				t.Errorf("%s, mutation %d (%s): the library panics on what is accepted here", p.name, i, how)
			}
			continue
		}
		if rejected {
			// Of these every fiftieth is shown to the library as well.
			if i%50 == 0 && library(raw, nil, p.root, p.now) == nil {
				onlyThere++
				t.Logf("%s, mutation %d (%s): accepted by the library alone: %v", p.name, i, how, a.Reasons)
			}
			continue
		}
		accepted++
		if how == zerosInChain {
			continue // the one difference that divergences has about the form
		}
		if err := library(raw, nil, p.root, p.now); err != nil {
			t.Errorf("%s, mutation %d (%s): signatures accepted here, library: %v", p.name, i, how, err)
		}
		// What is good here was good before it was changed, so that a sample is enough
		// to see that it is good there.
		if good := a.Vector[verdict.Hardware] == verdict.ClaimApproved; accepted%4 == 0 && (library(raw, p.set, p.root, p.now) == nil) != good {
			t.Errorf("%s, mutation %d (%s): hardware %d here, the library says otherwise", p.name, i, how, a.Vector[verdict.Hardware])
		}
	}
	t.Logf("%d mutations: %d accepted, %d panics of the library, %d accepted by it alone (of every fiftieth)", mutatedQuotes, accepted, panics, onlyThere)
	if accepted == 0 || panics == 0 {
		t.Error("the mutations show nothing")
	}
}

// mutate changes a quote in one of several ways; other is one to take parts from.
func mutate(r *rand.Rand, raw, other []byte) (out []byte, how string) {
	out = bytes.Clone(raw)
	end := len(bytes.TrimRight(out, "\x00"))
	some := func() int { return r.IntN(end) }
	// Lengths and types stand where a quote of any form may have them.
	edges := []int{0, 2, 4, 12, 48, 50, 54, 632, 686, 702, 764, 766, 770, 818, 820, 824, 1214, 1216, 1268, 1270, 1250, 1252, 1254, 1304, 1306}
	switch [...]int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7}[r.IntN(20)] {
	case 0:
		i := some()
		out[i] ^= 1 << r.IntN(8)
		return out, fmt.Sprintf("bit of byte %d", i)
	case 1:
		i := edges[r.IntN(len(edges))]
		n := [...]uint32{0, 1, 5, 6, 32, 65535, 1 << 31, 1<<32 - 1, r.Uint32N(8192)}[r.IntN(9)]
		if r.IntN(2) == 0 {
			binary.LittleEndian.PutUint16(out[i:], uint16(n))
			return out, fmt.Sprintf("16 bit %d at %d", uint16(n), i)
		}
		binary.LittleEndian.PutUint32(out[i:], n)
		return out, fmt.Sprintf("32 bit %d at %d", n, i)
	case 2:
		n := some()
		return out[:n], fmt.Sprintf("cut at %d", n)
	case 3:
		n := r.IntN(300)
		return append(out, make([]byte, n)...), fmt.Sprintf("%d zero bytes more", n)
	case 4:
		i, n := some(), 1+r.IntN(64)
		return slices.Delete(out, i, min(i+n, len(out))), fmt.Sprintf("%d bytes at %d deleted", n, i)
	case 5:
		i, n := some(), 1+r.IntN(64)
		return slices.Insert(out, i, make([]byte, n)...), fmt.Sprintf("%d bytes at %d inserted", n, i)
	case 6:
		i, n := r.IntN(min(end, len(other))), 1+r.IntN(1024)
		n = copy(out[i:], other[i:min(i+n, len(other))])
		return out, fmt.Sprintf("%d bytes at %d of another", n, i)
	}
	// White space at the ends of lines of the certificates, and lengths that fit.
	return respace(r, out)
}

// zerosInChain names a mutation that is accepted here alone.
const zerosInChain = "a zero byte more behind the certificates"

// respace writes the certificate chain with other ends of lines, which nobody signs.
func respace(r *rand.Rand, raw []byte) ([]byte, string) {
	q, err := dcap.Parse(raw)
	if err != nil {
		return raw, "none"
	}
	chain, how := bytes.Clone(q.Chain), "chain with other white space"
	switch r.IntN(4) {
	case 0:
		chain = bytes.Replace(chain, []byte("-----END CERTIFICATE-----\n"), []byte("-----END CERTIFICATE-----\n\n"), 1)
	case 1:
		chain = append([]byte("\n"), chain...)
	case 2:
		chain, how = append(chain, 0), zerosInChain
	default:
		chain = bytes.Replace(chain, []byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----BEGIN CERTIFICATE-----\r\n"), 1)
	}
	at := bytes.Index(raw, q.Chain)
	grown := uint32(len(chain) - len(q.Chain))
	out := append(bytes.Clone(raw[:at]), chain...)
	for _, i := range []int{len(q.Signed), len(q.Signed) + 4 + 128 + 2, at - 4} {
		binary.LittleEndian.PutUint32(out[i:], binary.LittleEndian.Uint32(out[i:])+grown)
	}
	return out, how
}

// TestMutatedMachines signs quotes and collateral of machines of which several
// things are changed at random, so that all signatures hold: where the hardware is
// good here and the library refuses, or the reverse, it is for a known reason.
func TestMutatedMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("250 machines")
	}
	r := rand.New(rand.NewPCG(3, 4))
	base := newMachine(t)
	var good, known int
	for i := range mutatedMachines {
		m := &machine{dcaptest.New(t, base.Random, dcap.TDX)}
		why := change(r, m)
		ours, theirs := simulatedPlatform(t, "", m).compare(t)
		if ours {
			good++
		}
		if ours != (theirs == nil) {
			known++
			if ours && !why.ours || !ours && !why.theirs {
				t.Errorf("machine %d: good here %v, library %v; %+v", i, ours, theirs, why)
			}
		}
	}
	t.Logf("%d machines: %d good, %d known differences", mutatedMachines, good, known)
	if good < 20 || known < 20 {
		t.Error("the machines show nothing")
	}
}

// reasons say which difference a machine may show: see divergences.
type reasons struct {
	// ours: good here and refused there; theirs: the reverse.
	ours, theirs bool
	what         []string
}

// change draws statuses of platform, module and QE, SVNs, CA and form.
func change(r *rand.Rand, m *machine) (why reasons) {
	say := func(format string, args ...any) { why.what = append(why.what, fmt.Sprintf(format, args...)) }
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	platform := pick("UpToDate", "UpToDate", "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked")
	module, qe := pick("UpToDate", "UpToDate", "OutOfDate", "Revoked"), pick("UpToDate", "UpToDate", "UpToDate", "OutOfDate", "Revoked")
	m.SetLevels(dcaptest.PlatformLevel(3, 13, platform, "INTEL-SA-1"), dcaptest.PlatformLevel(2, 11, "OutOfDate"))
	m.SetModuleLevels(dcaptest.ISVLevel(4, module), dcaptest.ISVLevel(2, "OutOfDate"))
	m.SetQELevels(dcaptest.ISVLevel(4, qe), dcaptest.ISVLevel(3, "OutOfDate"))
	say("platform %s, module %s, QE %s", platform, module, qe)
	why.ours = platform == "ConfigurationNeeded"
	// Of a versioned module the library reports nothing else.
	versioned := r.IntN(4) > 0
	if !versioned {
		m.Body[0], m.Body[1] = 9, 0
		say("module without versions")
	}
	why.theirs = versioned && platform != "UpToDate"
	if r.IntN(4) == 0 {
		m.PCESVN = 11 + r.IntN(3)
		why.theirs = why.theirs || versioned && m.PCESVN < 13
		say("PCE SVN %d", m.PCESVN)
	}
	if r.IntN(4) == 0 {
		m.SGXSVN[r.IntN(16)] = byte(1 + r.IntN(4))
		why.theirs = why.theirs || versioned
		say("SGX SVNs %v", m.SGXSVN)
	}
	if r.IntN(4) == 0 {
		m.Body[r.IntN(3)] = byte(r.IntN(11))
		m.Body[584+r.IntN(3)] = byte(r.IntN(6))
		say("TEE_TCB_SVN %v, 2 %v", m.Body[:3], m.Body[584:587])
		why.theirs = why.theirs || m.Body[1] > 0 && platform != "UpToDate"
	}
	if r.IntN(6) == 0 {
		m.CA, why.ours = m.Issue(dcaptest.ProcessorCA, true, m.Root), true
		say("processor CA")
	}
	switch r.IntN(3) {
	case 0:
		m.Version, m.BodyType = 4, dcap.BodyTD10
	case 1:
		m.BodyType = dcap.BodyTD10
	}
	return why
}
