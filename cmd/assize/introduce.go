// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/assize/assize/fabric"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// The ports of introductions, satisfied by the fabric and by an agent.
var (
	_ orchestrator.Introducer    = (*fabric.IntroductionCaller)(nil)
	_ orchestrator.Attester      = (*agent)(nil)
	_ fabric.IntroductionHandler = introductionHandler{}
)

// introductions are the rules of node.attest.
func (s *stack) introductions() (*orchestrator.Introductions, error) {
	c := s.config.Node.Attest
	require, peers, err := c.Required()
	if err != nil {
		return nil, err
	}
	out := &orchestrator.Introductions{
		TTL: c.TTL, Introducer: s.bus.IntroductionCaller(), Each: map[string]verdict.Tier{}, Report: s.introduced,
	}
	if out.Require, err = verdict.ParseTier(require); err != nil {
		return nil, err
	}
	for name, word := range peers {
		if out.Each[name], err = verdict.ParseTier(word); err != nil {
			return nil, err
		}
	}
	if c.Evidence == "" {
		return out, nil
	}
	if out.Own, err = describeNode(s.config); err != nil {
		return nil, err
	}
	out.Attester, err = newAgent(c.Evidence)
	return out, err
}

// introduced logs who has introduced itself, and why another could not.
func (s *stack) introduced(node string, err error) {
	if err != nil {
		s.log.Warn("node not attested", "node", node, "error", err, "security", true)
		return
	}
	s.log.Info("node attested", "node", node)
}

// serveIntroductions answers other nodes, also in a process that takes nothing
// from them: it hands something to them.
func (s *stack) serveIntroductions() error {
	if s.config.Node.Attest.Evidence == "" {
		return nil
	}
	signer, err := s.keys.load(nodeKey)
	if err != nil {
		return err
	}
	svc, err := s.bus.ServeIntroductions(introductionHandler{s.lead}, fabric.IntroductionOptions{
		Node: s.config.Node.Name, Developer: s.identity().Developer, Build: s.identity().Build, KID: signer.KID(), Budget: s.config.Budget,
	})
	if err != nil {
		return err
	}
	s.stop = append(s.stop, svc.Stop)
	return nil
}

// introductionHandler translates the orchestrator's errors into codes.
type introductionHandler struct{ lead *orchestrator.Orchestrator }

// HandleIntroduction implements fabric.IntroductionHandler.
func (h introductionHandler) HandleIntroduction(ctx context.Context, message []byte) ([]byte, error) {
	answer, err := h.lead.HandleIntroduction(ctx, message)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, orchestrator.ErrRelayRefused):
		return nil, fabric.RelayRefusal{Code: fabric.CodeForbidden, Err: err}
	}
	return nil, fabric.RelayRefusal{Code: fabric.CodeInternal, Err: err}
}

const (
	agentPath    = "/ratsd/chares"
	agentRequest = "application/vnd.veraison.chares+json"
	// agentAccepts are the two tokens of ratsd, the signed form first.
	agentAccepts = `application/cmw+cbor; cmwct="tag:github.com,2026:veraison/ratsd/v2", application/eat-ucs+json; eat_profile="tag:github.com,2024:veraison/ratsd"`
)

// agent is a client of ratsd's HTTP API (veraison/ratsd) on this machine.
type agent struct {
	url    string
	client *http.Client
}

// newAgent takes the URL of the endpoint, or that of the server alone.
func newAgent(address string) (*agent, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("node.attest.evidence: %w", err)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = agentPath
	}
	return &agent{url: u.String(), client: &http.Client{
		// The agent is this machine's: no proxy of the environment, and nobody
		// else to be sent to.
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Attest implements orchestrator.Attester.
func (a *agent) Attest(ctx context.Context, challenge []byte) ([]byte, string, error) {
	body, err := json.Marshal(map[string]string{"nonce": base64.RawURLEncoding.EncodeToString(challenge)})
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", agentRequest)
	req.Header.Set("Accept", agentAccepts)
	res, err := a.client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("agent: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("agent: %s answers %s", a.url, res.Status)
	}
	most := limits.Default().Leaf
	raw, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	if err != nil {
		return nil, "", fmt.Errorf("agent: %w", err)
	}
	if len(raw) == 0 || len(raw) > most {
		return nil, "", fmt.Errorf("agent: evidence of %d bytes, want 1 to %d", len(raw), most)
	}
	return raw, res.Header.Get("Content-Type"), nil
}
