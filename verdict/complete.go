// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/evidence"
)

// Sources of requirements.
const (
	SourceConfiguration = "configuration"
	SourcePolicy        = "policy"
	SourceLeadEvidence  = "lead-evidence"
	SourceRelyingParty  = "relying-party"
)

// Requirement is what has to be there: a set of components, and how many of
// them. It comes from configuration, policy or signed evidence, and never from
// what was submitted.
type Requirement struct {
	// Label is a pattern of label paths (evidence.Match), Scheme the scheme that has
	// to judge the components, "" for any.
	Label  string `json:"label"`
	Scheme string `json:"scheme,omitempty"`
	// Exactly and AtLeast say how many there must be; both nil means at least one.
	Exactly *int `json:"exactly,omitempty"`
	AtLeast *int `json:"at_least,omitempty"`
	// Optional components may be there, and are then expected; their number is not
	// held against anything but Exactly, as an upper bound.
	Optional bool `json:"optional,omitempty"`
	// Source says who demands it.
	Source string `json:"source"`
}

// maxCount bounds the numbers in a requirement.
const maxCount = 256

// Check says what is wrong with a requirement.
func (q Requirement) Check() error {
	switch {
	case q.Label == "":
		return errors.New("a requirement without label")
	case q.Exactly != nil && q.AtLeast != nil:
		return fmt.Errorf("the requirement of %s says both how many exactly and how many at least", q.Label)
	case q.Optional && q.AtLeast != nil:
		return fmt.Errorf("the requirement of %s is optional, and says how many at least", q.Label)
	}
	for _, n := range []*int{q.Exactly, q.AtLeast} {
		if n != nil && (*n < 0 || *n > maxCount) {
			return fmt.Errorf("the requirement of %s has a number outside 0 to %d", q.Label, maxCount)
		}
	}
	if !slices.Contains([]string{SourceConfiguration, SourcePolicy, SourceLeadEvidence, SourceRelyingParty}, q.Source) {
		return fmt.Errorf("the requirement of %s comes from %.40q", q.Label, q.Source)
	}
	return nil
}

// String is the requirement as a sentence has it: "exactly 8 of gpu/* by
// nvidia-gpu (policy)".
func (q Requirement) String() string {
	text := "at least 1 of "
	switch {
	case q.Optional && q.Exactly != nil:
		text = fmt.Sprintf("at most %d of ", *q.Exactly)
	case q.Optional:
		text = "any number of "
	case q.Exactly != nil:
		text = fmt.Sprintf("exactly %d of ", *q.Exactly)
	case q.AtLeast != nil:
		text = fmt.Sprintf("at least %d of ", *q.AtLeast)
	}
	text += q.Label
	if q.Scheme != "" {
		text += " by " + q.Scheme
	}
	return text + " (" + q.Source + ")"
}

// matches: the component is one of those that the requirement is about.
func (q Requirement) matches(c Component) bool {
	return evidence.Match(q.Label, string(c.Label)) && (q.Scheme == "" || q.Scheme == c.Scheme)
}

// counts: the component is there in the sense of the requirement. One that was
// not submitted is not, nor is one that may lack a verdict and does.
func (q Requirement) counts(c Component) bool {
	return q.matches(c) && c.Evidence != [32]byte{} && (c.Required || c.Tier() != TierNone)
}

// Complete holds components against everything that is required: too few cap at
// none, too many and those that no requirement expects at warning. Without
// requirements nothing is missed, and nothing is unexpected.
//
// A requirement only ever lowers, except that one more can make a component
// expected that was not. What evidence demands never makes one expected that
// configuration, policy or relying party do not know.
func Complete(requirements []Requirement, parts []Component) []Cap {
	if len(requirements) == 0 {
		return nil
	}
	var caps []Cap
	for _, q := range requirements {
		caps = append(caps, q.held(parts)...)
	}
	knows := slices.DeleteFunc(slices.Clone(requirements), func(q Requirement) bool { return q.Source == SourceLeadEvidence })
	if len(knows) == 0 {
		knows = requirements
	}
	var extra []string
	for _, c := range parts {
		if !slices.ContainsFunc(knows, func(q Requirement) bool { return q.matches(c) }) {
			extra = append(extra, string(c.Label))
		}
	}
	if extra != nil {
		slices.Sort(extra)
		caps = append(caps, Cap{Tier: TierWarning, Reason: Reason{
			Code: ReasonUnexpected, Detail: "nobody expects " + strings.Join(extra, ", "), Observed: strings.Join(extra, ", "),
		}})
	}
	return caps
}

// held are the caps of one requirement.
func (q Requirement) held(parts []Component) []Cap {
	n := 0
	for _, c := range parts {
		if q.counts(c) {
			n++
		}
	}
	least, most := 1, maxCount
	switch {
	case q.Exactly != nil:
		least, most = *q.Exactly, *q.Exactly
	case q.AtLeast != nil:
		least = *q.AtLeast
	}
	if q.Optional {
		least = 0
	}
	why := func(tier Tier, code string) []Cap {
		return []Cap{{Tier: tier, Reason: Reason{
			Code: code, Detail: fmt.Sprintf("wanted %s, there are %d", q, n), Expected: q.String(), Observed: fmt.Sprint(n), Source: q.Source,
		}}}
	}
	switch {
	case n < least:
		return why(TierNone, ReasonMissingComponent)
	case n > most:
		return why(TierWarning, ReasonUnexpected)
	}
	return nil
}

func (o object) requirements(name string) ([]Requirement, error) {
	list, err := o.objects(name, MaxRequirements)
	var out []Requirement
	for _, m := range list {
		q, err := m.requirement()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, q)
	}
	return out, err
}

func (o object) requirement() (q Requirement, err error) {
	if q.Label, err = o.text("label"); err != nil {
		return q, err
	}
	if q.Scheme, err = o.optionalText("scheme"); err != nil {
		return q, err
	}
	if q.Optional, err = o.optionalBool("optional"); err != nil {
		return q, err
	}
	if q.Source, err = o.text("source"); err != nil {
		return q, err
	}
	for name, to := range map[string]**int{"exactly": &q.Exactly, "at_least": &q.AtLeast} {
		if _, ok := o[name]; !ok {
			continue
		}
		n, err := o.integer(name)
		if err != nil || n < 0 || n > maxCount {
			return q, fmt.Errorf("%s is no number of components", name)
		}
		count := int(n)
		*to = &count
	}
	return q, q.Check()
}

// ParseRequirement reads LABEL[:SCHEME][=N|>=N|?]: a pattern of label paths, the
// scheme that has to judge the components, and how many there must be; without a
// number at least one, with a question mark any number, none included.
func ParseRequirement(text, source string) (Requirement, error) {
	q := Requirement{Source: source}
	rest := text
	count := func(sep string) (*int, error) {
		i := strings.LastIndex(rest, sep)
		if i < 0 {
			return nil, nil
		}
		n, err := strconv.Atoi(rest[i+len(sep):])
		if err != nil || n < 0 || n > maxCount || strconv.Itoa(n) != rest[i+len(sep):] {
			return nil, fmt.Errorf("verdict: requirement %.80q: a number of components is 0 to %d", text, maxCount)
		}
		rest = rest[:i]
		return &n, nil
	}
	var err error
	if r, ok := strings.CutSuffix(rest, "?"); ok {
		q.Optional, rest = true, r
	} else if q.AtLeast, err = count(">="); err == nil && q.AtLeast == nil {
		q.Exactly, err = count("=")
	}
	if err != nil {
		return Requirement{}, err
	}
	if q.Optional && numbered.MatchString(rest) { // or the number would be part of a label that nothing has
		return Requirement{}, fmt.Errorf("verdict: requirement %.80q: a question mark or a number, not both", text)
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		q.Scheme, rest = rest[i+1:], rest[:i]
		if !schemeName.MatchString(q.Scheme) {
			return Requirement{}, fmt.Errorf("verdict: requirement %.80q: %.40q is no name of a scheme", text, q.Scheme)
		}
	}
	q.Label = rest
	if err := q.Check(); err != nil {
		return Requirement{}, fmt.Errorf("verdict: requirement %.80q: %w", text, err)
	}
	return q, nil
}

// numbered is a requirement that ends in a number of components.
var numbered = regexp.MustCompile(`=[0-9]+$`)

// schemeName is the rule for names of schemes.
var schemeName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
