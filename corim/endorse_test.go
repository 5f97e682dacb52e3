// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

func claimed(s string) Measurement { return Measurement{Value: Values{Name: &s}} }

func svn(n uint64) Measurement { return Measurement{Value: Values{SVN: &SVN{Value: n}}} }

func atLeast(n uint64) Measurement {
	return Measurement{Value: Values{SVN: &SVN{Value: n, Minimum: true}}}
}

// granted lists endorsements as "name components".
func granted(list []Endorsement) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprint(*e.Measurement.Value.Name, e.Components))
	}
	return strings.Join(out, " ")
}

func TestEndorse(t *testing.T) {
	cpu, gpu, node := acme("CPU"), acme("GPU"), acme("node")
	series := SeriesTriple{
		Condition: ValueTriple{Environment: gpu},
		Series: []SeriesEntry{
			{[]Measurement{atLeast(3)}, []Measurement{claimed("good")}},
			{[]Measurement{atLeast(2)}, []Measurement{claimed("fair")}},
		},
	}
	cross := ConditionalTriple{
		Conditions:   []ValueTriple{{cpu, []Measurement{atLeast(3)}}, {gpu, []Measurement{atLeast(2)}}},
		Endorsements: []ValueTriple{{node, []Measurement{claimed("node")}}, {gpu, []Measurement{claimed("gpu")}}},
	}
	chain := ConditionalTriple{Conditions: []ValueTriple{{node, []Measurement{claimed("node")}}}, Endorsements: []ValueTriple{{node, []Measurement{claimed("chained")}}}}
	late := SeriesTriple{ // the first entry holds only after cross has been applied
		Condition: ValueTriple{Environment: node},
		Series:    []SeriesEntry{{[]Measurement{claimed("chained")}, []Measurement{claimed("first")}}, {[]Measurement{claimed("node")}, []Measurement{claimed("second")}}},
	}
	two := ConditionalTriple{ // both values have to be of one component
		Conditions:   []ValueTriple{{gpu, []Measurement{svn(3), {Key: NumberKey(1), Value: Values{Name: p("x")}}}}},
		Endorsements: []ValueTriple{{gpu, []Measurement{claimed("both")}}},
	}
	fact := ValueTriple{gpu, []Measurement{claimed("fact")}}
	q := func(e Environment, list ...Measurement) Query {
		return Query{Environments: []Environment{e}, Measurements: list, Time: testTime}
	}
	for _, c := range []struct {
		name  string
		comid Comid
		parts []Query
		want  string
	}{
		{"endorsed value", Comid{Endorsed: []ValueTriple{fact}}, []Query{q(cpu), q(gpu), q(gpu)}, "fact[1 2]"},
		{"no such component", Comid{Endorsed: []ValueTriple{fact}}, []Query{q(cpu)}, ""},
		{"series, first", Comid{Series: []SeriesTriple{series}}, []Query{q(gpu, svn(3))}, "good[0]"},
		{"series, second", Comid{Series: []SeriesTriple{series}}, []Query{q(gpu, svn(2))}, "fair[0]"},
		{"series, none", Comid{Series: []SeriesTriple{series}}, []Query{q(gpu, svn(1))}, ""},
		{"series, each for itself", Comid{Series: []SeriesTriple{series}}, []Query{q(gpu, svn(1)), q(gpu, svn(3)), q(gpu, svn(2))}, "good[1] fair[2]"},
		{"across components", Comid{Conditional: []ConditionalTriple{cross}}, []Query{q(cpu, svn(3)), q(gpu, svn(2))}, "node[] gpu[1]"},
		{"across components, one fails", Comid{Conditional: []ConditionalTriple{cross}}, []Query{q(cpu, svn(2)), q(gpu, svn(2))}, ""},
		{"only who meets the condition", Comid{Conditional: []ConditionalTriple{cross}}, []Query{q(cpu, svn(3)), q(gpu, svn(1)), q(gpu, svn(2))}, "node[] gpu[2]"},
		{"not put together from two", Comid{Conditional: []ConditionalTriple{two}},
			[]Query{q(gpu, svn(3)), q(gpu, Measurement{Key: NumberKey(1), Value: Values{Name: p("x")}})}, ""},
		{"of one", Comid{Conditional: []ConditionalTriple{two}}, []Query{q(gpu, svn(3), Measurement{Key: NumberKey(1), Value: Values{Name: p("x")}})}, "both[0]"},
		{"one leads to another", Comid{Conditional: []ConditionalTriple{chain, cross}}, []Query{q(cpu, svn(3)), q(gpu, svn(2))}, "node[] gpu[1] chained[]"},
		{"series after all else", Comid{Conditional: []ConditionalTriple{chain, cross}, Series: []SeriesTriple{late}}, []Query{q(cpu, svn(3)), q(gpu, svn(2))}, "node[] gpu[1] chained[] first[]"},
	} {
		x, err := NewIndex(loaded(t, module("doc", c.comid)))
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Endorse(c.parts...)
		if got := granted(out); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	x, err := NewIndex()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Endorse(q(cpu), Query{}); err == nil {
		t.Error("two times: accepted")
	}
}

// A long chain of endorsements ends in an error and not in a result that lacks
// some of them.
func TestRunaway(t *testing.T) {
	var m Comid
	env := acme("GPU")
	for i := range 80 {
		m.Conditional = append([]ConditionalTriple{{
			Conditions:   []ValueTriple{{env, []Measurement{claimed(fmt.Sprint(i))}}},
			Endorsements: []ValueTriple{{env, []Measurement{claimed(fmt.Sprint(i + 1))}}},
		}}, m.Conditional...)
	}
	x, err := NewIndex(loaded(t, module("doc", m)))
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Environments: []Environment{env}, Measurements: []Measurement{claimed("0")}, Time: testTime}
	if out, err := x.Endorse(q); !errors.Is(err, ErrRunaway) || out != nil {
		t.Errorf("%d, %v", len(out), err)
	}
}

// Authority of who published reference values counts for conditions, and only
// where the values hold as a whole.
func TestEndorseByAuthority(t *testing.T) {
	gpu, key := acme("GPU"), testKey(1)
	trust, err := NewTrust([]Authority{{Name: "ACME", Keys: []SigningKey{{[]byte("key-1"), key.Public()}}, Profiles: []string{NoProfile}, Scopes: []Environment{gpu}}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	by := TaggedText(TagPKIXKey, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	d, err := Load(signed(t, encoded(t, module("refs", Comid{Reference: []ValueTriple{{gpu, []Measurement{svn(3), digestOf(NumberKey(1), 1)}}}})), key, nil), Options{Trust: trust, Now: testTime})
	if err != nil {
		t.Fatal(err)
	}
	ask := loaded(t, module("ask", Comid{Series: []SeriesTriple{{
		Condition: ValueTriple{gpu, []Measurement{svn(3)}}, AuthorizedBy: []Typed{by},
		Series: []SeriesEntry{{[]Measurement{digestOf(NumberKey(1), 1)}, []Measurement{claimed("good")}}},
	}}}))
	x, err := NewIndex(d, ask)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[byte]string{1: "good[0]", 2: ""} {
		q := Query{Environments: []Environment{gpu}, Measurements: []Measurement{svn(3), digestOf(NumberKey(1), value)}, Time: testTime}
		if out, err := x.Endorse(q); err != nil || granted(out) != want {
			t.Errorf("%d: %q, %v", value, granted(out), err)
		}
	}
	without, err := NewIndex(ask)
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := without.Endorse(Query{Environments: []Environment{gpu}, Measurements: []Measurement{svn(3), digestOf(NumberKey(1), 1)}, Time: testTime}); len(out) != 0 {
		t.Errorf("without the reference values: %q", granted(out))
	}
}

func TestTopology(t *testing.T) {
	cpu, gpu, nic, board, node := acme("CPU"), acme("GPU"), acme("NIC"), acme("board"), acme("node")
	m := Comid{
		Membership: []DomainTriple{{node, []Environment{board, nic}}, {board, []Environment{cpu, gpu}}},
		Dependency: []DomainTriple{{nic, []Environment{gpu}}, {gpu, []Environment{cpu}}},
	}
	x, err := NewIndex(loaded(t, module("doc", m)))
	if err != nil {
		t.Fatal(err)
	}
	top := x.Topology(testTime, []Environment{cpu, gpu, nic})
	if len(top.Domains) != 2 || top.Domains[0].Environment != board || !top.Domains[0].Accepted() || !top.Domains[1].Accepted() || top.Extra != nil {
		t.Errorf("%+v", top)
	}
	if len(top.Dependencies) != 2 || top.Dependencies[0].Subject != gpu || !top.Dependencies[0].Accepted || !top.Dependencies[1].Accepted {
		t.Errorf("%+v", top.Dependencies)
	}
	top = x.Topology(testTime, []Environment{cpu, nic, acme("disk")})
	if top.Domains[0].Accepted() || top.Domains[1].Accepted() || !reflect.DeepEqual(top.Domains[0].Missing, []Environment{gpu}) || !reflect.DeepEqual(top.Domains[1].Missing, []Environment{board}) {
		t.Errorf("without a GPU: %+v", top.Domains)
	}
	if len(top.Extra) != 3 || top.Dependencies[0].Accepted || top.Dependencies[1].Accepted || !reflect.DeepEqual(top.Dependencies[1].Absent, []Environment{gpu}) {
		t.Errorf("without a GPU: %+v", top)
	}
	top = x.Topology(testTime, []Environment{cpu, gpu, nic, acme("disk")})
	if !reflect.DeepEqual(top.Extra, []Environment{acme("disk")}) {
		t.Errorf("extra: %+v", top.Extra)
	}
	if top := x.Topology(testTime, []Environment{node}); top.Domains[0].Accepted() {
		t.Errorf("a domain by its name alone: %+v", top)
	}
}

func TestCyclesAcrossDocuments(t *testing.T) {
	a, b, c := acme("A"), acme("B"), acme("C")
	doc := func(id string, kind Kind, from, to Environment) *Document {
		list := []DomainTriple{{from, []Environment{to}}}
		if kind == Membership {
			return loaded(t, module(id, Comid{Membership: list}))
		}
		return loaded(t, module(id, Comid{Dependency: list}))
	}
	for _, kind := range []Kind{Membership, Dependency} {
		_, err := NewIndex(doc("1", kind, a, b), doc("2", kind, b, c), doc("3", kind, c, a))
		var cycle *CycleError
		if !errors.As(err, &cycle) || cycle.Kind != kind || len(cycle.Path) != 4 {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := NewIndex(doc("1", kind, a, b), doc("2", kind, b, c), doc("3", kind, a, c)); err != nil {
			t.Errorf("%s without a cycle: %v", kind, err)
		}
	}
	// Membership and trust are two graphs.
	if _, err := NewIndex(doc("1", Membership, a, b), doc("2", Dependency, b, a)); err != nil {
		t.Error(err)
	}
}

// The recorded membership is accepted when everything is there.
func TestRecordedMembership(t *testing.T) {
	d, err := Load(wrap(t, vectors.Read(t, "corim/veraison-corim/comid/testcases/comid-domain-mem.cbor")), Options{Unsigned: true, Now: testTime})
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	var all []Environment
	for _, m := range d.Tags[0].Comid.Membership {
		all = append(all, m.Members...)
	}
	for _, dom := range x.Topology(testTime, all).Domains {
		if !dom.Accepted() {
			t.Errorf("%s", dom)
		}
	}
	for _, dom := range x.Topology(testTime, all[:1]).Domains[1:] {
		if dom.Accepted() {
			t.Errorf("%s", dom)
		}
	}
}
