// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/nvidiagpu"
	"github.com/assize/assize/verifiers/remote/nras"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

// secondOpinion is a lead with two verifiers of GPUs at two sites of one fabric:
// the native scheme, and the one that asks NVIDIA's service, which is a stand-in.
type secondOpinion struct {
	service  *nrastest.Service
	lead     *orchestrator.Orchestrator
	anchors  *trust.Anchors
	schemes  *verifiers.Set
	evidence []byte
	nonce    []byte
}

var remoteIdentity = verdict.Identity{Developer: "https://test.example", Build: "test " + nras.Name}

func newSecondOpinion(t *testing.T) *secondOpinion {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	srv, err := embed.Start(embed.Options{Name: "test", Logger: quiet})
	must(t, err)
	t.Cleanup(func() { must(t, srv.Shutdown(context.Background())) })
	connect := func(site string) *fabric.Bus {
		bus, err := fabric.Connect(context.Background(), fabric.Config{Name: "test/" + site + "/1", Site: site, InProcess: srv.Provider(), Logger: quiet})
		must(t, err)
		t.Cleanup(func() { must(t, bus.Close(context.Background())) })
		return bus
	}
	lead, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(t, err)
	keys := []trust.Key{lead.Key("lead", nil, trust.RoleLead)}
	s := &secondOpinion{service: nrastest.New(t, rand.Reader, time.Now)}
	client, err := nras.NewClient(nras.ClientOptions{URL: s.service.URL, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Now: time.Now})
	must(t, err)
	remote, err := nras.Backend(nvidiagpu.Scheme(), nras.Options{Service: client, Issuer: s.service.Issuer})
	must(t, err)
	for _, at := range []struct {
		site   string
		scheme verifiers.Scheme
		id     verdict.Identity
	}{{"local", nvidiagpu.Scheme(), identity}, {"nras", remote, remoteIdentity}} {
		signer, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		must(t, err)
		keys = append(keys, signer.Key(at.site, []string{at.scheme.Name}, trust.RoleVerifier))
		set, err := verifiers.NewSet(at.scheme)
		must(t, err)
		node, err := verifiers.NewNode(verifiers.NodeOptions{Set: set, Identity: at.id, Signers: map[string]*trust.Signer{at.scheme.Name: signer}, Clock: time.Now})
		must(t, err)
		svc, err := connect(at.site).Serve(node, fabric.ServiceOptions{Scheme: at.scheme, KID: node.KID(at.scheme.Name), Identity: at.id})
		must(t, err)
		t.Cleanup(func() { must(t, svc.Stop(context.Background())) })
	}
	s.anchors, err = trust.NewAnchors(keys...)
	must(t, err)
	s.schemes, err = verifiers.NewSet(nvidiagpu.Scheme())
	must(t, err)
	s.lead, err = orchestrator.New(orchestrator.Options{
		Schemes: s.schemes, Appraiser: connect("lead").Caller(fabric.CallerOptions{}), Anchors: s.anchors, Signer: lead, Identity: identity,
		Route: func(_, node string) []verifiers.Candidate { return []verifiers.Candidate{{Site: node}} },
		Clock: time.Now, Rand: rand.Reader, Budget: 5 * time.Second,
	})
	must(t, err)
	s.recorded(t)
	return s
}

// recorded is the recorded GPU that a recorded reply of the real service is about,
// and its claims in that reply.
func (s *secondOpinion) recorded(t *testing.T) {
	t.Helper()
	report, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, "nvidia/nvtrust/samples/hopperAttestationReport.txt"))))
	must(t, err)
	s.nonce = report[4:36]
	leaf, err := json.Marshal([]map[string]string{{
		"arch": "HOPPER", "nonce": hex.EncodeToString(s.nonce), "evidence": base64.StdEncoding.EncodeToString(report),
		"certificate": base64.StdEncoding.EncodeToString(vectors.Read(t, "nvidia/nvtrust/samples/hopperCertChain.txt")),
	}})
	must(t, err)
	item := evidence.Collection("tag:github.com,2026:assize/sample", evidence.Entry{Label: "gpu", Item: evidence.Record(samples.GPUType, leaf, evidence.IndEvidence)})
	s.evidence, err = evidence.EncodeCBOR(item)
	must(t, err)
	var claims map[string]nrastest.Claims
	must(t, json.Unmarshal(vectors.Read(t, "nvidia/attestation-sdk/testdata/sample_attestation_data/hopperClaimsv3_decoded.json"), &claims))
	s.service.Device = claims["GPU-0"]
	said := s.service.Device["ueid"]
	s.service.Edit = func(_, device nrastest.Claims) { device["ueid"] = said }
	for _, name := range []string{"iss", "iat", "nbf", "exp", "jti", "eat_nonce"} {
		delete(s.service.Device, name)
	}
}

func (s *secondOpinion) appraise(t *testing.T, topology string) verdict.Component {
	t.Helper()
	e, err := topologies.Parse(topology)
	must(t, err)
	res, err := s.lead.Appraise(context.Background(), orchestrator.Request{Evidence: s.evidence, Topology: &e, Given: map[evidence.Path][]byte{"gpu": s.nonce}})
	must(t, err)
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, s.anchors)
	must(t, err)
	must(t, orchestrator.Recheck(checked, s.schemes))
	return part(t, checked, "gpu/0")
}

// opinions are what the two verifiers said, by the build in their results.
func opinions(c verdict.Component) map[string]verdict.Partial {
	out := map[string]verdict.Partial{}
	for _, p := range append([]verdict.Partial{c.Partial}, c.Others...) {
		if !p.IsZero() {
			id, _ := p.Verifier()
			out[id.Build] = p
		}
	}
	return out
}

const both = "parallel(quorum 2: gpu/*@local, gpu/*@nras)"

// The native verifier and NVIDIA's service appraise one recorded GPU; the worst of
// the two counts, and each result says whose it is.
func TestNRASSecondOpinion(t *testing.T) {
	s := newSecondOpinion(t)
	c := s.appraise(t, both)
	by := opinions(c)
	local, remote := by[identity.Build], by[remoteIdentity.Build]
	if len(by) != 2 || c.Quorum != 2 || c.Tier() != verdict.TierWarning {
		t.Fatalf("%d results, quorum %d, %s: %v", len(by), c.Quorum, c.Tier(), c.Reasons)
	}
	a := remote.Appraisal()
	if a.Freshness != verdict.FreshnessFresh || a.Vector[verdict.Executables] != verdict.ClaimApprovedBoot || a.Vector[verdict.Hardware] != verdict.ClaimApproved {
		t.Errorf("the service: %v %v", a.Vector, a.Reasons)
	}
	own := local.Appraisal()
	if own.Freshness != verdict.FreshnessFresh || own.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		t.Errorf("native, without reference values: %v", own.Vector)
	}
	if backend, _ := a.Claims["backend"].(map[string]any); backend["name"] != nras.Name || backend["overall-result"] != true || own.Claims["backend"] != nil {
		t.Errorf("%v, %v", backend, own.Claims["backend"])
	}
	// The two agree who the device is, each by what it has seen signed.
	if len(a.Facts.Device) != 2 || !slices.Equal(a.Facts.Device, own.Facts.Device) || a.Facts.SignerSPKI != own.Facts.SignerSPKI {
		t.Errorf("%v, %v", a.Facts.Device, own.Facts.Device)
	}
	if lone := s.appraise(t, "gpu/*@nras"); lone.Tier() != verdict.TierWarning {
		t.Errorf("the service alone: %s %v", lone.Tier(), lone.Reasons)
	}
}

// Where the service contradicts, the worst answer counts, and the disagreement is
// said.
func TestNRASContradicts(t *testing.T) {
	s := newSecondOpinion(t)
	for name, change := range map[string]func(){
		"negative":   func() { s.service.Overall = false },
		"mismatch":   func() { s.service.Overall, s.service.Device["measres"] = true, "fail" },
		"bad report": func() { s.service.Device["x-nvidia-error-details"] = nrastest.Claims{"code": 4013, "message": "m"} },
	} {
		s.service.Set(func(*nrastest.Service) { change() })
		c := s.appraise(t, both)
		if c.Tier() != verdict.TierContraindicated || !remarks(c, verdict.ReasonDisagreement) || len(opinions(c)) != 2 {
			t.Errorf("%s: %s %v", name, c.Tier(), c.Reasons)
		}
	}
}

// A service that cannot be reached, or whose reply is none, is a verifier that did
// not answer: never a contradiction, and never enough for the quorum.
func TestNRASSilent(t *testing.T) {
	s := newSecondOpinion(t)
	for name, change := range map[string]func(*nrastest.Service){
		"unavailable": func(v *nrastest.Service) {
			v.Answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
		},
		"another device": func(v *nrastest.Service) { v.Answer, v.Edit = nil, func(_, d nrastest.Claims) { d["ueid"] = "1" } },
		"unknown key":    func(v *nrastest.Service) { k := v.Key("kid-x"); v.Answer, v.Signing = nil, &k },
	} {
		s.service.Set(change)
		c := s.appraise(t, both)
		if c.Tier() != verdict.TierNone || !remarks(c, verdict.ReasonQuorumNotReached) || len(opinions(c)) != 1 {
			t.Errorf("%s: %s %v", name, c.Tier(), c.Reasons)
		}
		if c := s.appraise(t, "parallel(quorum 1: gpu/*@local, gpu/*@nras)"); c.Tier() != verdict.TierWarning || !remarks(c, verdict.ReasonQuorumIncomplete) {
			t.Errorf("%s, one of two: %s %v", name, c.Tier(), c.Reasons)
		}
	}
}

func remarks(c verdict.Component, code string) bool {
	for _, r := range c.Reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}

// Two processes serve one scheme at two sites, one natively and one through the
// service; the lead asks both.
func TestNRASProcesses(t *testing.T) {
	service := nrastest.New(t, rand.Reader, time.Now)
	here, there, leadState, nats := t.TempDir(), t.TempDir(), t.TempDir(), natsServer(t)
	var trusted []string
	for _, state := range []string{here, there} {
		file := filepath.Join(leadState, fmt.Sprint(len(trusted), ".json"))
		must(t, os.WriteFile(file, output(t, state, "keys", "jwks", "--only", "nvidia-gpu"), 0o600))
		trusted = append(trusted, fmt.Sprintf("%q", file))
	}
	remote, lead := filepath.Join(there, "nras.yaml"), filepath.Join(leadState, "lead.yaml")
	must(t, os.WriteFile(remote, []byte(fmt.Sprintf("nras: {schemes: [nvidia-gpu], url: %q}\n", service.URL)), 0o600))
	must(t, os.WriteFile(lead, []byte(fmt.Sprintf("schemes: [none]\ntopology: %q\ntrust: [%s]\nfabric: {mode: external, urls: [%q]}\n",
		both, strings.Join(trusted, ", "), nats)), 0o600))
	start(t, `msg=serving`, here, "verifier", "--schemes", "nvidia-gpu", "--nats", nats, "--site", "local")
	p, _ := start(t, `msg=serving`, there, "verifier", "--schemes", "nvidia-gpu", "--nats", nats, "--site", "nras", "--config", remote)
	_, url := serve(t, leadState, "--config", lead)

	c := appraise(t, url+"/v1/appraise").Components["gpu/0"]
	raw, err := json.Marshal(c)
	must(t, err)
	answers, err := json.Marshal(c["quorum"]) // of two equal answers, the one with the lower key stands for the component
	must(t, err)
	if c["tier"] != "warning" || strings.Count(string(answers), nras.Name+"/v3") != 1 || strings.Contains(string(raw), verdict.ReasonQuorumNotReached) {
		t.Errorf("%s", raw)
	}
	if n := len(service.Asked()); n != 1 {
		t.Errorf("%d requests", n)
	}
	if _, raw := get(t, url+"/v1/verifiers"); strings.Count(string(raw), nras.Name) != 1 || strings.Count(string(raw), `"trusted": true`) != 2 {
		t.Errorf("verifiers: %s", raw)
	}
	service.Set(func(s *nrastest.Service) { s.Overall = false })
	if c := appraise(t, url+"/v1/appraise").Components["gpu/0"]; c["tier"] != "contraindicated" {
		t.Errorf("%v", c)
	}
	p.stop(t)
	if c := appraise(t, url+"/v1/appraise").Components["gpu/0"]; c["tier"] != "none" {
		t.Errorf("%v", c)
	}
}
