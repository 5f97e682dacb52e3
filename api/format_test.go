// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// signer is a lead that has a key: its machine is a TDX guest with the schemes
// that a test names.
type signer struct {
	*trust.Signer
	anchors *trust.Anchors
	schemes []string
	err     error
}

var formatTime = time.Unix(1750000000, 0)

func newSigner(t *testing.T, schemes ...string) *signer {
	t.Helper()
	s, err := trust.NewSigner(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := trust.NewAnchors(s.Key("lead", nil, trust.RoleLead))
	if err != nil {
		t.Fatal(err)
	}
	return &signer{Signer: s, anchors: anchors, schemes: schemes}
}

func (s *signer) Appraise(context.Context, orchestrator.Request) (*verdict.Result, error) {
	r := &verdict.Result{Verifier: verdict.Identity{Developer: "d", Build: "b"}, Time: formatTime, Topology: "lead", Session: "s"}
	for _, scheme := range s.schemes {
		r.Components = append(r.Components, verdict.Component{
			Label: evidence.Path(scheme), Scheme: scheme, Required: true, Reasons: []verdict.Reason{{Code: verdict.ReasonTimeout}},
		})
	}
	r.Outcome = verdict.Combine(r.Components, nil)
	_, err := verdict.SignResult(s.Signer, r, time.Hour)
	return r, err
}

func (s *signer) Sign(r *verdict.Result, f verdict.Format) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return verdict.SignFormat(s.Signer, r, f, time.Hour)
}

const (
	p23 = `application/eat+jwt; eat_profile="tag:github.com,2023:veraison/ear"`
	p04 = `application/eat+jwt; eat_profile="tag:ietf.org,2026:rats/ear#04"`
	cwt = `application/eat+cwt; eat_profile="tag:ietf.org,2026:rats/ear#04"`
	gpu = `application/eat+jwt; eat_profile="tag:github.com,2026:assize/ear-tdx-gpu"`
)

func TestFormatsByAccept(t *testing.T) {
	s := newSigner(t, "intel-tdx", "nvidia-gpu")
	h := handler(t, s, nil)
	for accept, want := range map[string]string{
		"":                               typeJSON,
		"*/*":                            typeJSON,
		"application/*":                  typeJSON,
		"application/eat+jwt":            p23,
		p23:                              p23,
		p04:                              p04,
		gpu:                              gpu,
		"application/eat+cwt":            cwt,
		cwt:                              cwt,
		"application/cmw+json":           typeCMW,
		"application/eat-jwt":            p23,
		"application/eat-cwt":            cwt,
		"Application/EAT+JWT":            p23,
		"application/eat-jwt" + p04[19:]: p04,
		// A profile has a comma in it, and that ends no range.
		p23 + ", " + cwt + ";q=0.5":                                 p23,
		p23 + ";q=0.5, " + cwt:                                      cwt,
		p04 + ";q=0.9, application/eat+jwt;q=0.8":                   p04,
		"application/eat+jwt;q=0.9, " + p04 + ";q=0.8":              p23,
		p04 + "; q=0, application/eat+jwt":                          p23,
		p23 + "; q=0, application/eat+jwt":                          p04,
		p23 + "; q=0, " + p04 + ";q=0, application/eat+jwt":         gpu,
		`text/html, application/eat+jwt;eat_profile="x", */*;q=0.1`: typeJSON,
		"application/eat+jwt; charset=utf-8":                        p23,
	} {
		w := post(h, "/v1/appraise", "application/cmw+json", accept, "{}")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want {
			t.Errorf("Accept %s: %d %s", accept, w.Code, w.Header().Get("Content-Type"))
			continue
		}
		openapi(t).declared(t, http.MethodPost, "/v1/appraise", w)
		if !strings.HasPrefix(want, "application/eat") || want == gpu {
			continue
		}
		res, err := verdict.VerifyResult(w.Body.Bytes(), verdict.Intake{Now: formatTime}, s.anchors)
		if err != nil || res.Session != "s" || trust.IsCWT(w.Body.Bytes()) != (want == cwt) {
			t.Errorf("Accept %s: %v", accept, err)
		}
	}
}

func TestFormatsNotAcceptable(t *testing.T) {
	h := handler(t, newSigner(t, "intel-tdx", "nvidia-gpu"), nil)
	for _, accept := range []string{
		`application/eat+jwt; eat_profile="tag:ietf.org,2026:rats/ear#03"`, `application/eat+cwt; eat_profile="tag:github.com,2023:veraison/ear"`,
		`application/eat+jwt; eat_profile="tag:ietf.org,2026:rats/ear#04`, p04 + ";q=0", p04 + ";q=2", p04 + ";q=NaN", "text/html", "eat+jwt", `application/json; eat_profile="x"`,
	} {
		w := post(h, "/v1/appraise", "application/cmw+json", accept, "{}")
		if w.Code != http.StatusNotAcceptable {
			t.Errorf("Accept %s: %d %s", accept, w.Code, w.Header().Get("Content-Type"))
			continue
		}
		for _, has := range []string{typeJSON, p23, p04, cwt, gpu, typeCMW} {
			if p := problemOf(t, w); !strings.Contains(p.Detail, has) {
				t.Errorf("Accept %s: %s is not among %s", accept, has, p.Detail)
			}
			w = post(h, "/v1/appraise", "application/cmw+json", accept, "{}")
		}
	}
}

// A format that does not fit the machine is a reason to take the next one, or to
// say why there is none.
func TestFormatThatDoesNotFit(t *testing.T) {
	h := handler(t, newSigner(t, "amd-snp", "nvidia-gpu"), nil)
	w := post(h, "/v1/appraise", "application/cmw+json", gpu, "{}")
	if p := problemOf(t, w); w.Code != http.StatusNotAcceptable || !strings.Contains(p.Detail, "amd-snp") || !strings.Contains(p.Detail, "ear-tdx-gpu") {
		t.Errorf("%d %s", w.Code, p.Detail)
	}
	openapi(t).declared(t, http.MethodPost, "/v1/appraise", post(h, "/v1/appraise", "application/cmw+json", gpu, "{}"))
	if w := post(h, "/v1/appraise", "application/cmw+json", gpu+", "+cwt+";q=0.1", "{}"); w.Code != http.StatusOK || w.Header().Get("Content-Type") != cwt {
		t.Errorf("%d %s", w.Code, w.Header().Get("Content-Type"))
	}
	// Any other failure is nobody's business.
	s := newSigner(t, "intel-tdx", "nvidia-gpu")
	s.err = errors.New("secret")
	w = post(handler(t, s, nil), "/v1/appraise", "application/cmw+json", p04, "{}")
	if p := problemOf(t, w); w.Code != http.StatusInternalServerError || strings.Contains(p.Detail, "secret") {
		t.Errorf("%d %s", w.Code, p.Detail)
	}
}

// Who cannot sign has the one format that verdicts come in.
func TestFormatsOfAnAppraiserWithoutKey(t *testing.T) {
	h := handler(t, lead(warning), nil)
	for _, accept := range []string{p04, cwt, gpu, "application/eat+cwt"} {
		if w := post(h, "/v1/appraise", "application/cmw+json", accept, "{}"); w.Code != http.StatusNotAcceptable {
			t.Errorf("Accept %s: %d", accept, w.Code)
		}
	}
	if w := post(h, "/v1/appraise", "application/cmw+json", p23, "{}"); w.Code != http.StatusOK || w.Body.String() != "a.b.c" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSplitList(t *testing.T) {
	for in, want := range map[string][]string{
		"":               {""},
		"a, b":           {"a", " b"},
		`a;x="1,2", b`:   {`a;x="1,2"`, " b"},
		`a;x="1\",2", b`: {`a;x="1\",2"`, " b"},
		`a;x="1, b`:      {`a;x="1, b`},
		`a;x="1\`:        {`a;x="1\`},
		`"", ""`:         {`""`, ` ""`},
	} {
		if got := splitList(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add(p23 + ", " + cwt + ";q=0.5")
	f.Add(`application/eat+jwt;eat_profile="\",`)
	s := &server{sign: (&signer{}).Sign}
	f.Fuzz(func(t *testing.T, accept string) {
		list := negotiate([]string{accept}, s.forms(false))
		for i, one := range list {
			if !slices.Contains(s.forms(false), one) || slices.Contains(list[:i], one) {
				t.Fatalf("%q: %v", accept, list)
			}
		}
	})
}
