// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/attester/pki"
)

// TCB are the security version numbers that a PCK certificate states.
type TCB struct {
	SGX    [16]byte // SGX TCB components
	PCESVN int
}

// Platform is what a PCK certificate says.
type Platform struct {
	// Device gives the key, the PPID and the platform instance ID, together with
	// Kind, the name of what the simulation is of.
	Device pki.Seed
	Kind   string
	CA     CA
	FMSPC  [6]byte
	TCB    TCB
	// Now is when the platform is looked at; the certificate is valid then,
	// unless Expired lets it end one day before.
	Now     time.Time
	Expired bool
}

// PCK issues the PCK certificate of a platform. Its key and its serial number
// change with the TCB level and with the year, since it is another certificate
// then.
func (a Authorities) PCK(p Platform) (*pki.Authority, error) {
	from := time.Date(p.Now.UTC().Year()-1, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(7, 0, 0)
	if p.Expired {
		to = p.Now.UTC().Truncate(time.Second).AddDate(0, 0, -1)
		from = to.AddDate(-7, 0, 0)
	}
	ext, err := p.extension()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%x-%d", p.TCB.SGX, p.TCB.PCESVN)
	return profile{
		cn: cnPCK, from: from, to: to, usage: endEntity, pathLen: notCA,
		crl: fmt.Sprintf(urlPCKCRL, p.CA), extra: []pkix.Extension{ext},
	}.issue(a.Issuer(p.CA), p.Device.Sub(p.Kind, "pck", name, strconv.FormatInt(to.Unix(), 10)))
}

// extension is the extension 1.2.840.113741.1.13.1: PPID, TCB, PCE ID, FMSPC and
// SGX type; of a platform with several packages (SGX type 1, scalable) also the
// platform instance ID and the configuration.
func (p Platform) extension() (pkix.Extension, error) {
	type attr struct {
		ID    asn1.ObjectIdentifier
		Value any
	}
	base := asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	oid := func(n ...int) asn1.ObjectIdentifier { return append(base[:len(base):len(base)], n...) }
	var svns []attr
	for i, n := range p.TCB.SGX {
		svns = append(svns, attr{oid(2, i+1), int(n)})
	}
	svns = append(svns, attr{oid(2, 17), p.TCB.PCESVN}, attr{oid(2, 18), p.TCB.SGX[:]})
	seed := p.Device.Sub(p.Kind, "platform")
	list := []attr{
		{oid(1), seed.Sub("ppid").Bytes(16)},
		{oid(2), svns},
		{oid(3), []byte{0, 0}},
		{oid(4), p.FMSPC[:]},
		{oid(5), asn1.Enumerated(0)},
	}
	if p.CA == PlatformCA {
		list[4].Value = asn1.Enumerated(1)
		// Dynamic platform, cached keys, SMT enabled.
		configuration := []attr{{oid(7, 1), true}, {oid(7, 2), true}, {oid(7, 3), true}}
		list = append(list, attr{oid(6), seed.Sub("instance").Bytes(16)}, attr{oid(7), configuration})
	}
	der, err := asn1.Marshal(list)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("dcap: SGX extension: %w", err)
	}
	return pkix.Extension{Id: base, Value: der}, nil
}
