// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// book is a source of reference values that does as it is told.
type book struct {
	index *corim.Index
	err   error
	bang  bool
	asked *time.Time
}

func (b book) Snapshot(now time.Time) (*corim.Index, error) {
	if b.bang {
		panic("bang")
	}
	if b.asked != nil {
		*b.asked = now
	}
	return b.index, b.err
}

// watcher is a verifier that remembers its input.
type watcher struct {
	told
	in *Input
}

func (w watcher) Appraise(ctx context.Context, in Input) (verdict.Appraisal, error) {
	*w.in = in
	return w.told.Appraise(ctx, in)
}

// A node takes one set for one appraisal, says which, and gives no verdict when
// it cannot have one: that is not the same as having none.
func TestNodeReferences(t *testing.T) {
	x, err := corim.NewIndex()
	if err != nil {
		t.Fatal(err)
	}
	var asked time.Time
	for name, c := range map[string]struct {
		from  References
		index *corim.Index
		fail  string
	}{
		"none":     {nil, nil, ""},
		"some":     {book{index: x, asked: &asked}, x, ""},
		"stale":    {book{index: x, err: errors.New("too old")}, nil, "reference values: too old"},
		"nil":      {book{}, nil, "reference values: no snapshot"},
		"panicked": {book{index: x, bang: true}, nil, "reference values: panic: bang"},
	} {
		in := &Input{}
		w := newNode(t, watcher{told{a: verdict.Appraisal{Vector: verdict.AllClaims(verdict.ClaimApproved)}}, in}, func(o *NodeOptions) { o.References = c.from })
		r := request(t)
		token, _, err := w.node.Appraise(t.Context(), r)
		if c.fail != "" {
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Code != 500 || refusal.Text != "internal" || !strings.Contains(refusal.Unwrap().Error(), c.fail) || token != nil {
				t.Errorf("%s: %v", name, err)
			}
			if strings.Contains(refusal.Error(), "reference") {
				t.Errorf("%s: the cause leaves the node: %v", name, refusal)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := verdict.VerifyPartial(token, verdict.Expect{
			Label: r.Label, Scheme: "a", Request: r.ID, Nonce: r.Nonce, NonceRule: r.NonceRule,
			Evidence: sha256.Sum256(r.Evidence), MediaType: r.MediaType.String(),
		}, verdict.Intake{Now: w.clock}, w.anchors)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if c.index != nil {
			want = c.index.Revision()
		}
		if in.References != c.index || p.ReferenceRevision() != want {
			t.Errorf("%s: the scheme got %v, the result says %q", name, in.References, p.ReferenceRevision())
		}
	}
	if !asked.Equal(time.Unix(1750000000, 0)) {
		t.Errorf("asked for %s", asked)
	}
}
