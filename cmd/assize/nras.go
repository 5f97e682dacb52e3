// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/remote/nras"
)

// maxServiceKey is the largest file with a service key, in bytes.
const maxServiceKey = 8 << 10

// remoteSchemes has NVIDIA's service in the place of schemes that the
// configuration names (docs/nras.md).
func (s *stack) remoteSchemes() error {
	n := s.config.NRAS
	if len(n.Schemes) == 0 {
		return nil
	}
	if !s.serves() {
		return fmt.Errorf("nras.schemes: this process appraises nothing")
	}
	client, err := nrasClient(n)
	if err != nil {
		return err
	}
	s.stop = append(s.stop, func(context.Context) error { client.Close(); return nil })
	list := s.schemes.Schemes()
	for _, name := range n.Schemes {
		i := slices.IndexFunc(list, func(sc verifiers.Scheme) bool { return sc.Name == name })
		if i < 0 {
			return fmt.Errorf("nras.schemes: no scheme %q here", name)
		}
		if list[i], err = nras.Backend(list[i], nras.Options{Service: client, Issuer: n.Issuer}); err != nil {
			return err
		}
	}
	s.schemes, err = verifiers.NewSet(list...)
	if err == nil {
		s.log.Info("evidence is sent to NVIDIA's service", "schemes", n.Schemes, "url", n.URL, "issuer", n.Issuer, "api", n.APIVersion)
	}
	return err
}

// nrasClient makes the client. The service key is in no error and no log.
func nrasClient(n config.NRAS) (*nras.Client, error) {
	key := ""
	if n.ServiceKeyFile != "" {
		raw, err := readFile(n.ServiceKeyFile, maxServiceKey)
		if err != nil {
			return nil, fmt.Errorf("nras.service_key_file: %w", err)
		}
		if key = string(bytes.TrimSpace(raw)); key == "" {
			return nil, fmt.Errorf("nras.service_key_file: %s is empty", n.ServiceKeyFile)
		}
	}
	web, err := fetchClient(config.Online{CA: n.CA})
	if err != nil {
		return nil, fmt.Errorf("nras.ca: %w", err)
	}
	return nras.NewClient(nras.ClientOptions{
		URL: n.URL, KeySet: n.KeySet, Version: n.APIVersion, ServiceKey: key, AllowHold: n.AllowHold, HTTP: web, Now: time.Now,
		Interval: n.Interval, Concurrent: n.Concurrent, Timeout: n.Timeout,
	})
}

// remote reports whether NVIDIA's service appraises a scheme for this process.
func (s *stack) remote(scheme string) bool { return slices.Contains(s.config.NRAS.Schemes, scheme) }

// identityOf is the verifier-id in results of a scheme: whose word a result is
// must be in it, and not only in the configuration of whoever signs it.
func (s *stack) identityOf(scheme string) verdict.Identity {
	id := s.identity()
	if s.remote(scheme) {
		id.Build += " " + nras.Name + "/" + s.config.NRAS.APIVersion
	}
	return id
}

// waiting is how many appraisals of a scheme run at a time if all they do is wait
// for the service; 0 for a scheme that works here.
func (s *stack) waiting(scheme string) int {
	if !s.remote(scheme) {
		return 0
	}
	return runtime.GOMAXPROCS(0) + s.config.NRAS.Concurrent
}

// appraisers are the nodes of one process by scheme: those of its own and those
// for which the service answers differ in identity.
type appraisers map[string]*verifiers.Node

// appraisers makes a node for each identity.
func (s *stack) appraisers(o verifiers.NodeOptions) (appraisers, error) {
	groups := map[verdict.Identity][]string{}
	for _, sc := range s.schemes.Schemes() {
		id := s.identityOf(sc.Name)
		groups[id] = append(groups[id], sc.Name)
	}
	out := appraisers{}
	for id, names := range groups {
		var err error
		own := o
		own.Identity = id
		if own.Set, err = s.schemes.Only(names...); err != nil {
			return nil, err
		}
		node, err := verifiers.NewNode(own)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			out[name] = node
		}
	}
	return out, nil
}

// Appraise implements fabric.Appraiser.
func (a appraisers) Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
	n, ok := a[r.Scheme]
	if !ok {
		return nil, verdict.TierNone, &verifiers.Refusal{Code: int(fabric.CodeMediaType), Text: "scheme not served"}
	}
	return n.Appraise(ctx, r)
}

// KID returns the key id with which results of a scheme are signed.
func (a appraisers) KID(scheme string) string {
	if n, ok := a[scheme]; ok {
		return n.KID(scheme)
	}
	return ""
}
