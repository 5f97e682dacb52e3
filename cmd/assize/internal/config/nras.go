// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

func (n *NRAS) defaults() {
	def(&n.URL, "https://nras.attestation.nvidia.com")
	def(&n.Issuer, n.URL)
	def(&n.APIVersion, "v3")
	if n.Interval == 0 {
		n.Interval = 100 * time.Millisecond
	}
	if n.Concurrent == 0 {
		n.Concurrent = 8
	}
	if n.Timeout == 0 {
		n.Timeout = 8 * time.Second
	}
}

// check holds nras against the schemes of the process, nil for all of them.
func (n *NRAS) check(served []string) error {
	for i, name := range n.Schemes {
		switch {
		case !slug.MatchString(name) || slices.Contains(n.Schemes[:i], name):
			return fmt.Errorf("config: nras.schemes: %q is no name of a scheme, or it is there twice", name)
		case len(served) > 0 && !slices.Contains(served, name):
			return fmt.Errorf("config: nras.schemes: %q is not among the schemes of this process", name)
		}
	}
	for _, u := range []struct{ key, text string }{{"url", n.URL}, {"jwks_url", n.KeySet}} {
		if u.key == "jwks_url" && u.text == "" {
			continue
		}
		p, err := url.Parse(u.text)
		if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" || p.User != nil {
			return fmt.Errorf("config: nras.%s is no http or https URL without a password", u.key)
		}
	}
	switch {
	case n.APIVersion != "v3" && n.APIVersion != "v4":
		return fmt.Errorf("config: nras.api_version is %q, want v3 or v4", n.APIVersion)
	case n.Interval < time.Millisecond || n.Interval > time.Hour:
		return fmt.Errorf("config: nras.interval is %s, want 1ms to 1h", n.Interval)
	case n.Concurrent < 1 || n.Concurrent > 256:
		return fmt.Errorf("config: nras.concurrent is %d, want 1 to 256", n.Concurrent)
	case n.Timeout < 100*time.Millisecond || n.Timeout > time.Minute:
		return fmt.Errorf("config: nras.timeout is %s, want 100ms to 1m", n.Timeout)
	}
	return nil
}
