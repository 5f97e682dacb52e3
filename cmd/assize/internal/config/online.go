// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"time"
)

// None is the URL of a service that is not asked.
const None = "none"

func (o *Online) defaults() {
	def(&o.Intel, "https://api.trustedservices.intel.com")
	def(&o.AMD, "https://kdsintf.amd.com")
	def(&o.NVIDIA.RIM, "https://rim.attestation.nvidia.com")
	def(&o.NVIDIA.OCSP, "https://ocsp.ndis.nvidia.com")
	for _, d := range []struct {
		to *time.Duration
		or time.Duration
	}{
		{&o.IntelInterval, 200 * time.Millisecond}, {&o.AMDInterval, 10 * time.Second}, {&o.NVIDIA.Interval, 100 * time.Millisecond},
		{&o.Timeout, time.Minute}, {&o.MaxAge, 24 * time.Hour},
	} {
		if *d.to == 0 {
			*d.to = d.or
		}
	}
}

func (o *Online) check() error {
	for _, u := range []struct {
		key, text string
		none      bool
	}{{"intel", o.Intel, true}, {"amd", o.AMD, true}, {"intel_root_crl", o.IntelRootCRL, false}, {"nvidia.rim_url", o.NVIDIA.RIM, true}, {"nvidia.ocsp_url", o.NVIDIA.OCSP, true}} {
		if u.none && u.text == None || !u.none && u.text == "" {
			continue
		}
		p, err := url.Parse(u.text)
		if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" || p.User != nil {
			return fmt.Errorf("config: endorsements_online.%s is no http or https URL without a password", u.key)
		}
	}
	if o.IntelUpdate != "" && o.IntelUpdate != "standard" && o.IntelUpdate != "early" {
		return fmt.Errorf("config: endorsements_online.intel_update is %q, want standard or early", o.IntelUpdate)
	}
	for _, d := range []struct {
		key      string
		v        time.Duration
		from, to time.Duration
	}{
		{"intel_interval", o.IntelInterval, time.Millisecond, time.Hour}, {"amd_interval", o.AMDInterval, time.Millisecond, time.Hour},
		{"nvidia.interval", o.NVIDIA.Interval, time.Millisecond, time.Hour},
		{"timeout", o.Timeout, time.Second, 10 * time.Minute}, {"max_age", o.MaxAge, time.Minute, 30 * 24 * time.Hour},
	} {
		if d.v < d.from || d.v > d.to {
			return fmt.Errorf("config: endorsements_online.%s is %s, want %s to %s", d.key, d.v, d.from, d.to)
		}
	}
	return nil
}
