// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"strings"
	"testing"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	core "github.com/assize/assize/verifiers/spdm"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

// tokenDevices are two simulated devices of one maker, the second with an interface
// under TDISP, and what verifiers have to know of them.
func tokenDevices(t testing.TB) (list []*spdm.Device, deps verifiers.Deps, x *corim.Index) {
	t.Helper()
	files := map[string][]byte{}
	var entries []refvalues.Entry
	for i, o := range []spdm.Options{{Version: spdm.Version13}, {Version: spdm.Version13, TSM: spdm.TSMTDX}} {
		o.Vendor, o.Device, o.Now = pki.NewSeed("token vendor"), pki.NewSeed("token").Sub(string(rune('a'+i))), machineTime
		d, err := spdm.New(o)
		must(t, err)
		collateral, err := d.Endorsements()
		must(t, err)
		maps.Copy(files, collateral)
		e, err := refvalues.SPDM(d.Identity(), d.Measurements(), append(d.ConnectionReferences(), d.InterfaceReferences()...))
		must(t, err)
		list, entries = append(list, d), append(entries, e)
	}
	bundle, err := load(files)
	must(t, err)
	author, err := refvalues.NewAuthor("maker of devices", machineTime)
	must(t, err)
	x, err = author.Index(machineTime, refvalues.Document{
		ID: "devices", TagID: "devices values", Profile: refvalues.Profile, NotAfter: machineTime.AddDate(0, 1, 0), Entries: entries,
	})
	must(t, err)
	deps = verifiers.Deps{Endorsements: bundle, ExtraRoots: map[string][]*x509.Certificate{core.Name: {list[0].Root()}}}
	return list, deps, x
}

// tokenOf is the submodules of a token: the devices, with one lie about the last,
// and one without SPDM.
func tokenOf(t testing.TB, list []*spdm.Device, lie spdm.Lie) (out []spdm.Submodule) {
	t.Helper()
	for i, d := range list {
		raw, err := d.Evidence(machineNonce)
		must(t, err)
		o := spdm.TokenOptions{}
		if i == len(list)-1 {
			o.Lie = lie
		}
		s, err := d.Submodule(raw, o)
		must(t, err)
		out = append(out, s)
	}
	old, err := spdm.LegacySubmodule("0000:02:00.0", 0x1af4, 0x10f0)
	must(t, err)
	return append(out, old)
}

// leafOf is a collection with one leaf.
func leafOf(t testing.TB, label, mediaType string, value []byte) []byte {
	t.Helper()
	mt, err := evidence.ParseMediaType(mediaType)
	must(t, err)
	raw, err := evidence.EncodeCBOR(evidence.Collection("", evidence.Entry{Label: label, Item: evidence.Record(mt, value, evidence.IndEvidence)}))
	must(t, err)
	return raw
}

// TestTokenThroughTheLead: a Device Assignment Token becomes a component for each
// of its devices. Who signed the token, or the collection around it, makes none of
// them better; what it says beside the signature of a device makes that one bad.
func TestTokenThroughTheLead(t *testing.T) {
	list, deps, x := tokenDevices(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	j := judgeTold(t, deps, x, leadKeys{key.Public()}, true)
	unprotected := func(lie spdm.Lie) []byte {
		raw, err := spdm.Token(machineNonce, tokenOf(t, list, lie)...)
		must(t, err)
		return raw
	}
	signed := func(key *ecdsa.PrivateKey) []byte {
		raw, err := spdm.SignedToken(key, machineNonce, tokenOf(t, list, "")...)
		must(t, err)
		return raw
	}
	collection := func(raw []byte, key crypto.Signer) []byte {
		return signCOSE(t, leafOf(t, "nics", spdm.TokenUCS, raw), key)
	}
	for name, c := range map[string]struct {
		raw   []byte // the composite
		base  string
		token []byte
		lie   bool
	}{
		"unprotected, in a signed collection":    {collection(unprotected(""), key), eatda.TypeUCS, unprotected(""), false},
		"unprotected, in an unsigned collection": {leafOf(t, "nics", spdm.TokenUCS, unprotected("")), eatda.TypeUCS, unprotected(""), false},
		"signed":                                 {leafOf(t, "nics", spdm.TokenCWT, signed(key)), eatda.TypeCWT, signed(key), false},
		"signed by a stranger":                   {leafOf(t, "nics", spdm.TokenCWT, signed(stranger)), eatda.TypeCWT, signed(stranger), false},
		"a lie in a signed collection":           {collection(unprotected(spdm.LieValue), key), eatda.TypeUCS, unprotected(spdm.LieValue), true},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := j.appraise(t, c.raw, "lead")
			must(t, err)
			parts, err := eatda.Split(c.base, c.token)
			must(t, err)
			if len(res.Components) != len(parts) {
				t.Fatalf("%d components of %d devices", len(res.Components), len(parts))
			}
			for i, part := range parts {
				d, err := eatda.Decode(part)
				must(t, err)
				want := "affirming "
				switch device := d.Devices[0].Name; {
				case strings.HasPrefix(device, "legacy-pcie:"):
					want = "none no-verifier"
				case device == "spdm:"+list[1].Identity() && c.lie:
					want = "contraindicated malformed-evidence"
				case device == "spdm:"+list[1].Identity(): // a token has no place for the state of the interface
					want = "warning configuration report-unauthenticated"
				}
				got := res.Components[i]
				if got.Label != evidence.Path("nics/"+string(rune('0'+i))) || got.Evidence != sha256.Sum256(part) {
					t.Errorf("%s has other bytes than device %d", got.Label, i)
				}
				if tier := describeTokenPart(got); tier != want {
					t.Errorf("%s (%s): %q, expected %q", got.Label, d.Devices[0].Name, tier, want)
				}
			}
			keys := leadKeys{key.Public()}
			tree, err := evidence.Parse(c.raw, evidence.Options{Keys: keys})
			must(t, err)
			must(t, orchestrator.RecheckEvidence(res, j.schemes, tree))
			if res.Outcome.Tier == verdict.TierAffirming {
				t.Error("the whole is affirming with a device that nobody can appraise")
			}
		})
	}
	if _, err := j.appraise(t, collection(unprotected(""), stranger), "lead"); err == nil {
		t.Error("a collection that a stranger signed is read")
	}
}

// describeTokenPart is tier and reasons of a component, its verifier's and the
// lead's, but for what all simulated devices have.
func describeTokenPart(c verdict.Component) string {
	reasons := c.Reasons
	if !c.Partial.IsZero() {
		reasons = append(c.Partial.Appraisal().Reasons, reasons...)
	}
	return c.Tier().String() + " " + reasonCodes(reasons, verdict.ReasonExtraRoots)
}
