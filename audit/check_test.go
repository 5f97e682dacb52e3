// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/trust"
)

// written is a closed log with two checkpoints between events.
//
//	1 started, 2 checkpoint, 3..6 events, 7 checkpoint, 8..11 events, 12 checkpoint, 13 event, 14 stopped, 15 checkpoint
func written(t testing.TB, s *trust.Signer) *memory {
	t.Helper()
	m := &memory{}
	o := options(m, s)
	o.Every = 4
	l := open(t, o)
	for n := range 9 {
		must(t, l.Record(t.Context(), event(n)))
	}
	must(t, l.Close(t.Context()))
	if len(m.lines) != 15 {
		t.Fatalf("%d records", len(m.lines))
	}
	return m
}

// again writes record i anew with a change, and all behind it so that the
// chain holds; checkpoints are signed by s, or kept as they are when it is nil.
func again(t testing.TB, lines [][]byte, i int, s Signer, change func(*Record)) [][]byte {
	t.Helper()
	out := slices.Clone(lines)
	for j := i; j < len(out); j++ {
		r, err := Decode(out[j])
		must(t, err)
		if j == i && change != nil {
			change(r)
		}
		if j > 0 && j > i {
			r.Previous = Sum(out[j-1])
		}
		if r.Kind == KindCheckpoint && s != nil {
			r.KID = s.KID()
			r.Checkpoint, err = Checkpoint{Log: r.Log, Seq: r.Seq - 1, Head: r.Previous, Time: r.Time, Node: r.Node}.sign(s)
			must(t, err)
		}
		out[j], err = r.encode()
		must(t, err)
	}
	return out
}

func worse(r *Record) { r.Tier, r.Components[1].Tier = "affirming", "affirming" }

// Every kind of tampering is found, at the first record that cannot be right
// and in words that say what it is.
func TestTampering(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	good, foreign := written(t, s).lines, written(t, s).lines
	rep, err := Check(bytes.NewReader(join(good)), keysOf(t, s), CheckOptions{})
	must(t, err)
	newest := []string{rep.Newest}
	middle, err := Decode(good[6])
	must(t, err)
	del := func(i, j int) [][]byte { return slices.Delete(slices.Clone(good), i, j) }
	put := func(i int, l ...[]byte) [][]byte { return slices.Insert(slices.Clone(good), i, l...) }
	edit := func(i int, from, to string) [][]byte {
		out := slices.Clone(good)
		out[i] = bytes.Replace(out[i], []byte(from), []byte(to), 1)
		if bytes.Equal(out[i], good[i]) {
			t.Fatalf("record %d has no %s", i+1, from)
		}
		return out
	}
	swapped := slices.Clone(good)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	for name, x := range map[string]struct {
		lines [][]byte
		kept  []string
		seq   uint64
		rule  string
		words string
	}{
		"edit":                     {edit(4, `"tier":"none"`, `"tier":"affirming"`), nil, 6, RuleChain, "changed"},
		"edit before a checkpoint": {edit(5, `"tier":"none"`, `"tier":"affirming"`), nil, 7, RuleChain, "changed"},
		"edit of a space":          {edit(4, `,"tier"`, `, "tier"`), nil, 0, RuleForm, "one form"},
		"edit of a checkpoint":     {edit(6, `"checkpoint":"ey`, `"checkpoint":"fy`), nil, 7, RuleSignature, "not signed"},
		"edit and chain anew":      {again(t, good, 4, nil, worse), nil, 7, RuleCheckpoint, "written anew"},
		"drop":                     {del(4, 5), nil, 6, RuleSequence, "missing"},
		"drop a checkpoint":        {del(6, 7), nil, 8, RuleSequence, "missing"},
		"drop and chain anew": {again(t, del(4, 5), 4, nil, func(r *Record) {
			r.Seq, r.Previous = 5, Sum(good[3])
		}), nil, 7, RuleSequence, "missing"},
		"swap":                              {swapped, nil, 5, RuleSequence, "elsewhere"},
		"repeat":                            {put(4, good[3]), nil, 4, RuleSequence, "two records 4"},
		"insert an earlier one":             {put(6, good[2]), nil, 3, RuleSequence, "older part"},
		"insert a new one":                  {again(t, put(4, good[3]), 4, nil, func(r *Record) { r.Seq, r.Previous = 5, Sum(good[3]) }), nil, 5, RuleSequence, "two records 5"},
		"truncate the front":                {good[2:], nil, 3, RuleBegin, "missing"},
		"cut off before a checkpoint":       {good[:6], newest, 6, RuleKept, "cut off"},
		"cut off behind a checkpoint":       {good[:13], newest, 13, RuleKept, "cut off"},
		"cut off at a checkpoint":           {good[:12], newest, 12, RuleKept, "older state"},
		"cut off before the first one":      {good[:1], nil, 0, RuleUnsigned, "no checkpoint"},
		"everything":                        {nil, nil, 0, RuleEmpty, "no record"},
		"another log's record":              {put(4, foreign[4]), nil, 5, RuleLog, "belongs to log"},
		"another log instead":               {foreign, newest, 14, RuleKept, "kept"},
		"another log behind":                {append(slices.Clone(good), foreign...), nil, 1, RuleLog, "belongs to log"},
		"file again":                        {append(slices.Clone(good), good[:7]...), nil, 1, RuleSequence, "older part"},
		"checkpoint by a stranger":          {again(t, good, 4, stranger, worse), nil, 7, RuleSignature, "not among those"},
		"checkpoint of another record":      {edit(11, checkpointOf(t, good[11]), checkpointOf(t, good[6])), nil, 12, RuleCheckpoint, "about record 6"},
		"checkpoint of another log":         {edit(6, checkpointOf(t, good[6]), checkpointOf(t, foreign[6])), nil, 7, RuleCheckpoint, "of log"},
		"checkpoint with another key's id":  {edit(6, s.KID(), stranger.KID()), nil, 7, RuleSignature, "is one of"},
		"older than the one before":         {again(t, good, 12, s, func(r *Record) { r.Time = middle.Time }), nil, 13, RuleTime, "before"},
		"written anew by the key's owner":   {again(t, good, 4, s, worse), newest, 14, RuleKept, "kept"},
		"a line feed in front":              {append([][]byte{{}}, good...), nil, 0, RuleForm, "not a record"},
		"checkpoint as an ordinary record":  {edit(6, `"kind":"checkpoint"`, `"kind":"stopped"`), nil, 0, RuleForm, "signature"},
		"record number 0":                   {edit(0, `"seq":1,`, `"seq":0,`), nil, 0, RuleForm, "count from 1"},
		"checkpoint's time is not its own":  {again(t, good, 14, nil, func(r *Record) { r.Time = "2036-03-01T00:00:00.000000Z" }), nil, 15, RuleCheckpoint, "another time"},
		"kept checkpoint of another branch": {good, []string{checkpointOf(t, foreign[6])}, 6, RuleKept, "kept"},
	} {
		rep, err := Check(bytes.NewReader(join(x.lines)), keysOf(t, s), CheckOptions{Kept: x.kept})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: not found, %v, %+v", name, err, rep)
			continue
		}
		if e.Seq != x.seq || e.Rule != x.rule || !strings.Contains(err.Error(), x.words) {
			t.Errorf("%s: %v; want record %d, %s, %q", name, err, x.seq, x.rule, x.words)
		}
	}
}

func join(lines [][]byte) []byte { return (&memory{lines: lines}).text() }

func checkpointOf(t testing.TB, line []byte) string {
	t.Helper()
	r, err := Decode(line)
	must(t, err)
	return r.Checkpoint
}

// What was cut off behind the last checkpoint that somebody kept does not show:
// the report says how much rests on the chain alone.
func TestWhatACheckpointDoesNotCover(t *testing.T) {
	s := newSigner(t)
	lines := written(t, s).lines
	for n, want := range map[int]struct{ covered, open int }{15: {14, 0}, 14: {11, 2}, 12: {11, 0}, 10: {6, 3}} {
		rep, err := Check(bytes.NewReader(join(lines[:n])), keysOf(t, s), CheckOptions{})
		must(t, err)
		if rep.Covered != uint64(want.covered) || rep.Open != want.open || rep.Closed != (n >= 14) {
			t.Errorf("%d records: covered %d, open %d, closed %t", n, rep.Covered, rep.Open, rep.Closed)
		}
	}
}

func TestTornLine(t *testing.T) {
	s := newSigner(t)
	raw := written(t, s).text()
	for _, n := range []int{1, 100} {
		_, err := Check(bytes.NewReader(raw[:len(raw)-n]), keysOf(t, s), CheckOptions{})
		var e *Error
		if !errors.As(err, &e) || e.Rule != RuleTorn || e.Line != 15 {
			t.Errorf("%d bytes less: %v", n, err)
		}
	}
	_, err := Check(bytes.NewReader(bytes.Repeat([]byte("x"), MaxRecord+2)), keysOf(t, s), CheckOptions{})
	var e *Error
	if !errors.As(err, &e) || e.Rule != RuleForm {
		t.Errorf("a long line: %v", err)
	}
}

func TestTooManyUnsigned(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	o := options(m, s)
	o.Every = MaxOpen
	l := open(t, o)
	for n := range MaxOpen {
		must(t, l.Record(t.Context(), event(n)))
	}
	if _, err := Check(bytes.NewReader(m.text()), keysOf(t, s), CheckOptions{}); err != nil {
		t.Error(err)
	}
	// Without its checkpoints it is just a list of texts.
	lines := slices.DeleteFunc(slices.Clone(m.lines), func(l []byte) bool { return bytes.Contains(l, []byte(`"kind":"checkpoint"`)) })
	for i := range lines {
		r, err := Decode(lines[i])
		must(t, err)
		if r.Seq = uint64(i + 1); i > 0 {
			r.Previous = Sum(lines[i-1])
		}
		lines[i], err = r.encode()
		must(t, err)
	}
	_, err := Check(bytes.NewReader(join(lines)), keysOf(t, s), CheckOptions{})
	var e *Error
	if !errors.As(err, &e) || e.Rule != RuleUnsigned {
		t.Errorf("%v", err)
	}
}

func TestPartOfALog(t *testing.T) {
	s := newSigner(t)
	lines := written(t, s).lines
	for _, from := range []int{2, 6} { // behind, and with a checkpoint
		rep, err := Check(bytes.NewReader(join(lines[from:])), keysOf(t, s), CheckOptions{Part: true, Kept: []string{checkpointOf(t, lines[11])}})
		must(t, err)
		if rep.First != uint64(from+1) || rep.Last != 15 {
			t.Errorf("%+v", rep)
		}
	}
	if _, err := Check(bytes.NewReader(join(lines[8:])), keysOf(t, s), CheckOptions{Part: true, Kept: []string{checkpointOf(t, lines[6])}}); err == nil {
		t.Error("a checkpoint about what is not there fits")
	}
	edited := slices.Clone(lines[6:])
	edited[1] = bytes.Replace(edited[1], []byte(`"tier":"none"`), []byte(`"tier":"affirming"`), 1)
	if _, err := Check(bytes.NewReader(join(edited)), keysOf(t, s), CheckOptions{Part: true}); err == nil {
		t.Error("an edited part passes")
	}
}

// A checkpoint counts only under the key of a lead or node that had not ended,
// and nothing else that such a key signs is one.
func TestCheckpointKeys(t *testing.T) {
	s := newSigner(t)
	lines := written(t, s).lines
	token := checkpointOf(t, lines[6])
	for name, x := range map[string]struct {
		key trust.Key
		ok  bool
	}{
		"lead":     {s.Key("x", nil, trust.RoleLead), true},
		"node":     {s.Key("x", nil, trust.RoleNode), true},
		"verifier": {s.Key("x", []string{"cpu"}, trust.RoleVerifier), false},
		"attester": {s.Key("x", nil, trust.RoleAttester), false},
		"ended":    {func() trust.Key { k := s.Key("x", nil, trust.RoleLead); k.NotAfter = time.Unix(1, 0); return k }(), false},
		"ends later": {func() trust.Key {
			k := s.Key("x", nil, trust.RoleLead)
			k.NotAfter = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
			return k
		}(), true},
	} {
		keys, err := trust.NewAnchors(x.key)
		must(t, err)
		if _, err := Check(bytes.NewReader(join(lines)), keys, CheckOptions{}); (err == nil) != x.ok {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := ReadCheckpoint([]byte(token), keys); (err == nil) != x.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Check(bytes.NewReader(join(lines)), nil, CheckOptions{}); err == nil {
		t.Error("a log is believed without any key")
	}
	var c Checkpoint
	cp, _, err := ReadCheckpoint([]byte(token), keysOf(t, s))
	must(t, err)
	for name, change := range map[string]func(*Checkpoint) any{
		"purpose": func(c *Checkpoint) any { c.Purpose = "another"; return c },
		"log":     func(c *Checkpoint) any { c.Log = "x"; return c },
		"seq":     func(c *Checkpoint) any { c.Seq = 0; return c },
		"head":    func(c *Checkpoint) any { c.Head = "x"; return c },
		"time":    func(c *Checkpoint) any { c.Time = "2026-03-01"; return c },
		"more": func(c *Checkpoint) any {
			return struct {
				*Checkpoint
				More int `json:"more"`
			}{c, 1}
		},
	} {
		c = cp
		raw, err := json.Marshal(change(&c))
		must(t, err)
		forged, err := s.SignJWT(raw)
		must(t, err)
		if _, _, err := ReadCheckpoint(forged, keysOf(t, s)); err == nil {
			t.Errorf("%s: it is a checkpoint", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, l := range written(f, newSigner(f)).lines {
		f.Add(l)
	}
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.Equal(raw, again) {
			t.Fatalf("%q is read and written as %q, %v", raw, again, err)
		}
	})
}

func FuzzCheck(f *testing.F) {
	s := newSigner(f)
	m := written(f, s)
	f.Add(m.text())
	f.Add(join(m.lines[:3]))
	keys := keysOf(f, s)
	whole := m.text()
	f.Fuzz(func(t *testing.T, raw []byte) {
		// Whoever lacks the key can at most cut off the end.
		if _, err := Check(bytes.NewReader(raw), keys, CheckOptions{}); err == nil && !bytes.HasPrefix(whole, raw) {
			rep, _ := Check(bytes.NewReader(raw), keys, CheckOptions{})
			lines := bytes.SplitAfter(raw, []byte("\n"))
			covered := bytes.Join(lines[:rep.Covered], nil)
			if !bytes.HasPrefix(whole, covered) {
				t.Fatalf("a forged log passes: %q", raw)
			}
		}
	})
}
