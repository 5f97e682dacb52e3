// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
)

// Bounds of an INFO answer, which anybody in the account may send.
const (
	maxInfo      = 64 << 10
	maxAccepts   = 64
	maxMetaValue = 512
)

var (
	errForeignInfo = errors.New("fabric: not one of our services")
	errInfo        = errors.New("fabric: malformed service information")
)

// Instance is what one running service says about itself. Nothing of it is
// authenticated: it may route a request, and never decides about an answer.
type Instance struct {
	// Scheme is a slug; "composite" for a node.
	Scheme, ID, Version string
	// Name of the micro service: att-<scheme>, or att_node.
	Name string
	// Node is the name under which a node takes relayed messages
	// (RelayCaller.Relay); empty for a component verifier.
	Node string
	// Site is a slug, or "any" for an instance without a site.
	Site string
	// Vendor, Developer and Build name the verifier; KID names the key of its
	// results.
	Vendor, Developer, Build, KID string
	// Accepts are media type patterns.
	Accepts []string
	// MaxBytes is the largest component or message in bytes, zero if not said.
	MaxBytes int
	// NonceSize is the size of the challenge in bytes, zero if not said.
	NonceSize int
	// Budget is the longest time for one request, zero if not said.
	Budget time.Duration
}

// parseInfo reads an untrusted INFO answer. errForeignInfo means a service of
// another kind or wire version, errInfo a malformed one of ours.
func parseInfo(raw []byte) (Instance, error) {
	var info micro.Info
	if len(raw) > maxInfo || json.Unmarshal(raw, &info) != nil {
		return Instance{}, errInfo
	}
	if info.Metadata[metaWire] != Version[1:] {
		return Instance{}, errForeignInfo
	}
	scheme, ours := strings.CutPrefix(info.Name, servicePrefix)
	endpoint, node := endpointAppraise, ""
	if info.Name == relayService && info.Metadata[metaKind] == kindNode {
		scheme, ours, endpoint, node = relayScheme, true, endpointCascade, info.Metadata[metaNode]
		if !slug.MatchString(node) {
			return Instance{}, errInfo
		}
	}
	if !ours {
		return Instance{}, errForeignInfo
	}
	in := Instance{
		Scheme: scheme, ID: info.ID, Version: info.Version, Name: info.Name, Node: node, Site: info.Metadata[metaSite],
		Vendor: info.Metadata[metaVendor], Developer: info.Metadata[metaDeveloper],
		Build: info.Metadata[metaBuild], KID: info.Metadata[metaKID],
	}
	if in.Site == "" {
		in.Site = AnySite
	}
	if !slug.MatchString(scheme) || !slug.MatchString(in.Site) || in.ID == "" {
		return Instance{}, errInfo
	}
	for _, v := range []string{in.ID, in.Version, in.Vendor, in.Developer, in.Build, in.KID} {
		if len(v) > maxMetaValue {
			return Instance{}, errInfo
		}
	}
	for _, e := range info.Endpoints {
		if e.Name == endpoint {
			return in, in.readEndpoint(e.Metadata)
		}
	}
	return Instance{}, errInfo // nothing to ask
}

func (in *Instance) readEndpoint(meta map[string]string) error {
	if v := meta[metaAccepts]; v != "" {
		if json.Unmarshal([]byte(v), &in.Accepts) != nil || len(in.Accepts) > maxAccepts {
			return errInfo
		}
	}
	for _, a := range in.Accepts {
		if len(a) > maxMetaValue {
			return errInfo
		}
	}
	if v := meta[metaBudget]; v != "" {
		d, ok := millis(v)
		if !ok {
			return errInfo
		}
		in.Budget = d
	}
	for key, to := range map[string]*int{metaMaxBytes: &in.MaxBytes, metaNonce: &in.NonceSize} {
		v := meta[key]
		if v == "" {
			continue
		}
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			return errInfo
		}
		*to = int(n)
	}
	return nil
}
