// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	client "github.com/assize/assize/endorsements/coserv"
	"github.com/assize/assize/trust"
)

type coservFlags struct {
	url, profile, artifacts, result string
	classID, vendor, model          string
	layer, index                    int64
	instance, group                 string
	rims, keys                      []string
	trust, out                      string
	asJSON                          bool
	timeout                         time.Duration
}

// maxCoservTime is the longest time that a query may take.
const maxCoservTime = 10 * time.Minute

func newCorimQuery() *cobra.Command {
	f := &coservFlags{}
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Ask a CoSERV service for reference values, endorsements and trust anchors",
		Long: `Query asks a service for what is known about environments (draft-ietf-rats-coserv),
by exactly one of a class (--class-id, --vendor, --model, --layer, --index), an
instance, a group, or identifiers of documents (--rim, repeatable).

The result has to be signed with a lead's key in one of the JWK sets of --keys;
the keys that a service publishes about itself are not used. With --trust, the
documents in it have to be signed by those authorities as well. With -o they are
written as they were received, one file each, for assize corim add, which checks
them in any case.

Values are TYPE:VALUE with type oid, uuid, text, or, in hexadecimal digits, bytes
or ueid. Without --profile the query is for documents that have none.
Exit status is 0, or 1 when there is no valid result or a document is not believed.`,
		Example: `  assize corim query --url https://endorsements.example --keys jwks.json --vendor ACME --model NIC
  assize corim query --url https://endorsements.example --keys jwks.json \
      --class-id oid:1.3.6.1.4.1.3704.3.1 --profile tag:amd.com,2025:snp-corim-profile \
      --type reference-values --trust authorities.json -o fetched
  assize corim query --url http://127.0.0.1:8080 --keys jwks.json --rim corim:release-7 --json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "url", "profile", "type", "result", "class-id", "vendor", "model", "instance", "group", "rim", "keys", "trust", "out"); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.url, "url", "", "URL of the service, without path")
	fl.StringArrayVar(&f.keys, "keys", nil, "JWK set with the lead's key of the service (repeatable)")
	fl.StringVar(&f.profile, "profile", coserv.PlainProfile, "profile of the documents: a URI or an OID")
	fl.StringVar(&f.artifacts, "type", "reference-values", "reference-values, endorsed-values or trust-anchors")
	fl.StringVar(&f.result, "result", "source-artifacts", "source-artifacts, collected-artifacts or both")
	fl.StringVar(&f.classID, "class-id", "", "identifier of a class, TYPE:VALUE")
	fl.StringVar(&f.vendor, "vendor", "", "vendor of a class")
	fl.StringVar(&f.model, "model", "", "model of a class, with --vendor")
	fl.Int64Var(&f.layer, "layer", -1, "layer of a class")
	fl.Int64Var(&f.index, "index", -1, "index of a class")
	fl.StringVar(&f.instance, "instance", "", "an instance, TYPE:VALUE")
	fl.StringVar(&f.group, "group", "", "a group, TYPE:VALUE")
	fl.StringArrayVar(&f.rims, "rim", nil, "identifier of a document: corim:ID, comid:ID or coswid:ID (repeatable)")
	fl.StringVar(&f.trust, "trust", "", "file of the authorities whose documents are believed")
	fl.StringVarP(&f.out, "out", "o", "", "folder for the documents")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "longest time for the query")
	return cmd
}

func (f *coservFlags) run(cmd *cobra.Command) error {
	q, err := f.query()
	if err != nil {
		return err
	}
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	c, err := client.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	r, err := c.Fetch(ctx, f.profile, q)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := writeSources(f.out, r); err != nil {
			return err
		}
	}
	if err := printCoserv(cmd.OutOrStdout(), describeCoserv(r, f.url), f.asJSON); err != nil {
		return err
	}
	if len(r.Refused) > 0 {
		return fmt.Errorf("%d of the documents are not believed", len(r.Refused))
	}
	return nil
}

// options says whom to believe. What the service has collected is only shown, so
// that it may speak for everything.
func (f *coservFlags) options(cmd *cobra.Command) (client.Options, error) {
	o := client.Options{
		URL: f.url, Client: &http.Client{Timeout: f.timeout}, Now: time.Now,
		Service: corim.Authority{Name: f.url, Profiles: []string{corim.AnyProfile, corim.NoProfile}, Scopes: []corim.Environment{{}}},
	}
	switch {
	case f.url == "":
		return o, usage("corim query wants --url URL")
	case len(f.keys) == 0:
		return o, usage("corim query wants --keys FILE: without the key of the service nothing that it says can be believed")
	case f.timeout <= 0 || f.timeout > maxCoservTime:
		return o, usage("--timeout is %s, want more than 0 and at most %s", f.timeout, maxCoservTime)
	}
	sets, err := readAnchors(cmd, f.keys)
	if err != nil {
		return o, err
	}
	now := time.Now()
	for _, set := range sets {
		for _, k := range set.Keys() {
			if slices.Contains(k.Roles, trust.RoleLead) && (k.NotAfter.IsZero() || !now.After(k.NotAfter)) {
				o.Service.Keys = append(o.Service.Keys, corim.SigningKey{ID: []byte(k.KID), Public: k.Public})
			}
		}
	}
	if len(o.Service.Keys) == 0 {
		return o, errors.New("no lead's key in the JWK sets that is in force")
	}
	o.Trust, err = storeTrust(f.trust)
	return o, err
}

func (f *coservFlags) query() (coserv.Query, error) {
	var q coserv.Query
	class, err := f.class()
	if err != nil {
		return q, err
	}
	selected := 0
	for _, s := range []bool{class != (corim.Class{}), f.instance != "", f.group != "", len(f.rims) > 0} {
		if s {
			selected++
		}
	}
	if selected != 1 {
		return q, usage("corim query wants exactly one of a class, --instance, --group and --rim")
	}
	if len(f.rims) > 0 {
		for _, s := range f.rims {
			rim, err := parseRIM(s)
			if err != nil {
				return q, err
			}
			q.RIMs = append(q.RIMs, rim)
		}
		return q, nil
	}
	var ok bool
	if q.Artifacts, ok = coserv.ParseArtifactType(f.artifacts); !ok {
		return q, usage("--type is %q, want reference-values, endorsed-values or trust-anchors", f.artifacts)
	}
	if q.Results, ok = coserv.ParseResultType(f.result); !ok {
		return q, usage("--result is %q, want source-artifacts, collected-artifacts or both", f.result)
	}
	switch {
	case f.instance != "":
		v, err := parseTyped("instance", f.instance)
		q.Environments.Instances = []coserv.ValueSelector{{Value: v}}
		return q, err
	case f.group != "":
		v, err := parseTyped("group", f.group)
		q.Environments.Groups = []coserv.ValueSelector{{Value: v}}
		return q, err
	}
	q.Environments.Classes = []coserv.ClassSelector{{Class: class}}
	return q, nil
}

func (f *coservFlags) class() (corim.Class, error) {
	c := corim.Class{Vendor: f.vendor, Model: f.model}
	if f.classID != "" {
		var err error
		if c.ID, err = parseTyped("class-id", f.classID); err != nil {
			return c, err
		}
	}
	if f.layer >= 0 {
		c.Layer = corim.Num(uint64(f.layer))
	}
	if f.index >= 0 {
		c.Index = corim.Num(uint64(f.index))
	}
	if c.Model != "" && c.Vendor == "" {
		return c, usage("--model wants --vendor")
	}
	return c, nil
}

// parseTyped reads TYPE:VALUE.
func parseTyped(flag, s string) (corim.Typed, error) {
	kind, value, _ := strings.Cut(s, ":")
	tags := map[string]uint64{"uuid": corim.TagUUID, "ueid": corim.TagUEID, "bytes": corim.TagBytes}
	var out corim.Typed
	switch kind {
	case "oid":
		oid, ok := corim.OID(value)
		if !ok {
			return out, usage("--%s: %q is no OID", flag, value)
		}
		out = oid
	case "text":
		out = corim.TaggedBytes(corim.TagBytes, []byte(value))
	case "uuid", "ueid", "bytes":
		if kind == "uuid" {
			value = strings.ReplaceAll(value, "-", "")
		}
		b, err := hex.DecodeString(value)
		if err != nil {
			return out, usage("--%s: %q is not hexadecimal", flag, value)
		}
		out = corim.TaggedBytes(tags[kind], b)
	default:
		return out, usage("--%s is %q, want TYPE:VALUE with oid, uuid, ueid, bytes or text", flag, s)
	}
	if _, err := corim.EncodeFragment(out); err != nil { // lengths
		return out, usage("--%s: %w", flag, err)
	}
	return out, nil
}

// parseRIM reads KIND:ID. An identifier in the form of a UUID is one.
func parseRIM(s string) (coserv.RIM, error) {
	kinds := map[string]coserv.RIMKind{"comid": coserv.Comid, "coswid": coserv.Coswid, "corim": coserv.Corim}
	kind, id, _ := strings.Cut(s, ":")
	k, ok := kinds[kind]
	if !ok || id == "" {
		return coserv.RIM{}, usage("--rim is %q, want corim:ID, comid:ID or coswid:ID", s)
	}
	out := coserv.RIM{Kind: k, ID: corim.ID{Text: id}}
	if b, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil && len(b) == 16 && strings.Count(id, "-") == 4 {
		uuid := corim.ID{UUID: [16]byte(b)}
		if strings.EqualFold(uuid.String(), id) {
			out.ID = uuid
		}
	}
	return out, nil
}

// writeSources writes the documents of a result as they were received.
func writeSources(dir string, r *client.Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, rec := range sources(r) {
		sum := sha256.Sum256(rec.Value)
		if err := os.WriteFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".corim"), rec.Value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func sources(r *client.Result) []coserv.Record {
	out := slices.Clone(r.Results.Sources)
	for _, n := range r.Results.RIMs {
		out = append(out, n.Record)
	}
	return out
}

type coservStatement struct {
	Kind        string   `json:"kind"`
	Environment string   `json:"environment"`
	Authorities []string `json:"authorities"`
}

type coservDocument struct {
	SHA256    string `json:"sha256"`
	MediaType string `json:"media_type"`
	Document  string `json:"document,omitempty"`
	Authority string `json:"authority,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

type coservResult struct {
	Service    string            `json:"service"`
	KID        string            `json:"kid"`
	Profile    string            `json:"profile"`
	Expiry     time.Time         `json:"expiry"`
	Statements []coservStatement `json:"statements"`
	Documents  []coservDocument  `json:"documents"`
}

func describeCoserv(r *client.Result, service string) coservResult {
	out := coservResult{
		Service: service, KID: string(r.Key.ID), Profile: r.Profile, Expiry: r.Results.Expiry,
		Statements: []coservStatement{}, Documents: []coservDocument{},
	}
	add := func(kind string, e corim.Environment, authorities []corim.Typed) {
		s := coservStatement{Kind: kind, Environment: e.String(), Authorities: []string{}}
		for _, a := range authorities {
			s.Authorities = append(s.Authorities, a.String())
		}
		out.Statements = append(out.Statements, s)
	}
	for _, s := range r.Results.Reference {
		add("reference value", s.Triple.Environment, s.Authorities)
	}
	for _, s := range r.Results.Endorsed {
		add("endorsed value", s.Triple.Environment, s.Authorities)
	}
	for _, s := range r.Results.Conditional {
		add("conditional endorsement", s.Triple.Endorsements[0].Environment, s.Authorities)
	}
	for _, s := range r.Results.AttestKeys {
		add("attestation key", s.Triple.Environment, s.Authorities)
	}
	believed := map[string]*corim.Document{}
	for _, d := range r.Documents {
		believed[hex.EncodeToString(d.Digest[:])] = d
	}
	refused := map[string]error{}
	for _, x := range r.Refused {
		refused[x.Name] = x.Err
	}
	for i, rec := range sources(r) {
		sum := sha256.Sum256(rec.Value)
		doc := coservDocument{SHA256: hex.EncodeToString(sum[:]), MediaType: rec.MediaType}
		name := fmt.Sprint(i)
		if r.Query.ByRIM() {
			name = r.Results.RIMs[i].Name
		}
		if d := believed[doc.SHA256]; d != nil {
			doc.Document, doc.Authority = d.ID.String(), d.Authority.Name
		} else if err := refused[name]; err != nil {
			doc.Reason = err.Error()
		} else {
			doc.Reason = "not checked: no authorities given"
		}
		out.Documents = append(out.Documents, doc)
	}
	return out
}

func printCoserv(w io.Writer, r coservResult, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	fmt.Fprintf(w, "signed by %s, until %s\n", plain(r.KID), r.Expiry.Format(time.RFC3339))
	for _, s := range r.Statements {
		fmt.Fprintf(w, "%s of %s\n", s.Kind, plain(s.Environment))
	}
	for _, d := range r.Documents {
		if d.Reason != "" {
			fmt.Fprintf(w, "document %s: %s\n", d.SHA256, plain(d.Reason))
		} else {
			fmt.Fprintf(w, "document %s: %s by %s\n", d.SHA256, plain(d.Document), plain(d.Authority))
		}
	}
	_, err := fmt.Fprintf(w, "%d statements, %d documents\n", len(r.Statements), len(r.Documents))
	return err
}
