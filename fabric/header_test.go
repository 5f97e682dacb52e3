// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

func TestHeadersRoundTrip(t *testing.T) {
	r := newRequest(10)
	body, err := verifiers.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	h := requestHeaders(r, ContentType, digestOf(body))
	h[HeaderTimeout], h[HeaderAttempt] = []string{"1500"}, []string{hedgeAttempt}
	got, err := parseHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if got.request != r.ID || got.session != r.Session || got.scheme != r.Scheme || got.timeout != 1500*time.Millisecond ||
		got.attempt != "h" || got.digest != digestOf(body) || got.sealed {
		t.Errorf("%+v", got)
	}
	if _, err := got.decodeBody(nil, body); err != nil {
		t.Error(err)
	}
}

func TestErrorAnswers(t *testing.T) {
	for _, tc := range []struct {
		h    nats.Header
		code Code
		hint time.Duration
	}{
		{nil, 0, 0},
		{nats.Header{"Nats-Service-Error-Code": {"503"}, HeaderRetryAfter: {"20"}}, CodeBusy, 20 * time.Millisecond},
		{nats.Header{"Nats-Service-Error-Code": {"503"}, HeaderRetryAfter: {"-1"}}, CodeBusy, 0},
		{nats.Header{"Nats-Service-Error-Code": {"503"}, HeaderRetryAfter: {"99999999999"}}, CodeBusy, 0},
		{nats.Header{"Nats-Service-Error-Code": {"200"}}, CodeInternal, 0},
		{nats.Header{"Nats-Service-Error-Code": {""}}, CodeInternal, 0},
		{nats.Header{"Nats-Service-Error": {"x"}}, CodeInternal, 0},
	} {
		if code, hint := answerCode(tc.h); code != tc.code || hint != tc.hint {
			t.Errorf("%v: %d %v", tc.h, code, hint)
		}
	}
}

// FuzzHeaders feeds header blocks ("Key: value" lines) to the parser. What is
// accepted must be in canonical form, and must never be a way around a check.
func FuzzHeaders(f *testing.F) {
	r := newRequest(10)
	body, _ := verifiers.EncodeRequest(r)
	var seed strings.Builder
	for k, v := range requestHeaders(r, ContentType, digestOf(body)) {
		seed.WriteString(k + ": " + v[0] + "\n")
	}
	f.Add(seed.String(), body)
	f.Add(seed.String()+HeaderTimeout+": 1500\n"+HeaderAttempt+": h\n", body)
	f.Add(seed.String()+HeaderRequest+": "+r.ID+"\n", body)
	f.Add(seed.String()+HeaderSeal+": x\n", []byte(nil))
	f.Add("", []byte(nil))
	f.Fuzz(func(t *testing.T, block string, body []byte) {
		h := nats.Header{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h[k] = append(h[k], v)
		}
		answerCode(h)
		got, err := parseHeader(h)
		if err != nil {
			return
		}
		if len(got.request) != 32 || got.scheme == "" || got.timeout < 0 || got.timeout > maxTimeout || len(h[HeaderDigest]) != 1 {
			t.Fatalf("accepted %+v", got)
		}
		if req, err := got.decodeBody(nil, body); err == nil && (req.ID != got.request || req.Scheme != got.scheme || digestOf(body) != got.digest) {
			t.Fatal("a body was accepted under foreign headers")
		}
	})
}

func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"name":"att-test","id":"x","version":"1.0.0","metadata":{"att.wire":"1","att.site":"lab"},"endpoints":[{"name":"appraise","metadata":{"accepts":"[\"a/b\"]","max-bytes":"10","nonce":"32","budget-ms":"5"}}]}`))
	f.Add([]byte(`{"name":"att-","metadata":{"att.wire":"1"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := parseInfo(raw)
		if err == nil && (!slug.MatchString(in.Site) || !slug.MatchString(in.Scheme) || in.MaxBytes < 0 || in.ID == "") {
			t.Fatalf("accepted %+v", in)
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"event":"start","scheme":"test","instance":"x"}`))
	f.Add([]byte(`{"event":"other"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := parseEvent(raw); err == nil && !slug.MatchString(e.Scheme) {
			t.Fatalf("accepted %+v", e)
		}
	})
}
