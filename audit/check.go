// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/assize/assize/trust"
)

// Rules that a log can break, see Error.Rule.
const (
	// RuleForm: a line is not a record in its one form.
	RuleForm = "form"
	// RuleTorn: the last line has no end.
	RuleTorn = "torn"
	// RuleBegin: the log does not begin with its first record.
	RuleBegin = "begin"
	// RuleLog: a record belongs to another log.
	RuleLog = "log"
	// RuleSequence: a record is missing, or stands where it does not belong.
	RuleSequence = "sequence"
	// RuleChain: the record before is not the one that it was written behind.
	RuleChain = "chain"
	// RuleTime: a record is older than the one before it.
	RuleTime = "time"
	// RuleSignature: a checkpoint is not signed by a key that may sign it.
	RuleSignature = "signature"
	// RuleCheckpoint: a checkpoint is not about the record before it.
	RuleCheckpoint = "checkpoint"
	// RuleUnsigned: too many records in a row, or all of them, without one.
	RuleUnsigned = "unsigned"
	// RuleKept: a checkpoint that was kept elsewhere does not fit the log.
	RuleKept = "kept"
	// RuleEmpty: there is no record.
	RuleEmpty = "empty"
)

// Error is the first thing that is wrong with a log.
type Error struct {
	// Line counts from 1, 0 where it is about the log as a whole. Seq is the
	// number that the record there has, 0 if it has none.
	Line int
	Seq  uint64
	// Rule is one of the Rule constants.
	Rule   string
	Detail string
}

// Error names line, record, rule and what was found.
func (e *Error) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("line %d: ", e.Line)
	}
	if e.Seq > 0 {
		where += fmt.Sprintf("record %d: ", e.Seq)
	}
	return "audit: " + where + e.Rule + ": " + e.Detail
}

// Report is what Check found, up to the first error.
type Report struct {
	// Log is the id of the log, First and Last are the numbers of its first and
	// last record in what was read, From and To their times.
	Log         string    `json:"log"`
	First, Last uint64    `json:"-"`
	From, To    time.Time `json:"-"`
	// Records is how many there are, Kinds how many of each kind.
	Records int          `json:"records"`
	Kinds   map[Kind]int `json:"kinds"`
	// Head is the digest of the last record.
	Head Digest `json:"head_sha256"`
	// Checkpoints is how many were verified. Covered is the last record that one
	// of them signs for, Open how many records come after that, without counting
	// the checkpoint itself: these can be changed or cut off unseen.
	Checkpoints int    `json:"checkpoints"`
	Covered     uint64 `json:"covered"`
	Open        int    `json:"open"`
	// Newest is the last checkpoint, worth keeping in another place.
	Newest string `json:"checkpoint,omitempty"`
	// Signers are the ids of the keys of the checkpoints, in order of appearance.
	Signers []string `json:"signers"`
	// Closed says that the log was ended in order.
	Closed bool `json:"closed"`
	// Torn is how many bytes of unfinished records were cut off in its life.
	Torn int `json:"torn_bytes"`
}

// CheckOptions change what Check wants.
type CheckOptions struct {
	// Kept are checkpoints that were kept elsewhere: the log has to have what
	// they sign. Only so a log that was cut off, or that was put back to an older
	// state, shows.
	Kept []string
	// Part allows the log to begin with any record, for one whose oldest records
	// were let go. Of what comes before nothing is known then.
	Part bool
}

// Check reads a log and verifies form, order, chain, times and checkpoints. keys
// are those of the leads and nodes that may have written it. The error is an
// *Error for the first record that cannot be right, or that of the reader.
func Check(r io.Reader, keys *trust.Anchors, o CheckOptions) (Report, error) {
	c := checker{keys: known(keys), part: o.Part, kept: map[uint64][]Checkpoint{}, report: Report{Kinds: map[Kind]int{}, Signers: []string{}}}
	for i, token := range o.Kept {
		cp, _, err := c.keys.read([]byte(token))
		if err != nil {
			return c.report, fmt.Errorf("audit: kept checkpoint %d: %w", i+1, err)
		}
		c.kept[cp.Seq] = append(c.kept[cp.Seq], cp)
	}
	for line, err := range Lines(r) {
		if err != nil {
			return c.report, err
		}
		if err := c.record(line); err != nil {
			return c.report, err
		}
	}
	return c.report, c.end()
}

// Line is one record as it stands in a log.
type Line struct {
	Number int
	// Raw is the record without line feed, valid until the next line.
	Raw    []byte
	Record *Record
}

// Lines reads records line by line. It ends with the first error: an *Error for
// what is no record, or that of the reader.
func Lines(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		in := bufio.NewReaderSize(r, MaxRecord+1)
		for n := 1; ; n++ {
			raw, err := in.ReadSlice('\n')
			switch {
			case err == io.EOF && len(raw) == 0:
				return
			case err == io.EOF:
				yield(Line{}, &Error{Line: n, Rule: RuleTorn, Detail: fmt.Sprintf("%d bytes of a record that was not finished, or was cut off", len(raw))})
				return
			case errors.Is(err, bufio.ErrBufferFull):
				yield(Line{}, &Error{Line: n, Rule: RuleForm, Detail: ErrTooLarge.Error()})
				return
			case err != nil:
				yield(Line{}, fmt.Errorf("audit: line %d: %w", n, err))
				return
			}
			raw = raw[:len(raw)-1]
			rec, err := Decode(raw)
			if err != nil {
				yield(Line{}, &Error{Line: n, Rule: RuleForm, Detail: err.Error()})
				return
			}
			if !yield(Line{n, raw, rec}, nil) {
				return
			}
		}
	}
}

// checker is the state of one Check.
type checker struct {
	keys   keyring
	part   bool
	kept   map[uint64][]Checkpoint
	report Report
	// unsigned is how many records there were since the last checkpoint.
	unsigned int
}

func (c *checker) record(l Line) error {
	r, rep := l.Record, &c.report
	bad := func(rule, format string, args ...any) error {
		return &Error{Line: l.Number, Seq: r.Seq, Rule: rule, Detail: fmt.Sprintf(format, args...)}
	}
	at, err := r.At()
	if err != nil {
		return bad(RuleForm, "%v", err)
	}
	if rule, why := c.follows(r, at); rule != "" {
		return bad(rule, "%s", why)
	}
	if r.Kind == KindCheckpoint {
		if rule, why := c.checkpoint(r); rule != "" {
			return bad(rule, "%s", why)
		}
		c.unsigned, rep.Newest, rep.Covered = 0, r.Checkpoint, r.Seq-1
		rep.Checkpoints++
	} else if c.unsigned++; c.unsigned > MaxOpen {
		return bad(RuleUnsigned, "the last %d records have no checkpoint", c.unsigned)
	}
	head := Sum(l.Raw)
	for _, k := range c.kept[r.Seq] {
		if k.Log != r.Log || k.Head != head {
			return bad(RuleKept, "a checkpoint that was kept says that this record of log %s was %s, it is %s", k.Log, k.Head, head)
		}
	}
	delete(c.kept, r.Seq)
	if rep.Records == 0 {
		rep.Log, rep.First, rep.From = r.Log, r.Seq, at
	}
	rep.Records++
	rep.Kinds[r.Kind]++
	rep.Last, rep.To, rep.Head, rep.Open = r.Seq, at, head, c.unsigned
	rep.Closed = r.Kind == KindStopped || rep.Closed && r.Kind == KindCheckpoint
	rep.Torn += r.Torn
	return nil
}

// follows says which rule a record breaks behind those before it.
func (c *checker) follows(r *Record, at time.Time) (rule, why string) {
	rep := &c.report
	if rep.Records == 0 {
		if r.Seq != 1 && !c.part {
			return RuleBegin, fmt.Sprintf("the log begins with record %d, what was before is missing", r.Seq)
		}
		return "", ""
	}
	switch {
	case r.Log != rep.Log:
		return RuleLog, fmt.Sprintf("it belongs to log %s, this is %s", r.Log, rep.Log)
	case r.Seq == rep.Last:
		return RuleSequence, fmt.Sprintf("there are two records %d", r.Seq)
	case r.Seq < rep.Last:
		return RuleSequence, fmt.Sprintf("it stands behind record %d: records were swapped, or an older part of the log stands here again", rep.Last)
	case r.Seq > rep.Last+1:
		return RuleSequence, fmt.Sprintf("it stands behind record %d: what was between them is missing, or stands elsewhere", rep.Last)
	case r.Previous != rep.Head:
		return RuleChain, fmt.Sprintf("it was written behind a record %d with the digest %s, the one here has %s: that record was changed, or this one was not written here", rep.Last, r.Previous, rep.Head)
	case at.Before(rep.To):
		return RuleTime, fmt.Sprintf("its time %s is before that of the record before it", r.Time)
	}
	return "", ""
}

// checkpoint says which rule a checkpoint breaks. In a part of a log that
// begins with a checkpoint the record before it is not there to compare.
func (c *checker) checkpoint(r *Record) (rule, why string) {
	cp, kid, err := c.keys.read([]byte(r.Checkpoint))
	switch {
	case errors.Is(err, trust.ErrUnknownKey):
		return RuleSignature, "the checkpoint is signed by a key that is not among those of a lead or node that were given: " + err.Error()
	case err != nil:
		return RuleSignature, "the checkpoint is not signed as it should be: " + err.Error()
	case kid != r.KID:
		return RuleSignature, fmt.Sprintf("the checkpoint is signed by %s, the record is one of %s", kid, r.KID)
	case cp.Log != r.Log || cp.Seq != r.Seq-1:
		return RuleCheckpoint, fmt.Sprintf("the checkpoint is about record %d of log %s", cp.Seq, cp.Log)
	case cp.Head != r.Previous:
		return RuleCheckpoint, fmt.Sprintf("the checkpoint signs for a record %d with the digest %s, the one here has %s: the log was written anew", cp.Seq, cp.Head, r.Previous)
	case cp.Time != r.Time || cp.Node != r.Node:
		return RuleCheckpoint, "the checkpoint is of another time or node than its record"
	}
	if !slices.Contains(c.report.Signers, kid) {
		c.report.Signers = append(c.report.Signers, kid)
	}
	return "", ""
}

// end checks what only shows when all has been read.
func (c *checker) end() error {
	rep := &c.report
	if rep.Records == 0 {
		return &Error{Rule: RuleEmpty, Detail: "there is no record"}
	}
	for _, kept := range c.kept {
		for _, k := range kept {
			if k.Log != rep.Log {
				return &Error{Rule: RuleKept, Detail: fmt.Sprintf("a checkpoint that was kept is about log %s, this is %s", k.Log, rep.Log)}
			}
			if k.Seq < rep.First {
				return &Error{Rule: RuleKept, Detail: fmt.Sprintf("a checkpoint that was kept signs for record %d, which is not in this part of the log", k.Seq)}
			}
			if k.Seq > rep.Last {
				return &Error{Seq: rep.Last, Rule: RuleKept, Detail: fmt.Sprintf("the log ends here, but a checkpoint that was kept signs for record %d: the end was cut off, or an older state was put back", k.Seq)}
			}
		}
	}
	if rep.Checkpoints == 0 {
		return &Error{Rule: RuleUnsigned, Detail: "there is no checkpoint, so nobody has signed for any of it"}
	}
	return nil
}
