// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go/micro"
)

func directoryOn(t testing.TB, b *Bus) *Directory {
	t.Helper()
	d, err := b.Directory(DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	return d
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func TestDirectorySeesStartAndStop(t *testing.T) {
	s := newServer(t, embed.Options{})
	d := directoryOn(t, newBusOn(t, s))
	if err := d.Refresh(t.Context()); err != nil || len(d.Instances()) != 0 {
		t.Fatalf("empty fabric: %v, %v", d.Instances(), err)
	}
	verifier := newBusOn(t, s, at("lab"))
	svc := serviceOn(t, verifier, says("good"))
	eventually(t, "the event brings the instance", func() bool { return len(d.Instances()) == 1 })
	want := Instance{
		Scheme: testScheme, ID: svc.ID(), Version: "1.2.3", Name: "att-" + testScheme, Site: "lab", Vendor: "https://example.com",
		Developer: "https://example.com", Build: "b1", KID: "kid-1", Accepts: []string{leafType.String()},
		MaxBytes: 1 << 20, NonceSize: 32, Budget: DefaultBudget,
	}
	if got := d.Instances()[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := svc.Stop(within(t, time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event removes the instance", func() bool { return len(d.Instances()) == 0 })
	if err := d.Refresh(t.Context()); err != nil || len(d.Instances()) != 0 {
		t.Errorf("after stop: %v, %v", d.Instances(), err)
	}
}

func TestDirectoryIgnoresOthers(t *testing.T) {
	s := newServer(t, embed.Options{})
	b := newBusOn(t, s)
	for _, c := range []micro.Config{
		{Name: "weather", Version: "1.0.0"},
		{Name: "att-future", Version: "1.0.0", Metadata: map[string]string{metaWire: "2"}},
		{Name: "att-UPPER", Version: "1.0.0", Metadata: map[string]string{metaWire: "1"}},
		{Name: "att-nothing", Version: "1.0.0", Metadata: map[string]string{metaWire: "1"}},
	} {
		svc, err := micro.AddService(b.services, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = svc.Stop() })
	}
	if err := b.services.Flush(); err != nil {
		t.Fatal(err)
	}
	d := directoryOn(t, newBusOn(t, s))
	if err := d.Refresh(t.Context()); err != nil || len(d.Instances()) != 0 {
		t.Errorf("%v, %v", d.Instances(), err)
	}
}

func TestForgedDrainHidesNobodyForLong(t *testing.T) {
	s := newServer(t, embed.Options{})
	svc := serviceOn(t, newBusOn(t, s), says("good"))
	d := directoryOn(t, newBusOn(t, s))
	eventually(t, "instance known", func() bool { return len(d.Instances()) == 1 })
	newBusOn(t, s).publish(Event{Kind: EventDrain, Scheme: testScheme, Instance: svc.ID()})
	eventually(t, "instance hidden", func() bool { return len(d.Instances()) == 0 })
	d.mu.Lock()
	d.gone[svc.ID()] = time.Now().Add(-goneFor)
	d.mu.Unlock()
	if err := d.Refresh(t.Context()); err != nil || len(d.Instances()) != 1 {
		t.Errorf("%v, %v", d.Instances(), err)
	}
}

func TestDirectoryKeepsListWithoutFabric(t *testing.T) {
	s, err := embed.Start(embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	serviceOn(t, newBusOn(t, s), says("good"))
	d := directoryOn(t, newBusOn(t, s))
	eventually(t, "instance known", func() bool { return len(d.Instances()) == 1 })
	d.Stop() // a refresh of its own, while the server closes one client after another, may truly find nobody
	shutdown(t, s)
	if err := d.Refresh(t.Context()); err == nil {
		t.Error("a refresh without a server succeeded")
	}
	if len(d.Instances()) != 1 {
		t.Error("the list was lost")
	}
}

func TestCandidates(t *testing.T) {
	trusted := func(kid, scheme string) bool { return kid == "good" && scheme == testScheme }
	type inst struct{ site, kid string }
	for name, tc := range map[string]struct {
		have []inst
		want []string
	}{
		"nothing known":      {nil, []string{"any"}},
		"all trusted":        {[]inst{{"b", "good"}, {"a", "good"}}, []string{"any", "a", "b"}},
		"own site first":     {[]inst{{"a", "good"}, {"home", "good"}}, []string{"any", "home", "a"}},
		"all without a site": {[]inst{{"any", "good"}, {"any", "good"}}, []string{"any"}},
		"one is not":         {[]inst{{"a", "bad"}, {"b", "good"}}, []string{"b"}},
		"mixed site last":    {[]inst{{"a", "bad"}, {"a", "good"}, {"b", "good"}}, []string{"b", "a"}},
		"only at any":        {[]inst{{"a", "bad"}, {"any", "good"}}, []string{"any"}},
		"none is":            {[]inst{{"a", "bad"}, {"any", "bad"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Directory{bus: &Bus{cfg: Config{Site: "home"}}, instances: map[string]Instance{
				"x": {ID: "x", Scheme: "another", Site: "c", KID: "good"},
			}}
			for i, in := range tc.have {
				id := string(rune('0' + i))
				d.instances[id] = Instance{ID: id, Scheme: testScheme, Site: in.site, KID: in.kid}
			}
			for range 8 { // deterministic
				var got []string
				for _, c := range d.Candidates(testScheme, trusted) {
					got = append(got, c.Site)
					if c.Why == "" {
						t.Error("a candidate without a reason")
					}
				}
				if !reflect.DeepEqual(got, tc.want) {
					t.Fatalf("got %v, want %v", got, tc.want)
				}
			}
		})
	}
}

func TestParseInfoLimits(t *testing.T) {
	good := func() micro.Info {
		return micro.Info{
			ServiceIdentity: micro.ServiceIdentity{Name: "att-x", ID: "i", Version: "1.0.0", Metadata: map[string]string{metaWire: "1"}},
			Endpoints:       []micro.EndpointInfo{{Name: endpointAppraise, Metadata: map[string]string{}}},
		}
	}
	for name, tc := range map[string]struct {
		change func(*micro.Info)
		want   error
	}{
		"good":            {func(*micro.Info) {}, nil},
		"other name":      {func(i *micro.Info) { i.Name = "x" }, errForeignInfo},
		"other wire":      {func(i *micro.Info) { i.Metadata[metaWire] = "2" }, errForeignInfo},
		"bad slug":        {func(i *micro.Info) { i.Name = "att-X" }, errInfo},
		"bad site":        {func(i *micro.Info) { i.Metadata[metaSite] = "a.*" }, errInfo},
		"no id":           {func(i *micro.Info) { i.ID = "" }, errInfo},
		"long kid":        {func(i *micro.Info) { i.Metadata[metaKID] = string(make([]byte, maxMetaValue+1)) }, errInfo},
		"no endpoint":     {func(i *micro.Info) { i.Endpoints = nil }, errInfo},
		"bad accepts":     {func(i *micro.Info) { i.Endpoints[0].Metadata[metaAccepts] = "a/b" }, errInfo},
		"negative bytes":  {func(i *micro.Info) { i.Endpoints[0].Metadata[metaMaxBytes] = "-1" }, errInfo},
		"too many bytes":  {func(i *micro.Info) { i.Endpoints[0].Metadata[metaMaxBytes] = "99999999999" }, errInfo},
		"budget not sane": {func(i *micro.Info) { i.Endpoints[0].Metadata[metaBudget] = "0" }, errInfo},
	} {
		info := good()
		tc.change(&info)
		raw, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseInfo(raw); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestServeChecksItsScheme(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	for name, sc := range map[string]verifiers.Scheme{
		"slug":    {Name: "Not.A.Slug", Version: "1.0.0", Accepts: []evidence.MediaType{leafType}},
		"version": {Name: "test", Version: "1.0", Accepts: []evidence.MediaType{leafType}},
	} {
		if _, err := b.Serve(says("x"), ServiceOptions{Scheme: sc}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
