// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Receipts come back as they were signed, and only those of this session.
func TestReceipts(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	sent := l.envelope()
	raw, err := sent.Sign(l.b, rand.Reader)
	must(t, raw, err)
	now := testTime.Add(3 * time.Second)
	receipt := func(session string, age time.Duration) verdict.Receipt {
		token, err := verdict.SignReceipt(l.c, verdict.Receipt{
			Session: session, Issued: testTime.Add(-age), Requests: []string{testID("0a")},
			Path: []verdict.Hop{{Node: "vendor-b", KID: l.b.KID()}, {Node: "vendor-c", KID: l.c.KID()}},
		})
		one, err := verdict.ParseReceipt(must(t, token, err))
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	many := func(n int) (out []verdict.Receipt) {
		for i := range n {
			out = append(out, receipt(sent.Session, time.Duration(i)*time.Second))
		}
		return out
	}
	for name, c := range map[string]struct {
		receipts []verdict.Receipt
		ok       bool
	}{
		"none": {nil, true}, "one": {many(1), true}, "as many as there can be": {many(verdict.MaxReceipts), true},
		"more than that":          {many(verdict.MaxReceipts + 1), false},
		"of another session":      {[]verdict.Receipt{receipt("another", 0)}, false},
		"one twice":               {append(many(1), many(1)...), false},
		"one without a signature": {[]verdict.Receipt{{Session: sent.Session}}, false},
	} {
		a := l.answer(sent, raw)
		a.Receipts = c.receipts
		if _, err := a.Sign(l.c, rand.Reader); (err == nil) != c.ok {
			t.Errorf("%s: signed: %v", name, err)
		}
		got, _, err := OpenAnswer(answered(t, l.c, a, nil), &sent, raw, knows(l.c), now)
		if (err == nil) != c.ok {
			t.Errorf("%s: opened: %v", name, err)
		}
		if c.ok && fmt.Sprint(got.Receipts) != fmt.Sprint(c.receipts) {
			t.Errorf("%s: %v, want %v", name, got.Receipts, c.receipts)
		}
	}
}
