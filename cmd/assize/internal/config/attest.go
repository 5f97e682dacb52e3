// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// defaultAttestTTL is how long a node counts as attested.
const defaultAttestTTL = 5 * time.Minute

// Required is what is required of other nodes: by default, and by name.
func (a Attest) Required() (string, map[string]string, error) {
	tier := func(s string) bool { return s == "none" || s == "warning" || s == "affirming" }
	if !tier(a.Require) {
		return "", nil, fmt.Errorf("config: node.attest.require is %q, want none, warning or affirming", a.Require)
	}
	each := map[string]string{}
	for _, text := range a.Peers {
		name, want, _ := strings.Cut(text, "=")
		if _, twice := each[name]; twice || !slug.MatchString(name) || !tier(want) {
			return "", nil, fmt.Errorf("config: node.attest.peers: %q is not a name, = and none, warning or affirming, once for a name", text)
		}
		each[name] = want
	}
	return a.Require, each, nil
}

func (a Attest) check(node string) error {
	tier, each, err := a.Required()
	if err != nil {
		return err
	}
	if a.TTL < time.Second || a.TTL > 24*time.Hour {
		return fmt.Errorf("config: node.attest.ttl is %s, want 1s to 24h", a.TTL)
	}
	if node == "" && (tier != "none" || len(each) > 0 || a.Evidence != "") {
		return errors.New("config: node.attest is for a node with a name: node.name is empty")
	}
	if u, err := url.Parse(a.Evidence); a.Evidence != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return fmt.Errorf("config: node.attest.evidence is %q, want an http or https URL without a password", a.Evidence)
	}
	return nil
}
