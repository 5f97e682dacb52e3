// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

// A region that does not exist, and places that do not.
const (
	region       = "xx-sim-1"
	organization = "Assize Simulation"

	urlRootCRL   = "http://crl.simulated-vendor.invalid/crl/root.crl"
	urlRegionCRL = "http://crl.simulated-vendor.invalid/crl/" + region + ".crl"
)

// chain is root, region, zone and instance, and the enclave's own certificate.
type chain struct {
	root, region, zone, instance, enclave *pki.Authority
	// module is the identifier of the enclave.
	module string
}

// level is what differs between certificates of the chain.
type level struct {
	seed     pki.Seed
	name     string
	from, to time.Time
	usage    x509.KeyUsage
	ca       bool
	// below is how many authorities may stand below this one, -1: any number.
	below int
	// crl is where the issuer publishes its list, "" for nowhere.
	crl string
}

func (l level) issue(parent *pki.Authority) (*pki.Authority, error) {
	key, err := l.seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, fmt.Errorf("awsnitro: key of %s: %w", l.name, err)
	}
	t := &x509.Certificate{
		SerialNumber: l.seed.Serial(), NotBefore: l.from, NotAfter: l.to, KeyUsage: l.usage,
		Subject: pkix.Name{
			CommonName: l.name, Organization: []string{organization}, OrganizationalUnit: []string{"Simulated enclaves"}, Country: []string{"XX"},
		},
		SignatureAlgorithm: x509.ECDSAWithSHA384, BasicConstraintsValid: true, IsCA: l.ca, MaxPathLen: l.below, MaxPathLenZero: l.below == 0,
	}
	if l.crl != "" {
		t.CRLDistributionPoints = []string{l.crl}
	}
	if parent == nil {
		return pki.Root(key, t)
	}
	return parent.Issue(key, t)
}

// newChain makes the certificates as they are at the time now.
func newChain(o *Options, now time.Time) (c chain, err error) {
	const issuer = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	const suffix = ".sim.nitro-enclaves"
	id := func(s pki.Seed, n int) string { return fmt.Sprintf("%x", s.Sub("id").Bytes(n)) }
	vendor, host := o.Vendor.Sub("aws-nitro"), o.Device.Sub("instance")
	c.module = "i-" + id(host, 9)[:17]
	instance := c.module
	c.module += "-enc" + id(o.Device.Sub("enclave"), 8)
	last := now.Add(-time.Minute)
	if o.Expired {
		last = now.Add(-4 * time.Hour)
	}
	var parent *pki.Authority
	for _, l := range []struct {
		level
		to **pki.Authority
	}{
		{level{vendor.Sub("root"), "sim.nitro-enclaves", time.Date(2019, 10, 28, 13, 28, 5, 0, time.UTC), time.Date(2049, 10, 28, 14, 28, 5, 0, time.UTC), issuer, true, -1, ""}, &c.root},
		{level{vendor.Sub("region"), id(vendor.Sub("region"), 8) + "." + region + suffix, now.Add(-72 * time.Hour), now.Add(17 * 24 * time.Hour), issuer, true, 2, urlRootCRL}, &c.region},
		{level{vendor.Sub("zone"), id(vendor.Sub("zone"), 8) + ".zonal." + region + suffix, now.Add(-24 * time.Hour), now.Add(5 * 24 * time.Hour), issuer, true, 1, urlRegionCRL}, &c.zone},
		{level{host, instance + "." + region + suffix, now.Add(-6 * time.Hour), now.Add(18 * time.Hour), x509.KeyUsageCertSign, true, 0, ""}, &c.instance},
		{level{o.Device.Sub("enclave"), c.module + "." + region + ".sim", last, last.Add(3 * time.Hour), x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, false, -1, ""}, &c.enclave},
	} {
		if *l.to, err = l.issue(parent); err != nil {
			return c, err
		}
		parent = *l.to
	}
	return c, nil
}

// lists are the revocation lists of root and region.
func (c *chain) lists(now time.Time, revoked bool) (map[string][]byte, error) {
	var serials []*big.Int
	if revoked {
		serials = append(serials, c.zone.Cert.SerialNumber)
	}
	from, to := now.Add(-12*time.Hour), now.Add(6*24*time.Hour)
	root, err := c.root.CRL(1, from, to)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: revocation list of the root: %w", err)
	}
	zones, err := c.region.CRL(1, from, to, serials...)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: revocation list of the region: %w", err)
	}
	return map[string][]byte{"aws-nitro-root-crl.der": root, "aws-nitro-region-crl.der": zones}, nil
}
