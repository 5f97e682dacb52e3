// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

func newEndorsements(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endorsements",
		Short: "Collateral of vendors: fetch, list and verify it",
		Long: `Endorsements looks after folders of collateral: what appraise reads with --endorsements
and fetches with --online, serve and verifier by the keys endorsements and
endorsements_online of the configuration.`,
		Example: `  assize endorsements fetch machine.cmw -o collateral
  assize endorsements list collateral
  assize endorsements verify collateral --at 2025-07-01T00:00:00Z`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return &exitError{code: exitUsage}
		},
	}
	cmd.AddCommand(newEndorsementsFetch(g), newEndorsementsList(g), newEndorsementsVerify(g))
	return cmd
}

// fetchFlags name collateral without evidence.
type fetchFlags struct {
	dir, mediaType, trust   string
	fmspc, ca, tee          string
	product, chipID, tcbHex string
	rims                    []string
	timeout                 time.Duration
}

func newEndorsementsFetch(g *globals) *cobra.Command {
	f := &fetchFlags{}
	cmd := &cobra.Command{
		Use:   "fetch [EVIDENCE…]",
		Short: "Fetch the collateral for evidence, a platform, a chip or a GPU's firmware",
		Long: `Fetch asks the services of endorsements_online (Intel's, AMD's and NVIDIA's own, unless
it is configured) for the collateral that the components of the evidence need, or for
what the flags name. With a manifest of NVIDIA comes the status of the certificates of
who signed it. Evidence is not appraised. What is there already, and holds, is not
fetched again: to replace it, remove its file. The exit status is 1 if something could
not be had.`,
		Example: `  assize endorsements fetch machine.cmw -o collateral
  assize endorsements fetch --fmspc 50806f000000 --ca platform -o collateral
  assize endorsements fetch --product Milan -o collateral
  assize endorsements fetch --product Genoa --chip-id 8f3c… --tcb 541800000000000a -o collateral
  assize endorsements fetch --rim NV_GPU_DRIVER_GH100_550.144.03 -o collateral`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "output-dir", "media-type", "trust", "fmspc", "ca", "tee", "product", "chip-id", "tcb", "rim"); err != nil {
				return err
			}
			return runFetch(cmd, g, f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.dir, "output-dir", "o", "", "folder for the documents (default: the cache of --online)")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the evidence (default: by content)")
	fl.StringVar(&f.trust, "trust", "", "file of extra roots, for collateral of simulated machines")
	fl.StringVar(&f.fmspc, "fmspc", "", "FMSPC of an Intel platform, 12 hexadecimal digits")
	fl.StringVar(&f.ca, "ca", "platform", "PCK CA of the platform: platform or processor")
	fl.StringVar(&f.tee, "tee", "tdx", "tdx or sgx")
	fl.StringVar(&f.product, "product", "", "AMD product line: Milan, Genoa or Turin; alone, its revocation list")
	fl.StringVar(&f.chipID, "chip-id", "", "chip id, 128 hexadecimal digits, on Turin 16")
	fl.StringVar(&f.tcbHex, "tcb", "", "reported TCB, 16 hexadecimal digits, the microcode first")
	fl.StringSliceVar(&f.rims, "rim", nil, "identifier of a manifest in NVIDIA's RIM service; may be repeated")
	fl.DurationVar(&f.timeout, "timeout", time.Minute, "longest time for all of it")
	return cmd
}

// needs are those of the flags and of the evidence.
func (f *fetchFlags) needs(cmd *cobra.Command, files []string, roots map[string][]*x509.Certificate) ([]endorsements.Need, error) {
	var out []endorsements.Need
	f.fmspc, f.chipID = strings.ToLower(f.fmspc), strings.ToLower(f.chipID) // certificates and tools show both
	if f.fmspc != "" {
		kinds := map[string]endorsements.NeedKind{"tdx": endorsements.NeedIntelTDX, "sgx": endorsements.NeedIntelSGX}
		if kinds[f.tee] == "" {
			return nil, usage("--tee is %q, want tdx or sgx", f.tee)
		}
		out = append(out, endorsements.Need{Kind: kinds[f.tee], FMSPC: f.fmspc, CA: f.ca})
	}
	if (f.chipID == "") != (f.tcbHex == "") || f.chipID != "" && f.product == "" {
		return nil, usage("the certificate of a chip wants --product, --chip-id and --tcb")
	}
	if f.chipID != "" {
		tcb, err := strconv.ParseUint(f.tcbHex, 16, 64)
		if err != nil || len(f.tcbHex) != 16 {
			return nil, usage("--tcb is %q, want 16 hexadecimal digits", f.tcbHex)
		}
		out = append(out, endorsements.Need{Kind: endorsements.NeedAMDVCEK, Product: f.product, ChipID: f.chipID, TCB: tcb})
	}
	if f.product != "" {
		out = append(out, endorsements.Need{Kind: endorsements.NeedAMDCRL, Product: f.product})
	}
	for _, id := range f.rims {
		out = append(out, endorsements.Need{Kind: endorsements.NeedNVIDIARIM, RIM: strings.ToUpper(id)})
	}
	for _, n := range out {
		if _, err := n.Items(); err != nil {
			return nil, usage("%w", err)
		}
	}
	for _, file := range files {
		raw, err := readInput(cmd, file, int64(limits.Default().Composite))
		if err != nil {
			return nil, err
		}
		needs, err := needsOf(raw, f.mediaType, verifiers.Deps{ExtraRoots: roots})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, needs...)
	}
	return out, nil
}

// needsOf asks the scheme of every component of a composite, as a node does.
func needsOf(raw []byte, mediaType string, d verifiers.Deps) ([]endorsements.Need, error) {
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: mediaType, UnverifiedSignaturesUnsafe: true})
	if err != nil {
		return nil, err
	}
	schemes, err := all.Set()
	if err != nil {
		return nil, err
	}
	var out []endorsements.Need
	for _, leaf := range tree.Leaves() {
		parts, _, err := schemes.Parts(leaf.MediaType(), leaf.Value())
		if err != nil {
			continue // nobody appraises it
		}
		for _, p := range parts {
			if p.Err != nil || p.Scheme.Needs == nil {
				continue
			}
			v, err := p.Scheme.New(d)
			if err != nil {
				return nil, err
			}
			needs := p.Scheme.Needs
			if prover, ok := v.(verifiers.Prover); ok {
				needs = func(mt evidence.MediaType, raw []byte) []endorsements.Need { return prover.Needs(mt, raw, time.Now()) }
			}
			for _, n := range needs(p.MediaType, p.Evidence) {
				if !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out, nil
}

func runFetch(cmd *cobra.Command, g *globals, f *fetchFlags, files []string) error {
	if len(files) == 0 && f.fmspc == "" && f.product == "" && f.chipID == "" && len(f.rims) == 0 {
		return usage("fetch wants EVIDENCE, --fmspc, --product or --rim, see %s --help", cmd.CommandPath())
	}
	if f.fmspc == "" && (cmd.Flags().Changed("ca") || cmd.Flags().Changed("tee")) {
		return usage("--ca and --tee say more about --fmspc, which is not given")
	}
	c, err := g.load()
	if err != nil {
		return err
	}
	log, err := g.logger(cmd, slog.LevelWarn)
	if err != nil {
		return err
	}
	roots, err := extraRoots(f.trust)
	if err != nil {
		return err
	}
	needs, err := f.needs(cmd, files, roots)
	if err != nil {
		return err
	}
	if len(needs) == 0 {
		return errors.New("no component of the evidence needs collateral that could be fetched, or none is of a vendor or simulated machine (--trust) that is known")
	}
	if f.dir == "" {
		f.dir = cacheFolder(c)
	}
	c.Online.Timeout = min(max(f.timeout, time.Second), 10*time.Minute)
	src, stop, err := openSource(c, f.dir, nil, roots, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	var errs []error
	for _, some := range batches(needs) {
		_, err := src.Ensure(ctx, some)
		errs = append(errs, err)
	}
	checked, err := listBundle(src.Bundle(), nil, time.Now())
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	printEndorsements(cmd.OutOrStdout(), checked)
	return errors.Join(append(errs, inFolder(src.Bundle(), f.dir))...)
}

// batches puts together what a source takes at once: of NVIDIA's, of which a board
// has many, eight, and one of the others, which are answered slowly.
func batches(needs []endorsements.Need) [][]endorsements.Need {
	var out [][]endorsements.Need
	var many []endorsements.Need
	for _, n := range needs {
		if n.Kind == endorsements.NeedNVIDIARIM || n.Kind == endorsements.NeedNVIDIAOCSP {
			many = append(many, n)
			continue
		}
		out = append(out, []endorsements.Need{n})
	}
	return slices.AppendSeq(out, slices.Chunk(many, 8))
}

// inFolder says what of a bundle is not in the folder for which it was fetched.
func inFolder(b *endorsements.Bundle, dir string) error {
	there, _, err := endorsements.LoadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for st := range b.Statements() {
		written := false
		for other := range there.Statements() {
			written = written || other.Item == st.Item && other.Digest == st.Digest
		}
		if !written {
			errs = append(errs, fmt.Errorf("%s could not be written to %s", st.Item, dir))
		}
	}
	return errors.Join(errs...)
}

// extraRoots reads the file of --trust, "" for none.
func extraRoots(file string) (map[string][]*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := readFile(file, trust.MaxRoots)
	if err != nil {
		return nil, err
	}
	roots, err := trust.ParseRoots(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return roots.Schemes, nil
}

func newEndorsementsList(g *globals) *cobra.Command {
	return endorsementsCommand(g, &cobra.Command{
		Use:   "list DIR",
		Short: "List what a folder of collateral holds, and until when",
		Long: `List prints every document of Intel, AMD and NVIDIA in the folder: what it is, from when
to when it holds, what an OCSP response says, and the file. Signatures are not looked
at, see verify. Files that are not understood are warnings.`,
		Example: "  assize endorsements list collateral",
	}, false)
}

func newEndorsementsVerify(g *globals) *cobra.Command {
	return endorsementsCommand(g, &cobra.Command{
		Use:   "verify DIR",
		Short: "Check signatures and validity of the collateral in a folder",
		Long: `Verify prints what list does, and whether the signature of every document holds up to
a root of its vendor. The exit status is 1 if one does not, or if one is outside its
time, or if there is none. Schemes check more than that when they appraise: revoked
signers, contents, and whether the document is for the platform. Certificates and
revocation lists of others are named and not checked. Who may answer for a certificate
by OCSP is said by its issuer: where that is neither in the folder nor beside a manifest
in it, as with devices, whose certificates come with their evidence, the response is
marked as not checked.`,
		Example: "  assize endorsements verify collateral --at 2025-07-01T00:00:00Z",
	}, true)
}

func endorsementsCommand(g *globals, cmd *cobra.Command, verify bool) *cobra.Command {
	var at, output, roots string
	cmd.Args = exactly(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := notEmpty(cmd, "at", "trust", "output"); err != nil {
			return err
		}
		if output != "text" && output != "json" {
			return usage("-o %q: want text or json", output)
		}
		now := time.Now()
		if at != "" {
			var err error
			if now, err = time.Parse(time.RFC3339, at); err != nil {
				return usage("--at: %w", err)
			}
		}
		var checker *check.Checker
		if verify {
			extra, err := extraRoots(roots)
			if err != nil {
				return err
			}
			if checker, err = check.New(vendorRoots(extra)...); err != nil {
				return err
			}
		}
		log, err := g.logger(cmd, slog.LevelWarn)
		if err != nil {
			return err
		}
		bundle, warnings, err := endorsements.LoadDir(args[0])
		if err != nil {
			return err
		}
		(&stack{log: log}).warnUnused(warnings)
		lines, err := listBundle(bundle, checker, now)
		if verify && !slices.ContainsFunc(lines, func(l endorsementLine) bool { return l.Unchecked == "" }) {
			err = errors.Join(err, fmt.Errorf("%s has no document of Intel, AMD or NVIDIA that could be verified", args[0]))
		}
		if output == "json" {
			return errors.Join(printJSON(cmd.OutOrStdout(), lines), err)
		}
		printEndorsements(cmd.OutOrStdout(), lines)
		if others := unlisted(bundle, lines); len(others) > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "certificates and revocation lists that are none of these documents: %s\n", plain(strings.Join(others, ", ")))
		}
		return err
	}
	cmd.Flags().StringVar(&at, "at", "", "time to judge validity at (RFC 3339; default: now)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	if verify {
		cmd.Flags().StringVar(&roots, "trust", "", "file of extra roots, for collateral of simulated machines")
	}
	return cmd
}

// endorsementLine is one document as JSON.
type endorsementLine struct {
	Document string    `json:"document"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	// State is valid, ended or not-yet.
	State string `json:"state"`
	// Status is what an OCSP response says: good, revoked or unknown.
	Status string `json:"status,omitempty"`
	// Root is the root below which the signature holds, or Fault says why it does
	// not, or Unchecked why nobody could tell; none of them if nobody looked.
	Root      string `json:"root,omitempty"`
	Fault     string `json:"fault,omitempty"`
	Unchecked string `json:"unchecked,omitempty"`
	File      string `json:"file"`
	left      time.Duration
}

// listBundle describes the documents of a bundle; with a checker it is an error if
// one of them is of no use at the time.
func listBundle(b *endorsements.Bundle, c *check.Checker, at time.Time) ([]endorsementLine, error) {
	var results []check.Result
	if c != nil {
		results = c.All(b)
	} else {
		for st := range b.Statements() {
			results = append(results, check.Result{Statement: st})
		}
		says := saidByOCSP(b)
		for i := range results {
			results[i].Status = says[results[i].Digest]
		}
	}
	out := []endorsementLine{}
	bad := 0
	for _, r := range results {
		l := endorsementLine{
			Document: r.Item.String(), From: r.From.UTC(), Until: r.Until.UTC(), State: "valid", Root: r.Root, File: r.Name,
			Status: r.Status, left: r.Until.Sub(at),
		}
		switch {
		case at.Before(r.From):
			l.State = "not-yet"
		case at.After(r.Until):
			l.State = "ended"
		}
		switch {
		case errors.Is(r.Err, check.ErrNoIssuer):
			l.Unchecked = "issuer not in the bundle"
		case r.Err != nil:
			l.Fault = r.Err.Error()
		}
		if l.Fault != "" || l.State != "valid" {
			bad++
		}
		out = append(out, l)
	}
	if c != nil && bad > 0 {
		return out, fmt.Errorf("%d of %d documents are of no use at %s", bad, len(out), at.UTC().Format(time.RFC3339))
	}
	return out, nil
}

// saidByOCSP is what OCSP responses say, by their digests.
func saidByOCSP(b *endorsements.Bundle) map[[32]byte]string {
	out := map[[32]byte]string{}
	for _, d := range b.OCSPResponses() {
		if a, err := endorsements.ParseOCSP(d.Raw); err == nil {
			out[d.Digest] = a.Status
		}
	}
	return out
}

// unlisted are the files with certificates and revocation lists of which no line
// speaks: those of authorities, and what other vendors publish.
func unlisted(b *endorsements.Bundle, lines []endorsementLine) []string {
	var out []string
	note := func(name string) {
		listed := slices.ContainsFunc(lines, func(l endorsementLine) bool { return l.File == name })
		if !listed && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for c := range b.Certificates() {
		note(c.Name)
	}
	for l := range b.RevocationLists() {
		note(l.Name)
	}
	return out
}

func printEndorsements(w io.Writer, lines []endorsementLine) {
	for _, l := range lines {
		layout := time.DateOnly
		if l.Until.Sub(l.From) < 72*time.Hour { // an OCSP response
			layout = "2006-01-02T15:04Z"
		}
		fmt.Fprintf(w, "%s\n   %s to %s, %s", plain(l.Document), l.From.Format(layout), l.Until.Format(layout), l.State)
		if hours := int(math.Floor(l.left.Hours())); l.State == "valid" && hours < 48 {
			fmt.Fprintf(w, ", %d hours left", hours)
		} else if l.State == "valid" {
			fmt.Fprintf(w, ", %d days left", hours/24)
		}
		if l.Status != "" {
			fmt.Fprintf(w, ", says %s", plain(l.Status))
		}
		switch {
		case l.Root != "":
			fmt.Fprintf(w, ", signed below %s", plain(l.Root))
		case l.Unchecked != "":
			fmt.Fprintf(w, ", signature not checked: %s", plain(l.Unchecked))
		}
		fmt.Fprintf(w, "\n   %s\n", plain(l.File))
		if l.Fault != "" {
			fmt.Fprintf(w, "   %s\n", plain(l.Fault))
		}
	}
	unchecked := 0
	for _, l := range lines {
		if l.Unchecked != "" {
			unchecked++
		}
	}
	fmt.Fprintf(w, "%d documents", len(lines))
	if unchecked > 0 {
		fmt.Fprintf(w, ", the signatures of %d not checked", unchecked)
	}
	fmt.Fprintln(w)
}
