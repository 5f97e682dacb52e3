// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// The ports of the orchestrator, satisfied by the fabric.
var (
	_ orchestrator.Appraiser = (*fabric.Caller)(nil)
	_ orchestrator.Spender   = spender{}
)

// role says what a process does on the fabric.
type role struct {
	name string // in connection names
	// lead: plans, calls and signs verdicts.
	lead bool
	// oneShot: the process ends after one appraisal of the caller's own file,
	// so the caller may choose the verification time, and nonces are not kept.
	oneShot bool
	// references are used instead of a store; nil for none.
	references verifiers.References
}

// stack is everything that a process runs, with the order in which it stops.
type stack struct {
	config    config.Config
	log       *slog.Logger
	schemes   *verifiers.Set // local ones
	keys      keystore
	own       *trust.Anchors
	anchors   *trust.Anchors // own and trusted
	attesters *trust.Anchors // who may sign composites
	roots     *trust.Roots   // beyond those of the vendors
	simulated bool           // told so by --trust: simulated machines may pass
	nodes     *trust.Nodes   // other verifier nodes; nil if there are none
	local     []api.Verifier // what this process serves
	seals     []*trust.SealPrivate
	guard     *verifiers.Guard      // whose requests are answered; nil for everybody's
	sending   *verifiers.Protection // what is signed and sealed; nil for nothing
	bus       *fabric.Bus
	directory *fabric.Directory
	lead      *orchestrator.Orchestrator
	corims    *store.Store         // reference values of a service; nil if it has none
	given     verifiers.References // those of one run, from its flags; nil if it has none
	// collateral is all that the verifiers in this process have; nil without any.
	collateral func(context.Context) *endorsements.Bundle
	stop       []func(context.Context) error
}

// start brings up server, connection, services and lead, in this order. On an
// error everything that was started is stopped again.
//
// rootsFile names extra roots, "" for none. It is not a key of the
// configuration: nothing that lies around must make a process trust test roots.
func start(ctx context.Context, c config.Config, log *slog.Logger, r role, rootsFile string) (*stack, error) {
	s := &stack{config: c, log: log, keys: newKeystore(c.StateDir), given: r.references}
	if err := s.loadRoots(rootsFile); err != nil {
		return nil, err
	}
	steps := []func(context.Context, role) error{s.loadSchemes, s.loadTrust, s.loadNodes, s.protect, s.connect, s.openReferences}
	if s.serves() {
		steps = append(steps, s.serve)
	}
	if r.lead {
		steps = append(steps, s.startLead)
	}
	for _, step := range steps {
		if err := step(ctx, r); err != nil {
			return nil, errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}
	return s, nil
}

// serves reports whether this process appraises anything itself: a list with
// the one word "none" makes a lead without local verifiers.
func (s *stack) serves() bool { return len(s.config.Schemes) != 1 || s.config.Schemes[0] != "none" }

func (s *stack) loadSchemes(context.Context, role) (err error) {
	if s.schemes, err = all.Set(); err != nil {
		return err
	}
	if len(s.config.Schemes) > 0 && s.serves() {
		s.schemes, err = s.schemes.Only(s.config.Schemes...)
	}
	if err != nil {
		return err
	}
	return s.remoteSchemes()
}

// loadRoots reads the file of --trust and says loudly that it did.
func (s *stack) loadRoots(file string) error {
	var err error
	if file == "" {
		s.roots = &trust.Roots{}
		s.roots.Attesters, err = trust.NewAnchors()
		return err
	}
	raw, err := readFile(file, trust.MaxRoots)
	if err != nil {
		return err
	}
	if s.roots, err = trust.ParseRoots(raw); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.simulated = true
	names := slices.Sorted(maps.Keys(s.roots.Schemes))
	if len(names) == 0 {
		s.log.Warn("keys of simulated lead attesters are trusted; the file has no roots of schemes", "file", file)
		return nil
	}
	s.log.Warn("extra roots are trusted: evidence of simulated machines passes", "file", file, "schemes", names)
	return nil
}

// loadTrust reads our own keys and the keys of verifiers elsewhere.
func (s *stack) loadTrust(context.Context, role) error {
	own := []trust.Key{}
	names := []string{leadKey}
	if s.serves() {
		for _, sc := range s.schemes.Schemes() {
			names = append(names, sc.Name)
		}
	}
	for _, n := range names {
		signer, err := s.keys.load(n)
		if err != nil {
			return fmt.Errorf("signing key %q: %w", n, err)
		}
		own = append(own, anchor(n, signer))
	}
	var err error
	if s.own, err = trust.NewAnchors(own...); err != nil {
		return err
	}
	others, err := loadJWKS(s.config.Trust)
	if err != nil {
		return err
	}
	if s.anchors, err = withVerifiers(s.own, others); err != nil {
		return err
	}
	attesters, err := loadJWKS(s.config.Attesters)
	if err != nil {
		return err
	}
	s.attesters, err = trust.Merge(append(attesters, s.roots.Attesters)...)
	return err
}

// withVerifiers adds the verifiers among other nodes' keys, and of each no role
// but that one: a set from elsewhere cannot make itself more.
func withVerifiers(own *trust.Anchors, others []*trust.Anchors) (*trust.Anchors, error) {
	keys := own.Keys()
	for _, set := range others {
		for _, k := range set.Keys() {
			if slices.Contains(k.Roles, trust.RoleVerifier) {
				k.Roles = []trust.Role{trust.RoleVerifier}
				keys = append(keys, k)
			}
		}
	}
	return trust.NewAnchors(keys...)
}

// loadJWKS reads JWK sets that the configuration names.
func loadJWKS(files []string) ([]*trust.Anchors, error) {
	var out []*trust.Anchors
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxJWKS {
			return nil, errors.Join(err, fmt.Errorf("trust: %s is not a file of at most %d bytes", file, maxJWKS))
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
		a, err := trust.ParseJWKS(raw)
		if err != nil {
			return nil, fmt.Errorf("trust: %s: %w", file, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func (s *stack) connect(ctx context.Context, r role) error {
	f := s.config.Fabric
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	fc := fabric.Config{
		Name:   fmt.Sprintf("assize/%s/%s-%d", r.name, hostname, os.Getpid()),
		Tenant: f.Tenant, Site: f.Site, URLs: f.URLs, CredsFile: f.Creds, NKeyFile: f.NKey,
		CAFile: f.TLS.CA, CertFile: f.TLS.Cert, KeyFile: f.TLS.Key, TLSFirst: f.TLS.First, InboxPrefix: f.InboxPrefix,
		Logger: s.log, RetryConnect: !r.oneShot && !r.lead,
	}
	if f.Mode == "embedded" {
		if err := s.startServer(ctx, r, &fc); err != nil {
			return err
		}
	}
	if s.bus, err = fabric.Connect(ctx, fc); err != nil {
		return err
	}
	s.stop = append(s.stop, s.bus.Close)
	return nil
}

// startServer starts the embedded server: no listener, and JetStream only
// where used nonces must be remembered.
func (s *stack) startServer(ctx context.Context, r role, fc *fabric.Config) error {
	o := embed.Options{Name: "assize", Logger: s.log}
	if r.lead && !r.oneShot && (s.config.Fabric.Nonces == "jetstream" || s.auditStore(r) == "jetstream" || s.config.Corim.Store == "jetstream") {
		o.JetStream = true
		o.StoreDir = filepath.Join(s.config.StateDir, "jetstream")
	}
	srv, err := embed.Start(o)
	if err != nil {
		return err
	}
	s.stop = append(s.stop, srv.Shutdown)
	fc.InProcess = srv.Provider()
	return nil
}

// serve offers every local scheme on the fabric.
func (s *stack) serve(ctx context.Context, r role) error {
	deps := verifiers.Deps{ExtraRoots: s.roots.Schemes}
	if dir := s.config.Endorsements; dir != "" {
		bundle, warnings, err := endorsements.LoadDir(dir)
		if err != nil {
			return err
		}
		s.warnUnused(warnings)
		deps.Endorsements = bundle
	}
	if err := s.policies(&deps); err != nil {
		return err
	}
	signers := map[string]*trust.Signer{}
	for _, sc := range s.schemes.Schemes() {
		signer, err := s.keys.load(sc.Name)
		if err != nil {
			return err
		}
		signers[sc.Name] = signer
	}
	options := verifiers.NodeOptions{
		Set: s.schemes, Deps: deps, Identity: s.identity(), Signers: signers,
		Clock: time.Now, AllowTimeOverride: r.oneShot, References: s.references(),
	}
	if err := s.online(&options, r.oneShot); err != nil {
		return err
	}
	s.keepCollateral(options)
	node, err := s.appraisers(options)
	if err != nil {
		return err
	}
	served, err := s.audited(ctx, r, node)
	if err != nil {
		return err
	}
	for _, sc := range s.schemes.Schemes() {
		svc, err := s.bus.Serve(served, fabric.ServiceOptions{
			Scheme: sc, KID: node.KID(sc.Name), Identity: s.identityOf(sc.Name), Budget: s.config.Budget,
			Guard: s.guard, Node: s.config.Node.Name, Seal: s.seals, Workers: max(workers(sc, options.Collateral), s.waiting(sc.Name)),
		})
		if err != nil {
			return err
		}
		s.stop = append(s.stop, svc.Stop)
		s.local = append(s.local, s.describe(sc, node.KID(sc.Name)))
	}
	return nil
}

func (s *stack) identity() verdict.Identity {
	id := verdict.Identity{Developer: s.config.Identity.Developer, Build: s.config.Identity.Build}
	if id.Build == "" {
		id.Build = build()
	}
	return id
}

func (s *stack) startLead(ctx context.Context, r role) error {
	signer, err := s.keys.load(leadKey)
	if err != nil {
		return err
	}
	expr, err := topologies.Parse(s.config.Topology)
	if err != nil {
		return err
	}
	routable, err := all.Set()
	if err != nil {
		return err
	}
	if s.config.Fabric.Mode == "external" {
		if s.directory, err = s.bus.Directory(fabric.DirectoryOptions{}); err != nil {
			return err
		}
		s.stop = append(s.stop, func(context.Context) error { s.directory.Stop(); return nil })
		if err := s.directory.Refresh(ctx); err != nil {
			s.log.Warn("no verifier could be asked who it is, the list is filled later", "error", err)
		}
	}
	o := orchestrator.Options{
		Schemes: routable, Appraiser: s.bus.Caller(fabric.CallerOptions{Protection: s.sending}), Anchors: s.anchors,
		Signer: signer, Identity: s.identity(), Route: s.route, Topology: &expr, Simulated: s.simulated,
		LeadKeys: attesterKeys{s.attesters}, Clock: time.Now, Rand: rand.Reader, Limits: evidenceLimits(s.config), Budget: s.config.Budget,
	}
	if !r.oneShot && s.config.Fabric.Nonces == "jetstream" {
		sp, err := s.bus.Spender(ctx, fabric.SpenderOptions{
			File: true, TTL: limits.Session + limits.ClockSkew,
			Replicas:  s.config.Fabric.Replicas,
			Exclusive: s.config.Fabric.Mode == "embedded", // nobody else reaches a server in this process
		})
		if err != nil {
			return fmt.Errorf("used nonces cannot be remembered (fabric.nonces: jetstream): %w", err)
		}
		s.stop = append(s.stop, func(context.Context) error { sp.Close(); return nil })
		o.Spender = spender{sp}
	}
	if err := s.machinePolicy(&o); err != nil {
		return err
	}
	if o.Auditor, err = s.openAudit(ctx, r, signer); err != nil {
		return err
	}
	o.AuditRequired = s.config.Audit.Required
	if r := s.references(); r != nil {
		o.References = r
	}
	if o.Peers, err = s.peers(o.Spender); err != nil {
		return err
	}
	if s.lead, err = orchestrator.New(o); err != nil {
		return err
	}
	if err := s.serveIntroductions(); err != nil {
		return err
	}
	return s.serveNode(r)
}

// route gives the candidates for a scheme. A scheme for which we hold no key
// has none, whoever may offer it.
func (s *stack) route(scheme, node string) []verifiers.Candidate {
	named := []verifiers.Candidate{{Site: node, Why: "named by the topology"}}
	if peer, ok := s.nodes.Lookup(node); ok && node != s.config.Node.Name {
		if !serves(peer.Verifiers(), scheme) {
			return nil
		}
		return named
	}
	if node != "" && s.trusted("", scheme) {
		return named
	}
	if !s.trusted("", scheme) {
		return nil
	}
	if s.directory != nil {
		return s.directory.Candidates(scheme, s.trusted)
	}
	return []verifiers.Candidate{{Site: "any", Why: "nearest that serves the scheme"}}
}

// trusted reports whether we hold this key for the scheme; an empty kid asks
// for any key.
func (s *stack) trusted(kid, scheme string) bool {
	now := time.Now()
	if kid != "" {
		_, ok := s.anchors.Verifier(kid, scheme, now)
		return ok
	}
	return serves(s.anchors, scheme)
}

// serves reports whether a set has a current key for a scheme.
func serves(a *trust.Anchors, scheme string) bool {
	now := time.Now()
	for _, k := range a.Keys() {
		if _, ok := a.Verifier(k.KID, scheme, now); ok {
			return true
		}
	}
	return false
}

// close stops everything in the reverse order of its start.
func (s *stack) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	var errs []error
	for i := len(s.stop) - 1; i >= 0; i-- {
		errs = append(errs, s.stop[i](ctx))
	}
	s.stop = nil
	return errors.Join(errs...)
}

// spender translates the fabric's error into the orchestrator's.
type spender struct{ *fabric.Spender }

// Spend implements orchestrator.Spender.
func (s spender) Spend(ctx context.Context, nonce []byte, ttl time.Duration) error {
	err := s.Spender.Spend(ctx, nonce, ttl)
	if errors.Is(err, fabric.ErrSpent) {
		return fmt.Errorf("%w: %w", orchestrator.ErrNonceSpent, err)
	}
	return err
}

// attesterKeys finds the keys under which a signed composite is accepted.
type attesterKeys struct{ anchors *trust.Anchors }

// VerificationKeys implements evidence.KeyFinder. The key id is a hint that a
// composite may lack, so every trusted key is tried.
func (k attesterKeys) VerificationKeys([]byte, string) []crypto.PublicKey {
	return k.anchors.Attesters(time.Now())
}

// warnUnused names every file that is no collateral, one line per reason.
func (s *stack) warnUnused(warnings []endorsements.Warning) {
	files := map[string][]string{}
	for _, w := range warnings {
		files[w.Detail] = append(files[w.Detail], w.Name)
	}
	for _, why := range slices.Sorted(maps.Keys(files)) {
		s.log.Warn("endorsement files not used", "why", why, "files", files[why])
	}
}
