// SPDX-License-Identifier: Apache-2.0

package ratsd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
)

func server1(t *testing.T) http.Handler {
	t.Helper()
	d, _ := attester.BuiltIn("cpu-gpu")
	m, err := attester.New(attester.Options{Machine: d, Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return New(m)
}

var nonce = []byte("0123456789abcdef")

func body(more string) string {
	return `{"nonce":"` + base64.RawURLEncoding.EncodeToString(nonce) + `"` + more + `}`
}

func post(h http.Handler, text, contentType, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/ratsd/chares", strings.NewReader(text))
	r.Header.Set("Content-Type", contentType)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestChallenge(t *testing.T) {
	h := server1(t)
	for _, c := range []struct{ accept, media, labels, more string }{
		{"", attester.RatsdJSONType, "nv-gpu-evidence tsm-report", ""},
		{"*/*", attester.RatsdJSONType, "nv-gpu-evidence tsm-report", ""},
		{attester.RatsdJSONType, attester.RatsdJSONType, "nv-gpu-evidence tsm-report", ""},
		{"text/html, " + attester.RatsdV2Type, attester.RatsdV2Type, "nv-gpu-evidence tsm-report", ""},
		{attester.RatsdV2Type, attester.RatsdV2Type, "tsm-report", `,"attester-selection":["tsm-report","tsm-report"]`},
		{"", attester.RatsdJSONType, "nv-gpu-evidence tsm-report", `,"tsm-report":{"content-type":"x"}`},
	} {
		w := post(h, body(c.more), requestType, c.accept)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != c.media {
			t.Errorf("Accept %q: %d %s %s", c.accept, w.Code, w.Header().Get("Content-Type"), w.Body)
			continue
		}
		tree, err := evidence.Parse(w.Body.Bytes(), evidence.Options{MediaType: w.Header().Get("Content-Type")})
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, l := range tree.Leaves() {
			labels = append(labels, string(l.Path()))
		}
		if got := strings.Join(labels, " "); got != c.labels || !bytes.Equal(tree.Ratsd().Nonce, nonce) {
			t.Errorf("Accept %q: %s", c.accept, got)
		}
	}
}

func TestProblems(t *testing.T) {
	h := server1(t)
	for name, c := range map[string]struct {
		body, contentType, accept string
		code                      int
	}{
		"charset":              {body(""), requestType + "; charset=utf-8", "", 400},
		"no type":              {body(""), "", "", 400},
		"accept":               {body(""), requestType, "text/html", 406},
		"another profile":      {body(""), requestType, `application/eat-ucs+json; eat_profile="x"`, 406},
		"no JSON":              {"x", requestType, "", 400},
		"member twice":         {body(`,"nonce":"AAAAAAAAAAA"`), requestType, "", 400},
		"no nonce":             {"{}", requestType, "", 400},
		"short nonce":          {`{"nonce":"AAAA"}`, requestType, "", 400},
		"padded nonce":         {`{"nonce":"AAAAAAAAAAA="}`, requestType, "", 400},
		"nonce number":         {`{"nonce":1}`, requestType, "", 400},
		"unknown sub-attester": {body(`,"x":{}`), requestType, "", 400},
		"selection":            {body(`,"attester-selection":["x"]`), requestType, "", 400},
		"selection of none":    {body(`,"attester-selection":[]`), requestType, "", 400},
		"selection text":       {body(`,"attester-selection":"tsm-report"`), requestType, "", 400},
		"options list":         {body(`,"tsm-report":[]`), requestType, "", 400},
		"option number":        {body(`,"tsm-report":{"content-type":1}`), requestType, "", 400},
		"unknown option":       {body(`,"tsm-report":{"x":"y"}`), requestType, "", 400},
		"too large":            {body(strings.Repeat(" ", maxRequest)), requestType, "", 400},
	} {
		w := post(h, c.body, c.contentType, c.accept)
		var p struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.code || p.Status != c.code || p.Detail == "" ||
			w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if c.code == 400 && !strings.HasSuffix(p.Type, "error:invalidrequest") {
			t.Errorf("%s: type %s", name, p.Type)
		}
	}
}

func TestInventory(t *testing.T) {
	w := httptest.NewRecorder()
	server1(t).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ratsd/subattesters", nil))
	var list []struct {
		Name    string
		Options []map[string]string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 2 || list[0].Name != "tsm-report" || list[1].Options[0]["data-type"] != "string" {
		t.Errorf("%s", w.Body)
	}
}

// slow is a machine that takes longer than any client waits.
type slow struct{}

func (slow) RatsdAttesters() []string { return nil }
func (slow) Ratsd([]byte, attester.Format, []string) ([]byte, time.Duration, error) {
	return []byte("x"), time.Hour, nil
}

func TestSlowMachine(t *testing.T) {
	s := httptest.NewServer(New(slow{}))
	defer s.Close()
	c := http.Client{Timeout: 100 * time.Millisecond}
	if resp, err := c.Post(s.URL+"/ratsd/chares", requestType, strings.NewReader(body(""))); err == nil {
		resp.Body.Close()
		t.Error("it answered at once")
	}
}
