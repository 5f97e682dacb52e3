// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/verdict"
)

// Bounds of a path policy.
const (
	// MaxPathRules is the number of rules of one policy.
	MaxPathRules = 256
	// MaxPathNodes is the number of nodes of one rule, and of one path: those
	// that an envelope may have passed (decision D-43), the one that gets it, and
	// a site that it asks.
	MaxPathNodes = 10
)

// Wildcards of a path rule.
const (
	anyNode  = "*"  // exactly one node, also one without a name
	anyNodes = "**" // any number of nodes, also none; only at the end
)

// Paths is a policy of allowed paths (draft-ietf-rats-multi-verifier, "strict
// policies of allowed paths"): which nodes may pass which components to whom. A
// path is the names of the nodes from the entry to the one that answers for the
// component and, where that one asks the verifier of another site, that site. A
// nil *Paths allows every path; one without rules allows none.
type Paths struct {
	rules []PathRule
}

// PathRule allows some paths for some components.
type PathRule struct {
	// Pattern names the components as in an expression; "" for every one.
	Pattern string
	// Nodes are names, "*" for any one node and, at the end only, "**" for any
	// number of further ones.
	Nodes []string
	// Max is the largest number of nodes on the path, the entry and a site
	// counted; 0 for no other limit than that of envelopes.
	Max int
}

// ParsePaths reads a policy: rules, separated by semicolons or line ends, of the
// form
//
//	rule  = [ pattern ":" ] node { ">" node } [ "max" count ]
//	node  = name | "*" | "**"
//
// where pattern is a label pattern as in an expression (in double quotes where it
// contains white space or one of ( ) , : @ "), "*" stands for one node and "**",
// which ends a rule, for any number. What stands behind "#" is a comment. A path is allowed if
// one rule for its component matches all of it, so "entry > vendor-a" does not
// allow to go on to another node, and "entry > vendor-a > *" does not allow to
// stop at vendor-a. Errors are *ParseError. A text without a rule is an error: it
// would allow nothing.
func ParsePaths(text string) (*Paths, error) {
	if len(text) > MaxText {
		return nil, &ParseError{MaxText, "the path policy is too long"}
	}
	out := &Paths{}
	p := &parser{text: text}
	for {
		p.blank()
		if p.pos >= len(p.text) {
			break
		}
		if len(out.rules) == MaxPathRules {
			return nil, p.fail(p.pos, "more than %d rules", MaxPathRules)
		}
		r, err := p.pathRule()
		if err != nil {
			return nil, err
		}
		out.rules = append(out.rules, r)
	}
	if len(out.rules) == 0 {
		return nil, p.fail(p.pos, "no rule, so no path would be allowed")
	}
	return out, nil
}

// blank skips white space, comments and the ends of rules.
func (p *parser) blank() {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case strings.IndexByte(" \t\r\n;", c) >= 0:
			p.pos++
		case c == '#':
			if i := strings.IndexByte(p.text[p.pos:], '\n'); i >= 0 {
				p.pos += i
				continue
			}
			p.pos = len(p.text)
		default:
			return
		}
	}
}

// inline skips white space within a rule, which ends with its line.
func (p *parser) inline() {
	for p.pos < len(p.text) && strings.IndexByte(" \t", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// ends reports whether the rule ends here.
func (p *parser) ends() bool {
	p.inline()
	return p.pos >= len(p.text) || strings.IndexByte(";\r\n#", p.text[p.pos]) >= 0
}

func (p *parser) pathRule() (PathRule, error) {
	r := PathRule{}
	start := p.pos
	if word, _, err := p.word(); err == nil && p.pos < len(p.text) && p.colon() {
		if _, err := p.label(word, start); err != nil {
			return r, err
		}
		r.Pattern = word
	} else {
		p.pos = start
	}
	for {
		node, err := p.pathNode()
		if err != nil {
			return r, err
		}
		if n := len(r.Nodes); n > 0 && r.Nodes[n-1] == anyNodes {
			return r, p.fail(start, `"**" ends a rule, nothing can stand behind it`)
		}
		if node != anyNode && node != anyNodes && slices.Contains(r.Nodes, node) {
			return r, p.fail(start, "no path comes back to %s", node)
		}
		if r.Nodes = append(r.Nodes, node); len(r.Nodes) > MaxPathNodes {
			return r, p.fail(start, "more than %d nodes", MaxPathNodes)
		}
		if p.inline(); p.pos < len(p.text) && p.text[p.pos] == '>' {
			p.pos++
			continue
		}
		break
	}
	if err := p.pathMax(&r); err != nil {
		return r, err
	}
	if !p.ends() {
		return r, p.fail(p.pos, "expected '>', \"max\" or the end of the rule")
	}
	return r, nil
}

// colon consumes the end of a label pattern.
func (p *parser) colon() bool {
	p.inline()
	if p.pos < len(p.text) && p.text[p.pos] == ':' {
		p.pos++
		return true
	}
	return false
}

func (p *parser) pathNode() (string, error) {
	p.inline()
	start := p.pos
	for p.pos < len(p.text) && (p.text[p.pos] == '*' || nodeName.MatchString(p.text[p.pos:p.pos+1])) {
		p.pos++
	}
	name := p.text[start:p.pos]
	if name != anyNode && name != anyNodes && !nodeName.MatchString(name) {
		return "", p.fail(start, "expected the name of a node ([a-z0-9-]{1,32}), \"*\" or \"**\"")
	}
	return name, nil
}

// pathMax reads "max N" at the end of a rule.
func (p *parser) pathMax(r *PathRule) error {
	p.inline()
	rest, ok := strings.CutPrefix(p.text[p.pos:], "max")
	if !ok {
		return nil
	}
	at := p.pos
	p.pos = len(p.text) - len(rest)
	p.inline()
	start := p.pos
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
		p.pos++
	}
	count := p.text[start:p.pos]
	n, err := strconv.Atoi(count)
	least := len(r.Nodes)
	if r.Nodes[least-1] == anyNodes {
		least--
	}
	if err != nil || strconv.Itoa(n) != count || n < max(1, least) || n > MaxPathNodes {
		return p.fail(at, "max wants a count of %d to %d here", max(1, least), MaxPathNodes)
	}
	r.Max = n
	return nil
}

// String renders the policy, one rule a line. ParsePaths gives an equal one.
func (p *Paths) String() string {
	var lines []string
	for _, r := range p.Rules() {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// String renders the rule in the form of ParsePaths.
func (r PathRule) String() string {
	out := strings.Join(r.Nodes, " > ")
	if r.Pattern != "" {
		pattern := quoteIfNeeded(r.Pattern)
		if strings.HasPrefix(pattern, "#") || strings.ContainsAny(pattern, ";") { // a comment, or the end of a rule
			pattern = strconv.Quote(r.Pattern)
		}
		out = pattern + ": " + out
	}
	if r.Max > 0 {
		out += " max " + strconv.Itoa(r.Max)
	}
	return out
}

// Rules lists the rules in their order.
func (p *Paths) Rules() []PathRule {
	if p == nil {
		return nil
	}
	return slices.Clone(p.rules)
}

// Allows reports whether a component may take a path, which names every node
// from the entry on. The empty name, of an entry that has none, is matched by
// wildcards only.
func (p *Paths) Allows(label string, path []string) bool {
	if p == nil {
		return true
	}
	return slices.ContainsFunc(p.rules, func(r PathRule) bool {
		return (r.Pattern == "" || Match(r.Pattern, label)) && r.matches(path)
	})
}

func (r PathRule) matches(path []string) bool {
	want := r.Nodes
	open := len(want) > 0 && want[len(want)-1] == anyNodes
	if open {
		want = want[:len(want)-1]
	}
	if len(path) < len(want) || !open && len(path) > len(want) || r.Max > 0 && len(path) > r.Max || len(path) > MaxPathNodes {
		return false
	}
	for i, w := range want {
		if w != anyNode && w != path[i] {
			return false
		}
	}
	return len(path) > 0
}

// PathText shows a path to people: "entry > vendor-a".
func PathText(path []string) string {
	out := slices.Clone(path)
	for i, name := range out {
		if name == "" {
			out[i] = "(no name)"
		}
	}
	return strings.Join(out, " > ")
}

// Routes are the paths that a step sends its component on, behind the nodes that
// it has passed already: one, or one for each of several redundant verifiers. A
// verifier that this node asks anywhere is its own.
func (st Step) Routes(passed []string) [][]string {
	way := append(slices.Clone(passed), st.Path...)
	sites := []string{st.Site}
	if st.Relay == 0 {
		sites[0] = st.Node
	}
	if st.Sources != nil {
		sites = nil
		for _, src := range st.Sources {
			sites = append(sites, src.Node)
		}
	}
	out := make([][]string, 0, len(sites))
	for _, site := range sites {
		if site == "" || len(way) > 0 && site == way[len(way)-1] {
			out = append(out, way)
			continue
		}
		out = append(out, append(slices.Clone(way), site))
	}
	return out
}

// deviations keeps steps from taking a path that the policy does not allow: the
// component stays in the plan, and is sent nowhere.
func (s *scope) deviations() {
	if s.in.Paths == nil {
		return
	}
	for i := range s.steps {
		st := &s.steps[i]
		if st.Reason != nil {
			continue
		}
		for _, path := range st.Routes(s.in.Passed) {
			if len(path) > 1 && !s.in.Paths.Allows(string(st.Label), path) {
				st.Reason = &verdict.Reason{Code: verdict.ReasonPathDeviation,
					Detail: fmt.Sprintf("policy does not allow the path %s", PathText(path))}
				st.Candidates, st.Sources = nil, nil
				break
			}
		}
	}
}
