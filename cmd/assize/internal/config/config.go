// SPDX-License-Identifier: Apache-2.0

// Package config reads the one configuration file. Unknown keys are errors
// with line and column; every key can be overridden by an environment variable
// whose name is ASSIZE_ and the path of the key in upper case, joined by "_".
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Config is the whole configuration. The zero value of a key means its
// default; Load fills the defaults in.
type Config struct {
	// StateDir keeps generated keys and the embedded server's store.
	StateDir string `yaml:"state_dir"`
	// Listen is the host:port of the HTTP API.
	Listen string `yaml:"listen"`
	// ListenTLS makes the API speak HTTPS.
	ListenTLS ListenTLS `yaml:"listen_tls"`
	// Schemes are the schemes that this process appraises itself.
	Schemes []string `yaml:"schemes"`
	// Topology is the default topology expression; in a file also in YAML form.
	Topology string `yaml:"topology"`
	// Endorsements is a folder of collateral.
	Endorsements string `yaml:"endorsements"`
	// EvidencePolicies lists files with edited appraisal policies, at most one for
	// a scheme.
	EvidencePolicies []string `yaml:"evidence_policies"`
	// Policy is the policy for whole machines: a name from the library (assize
	// policy list) or a file (.rego).
	Policy string `yaml:"policy"`
	// DryRun is a policy that is tried beside Policy; verdicts say how they would
	// differ. Empty for none.
	DryRun string `yaml:"dry_run"`
	// Requirements say which components have to be there, whatever is submitted:
	// LABEL[:SCHEME][=N|>=N|?] each.
	Requirements []string `yaml:"requirements"`
	// Trust lists JWKS files with the keys of verifiers on other nodes.
	Trust []string `yaml:"trust"`
	// Attesters lists JWKS files with the keys of lead attesters, which sign
	// whole composites. Without one a signed composite is refused.
	Attesters []string `yaml:"attesters"`
	// Node is this process among other verifier nodes.
	Node Node `yaml:"node"`
	// Budget is the longest time for one appraisal.
	Budget    time.Duration `yaml:"budget"`
	Fabric    Fabric        `yaml:"fabric"`
	Limits    Limits        `yaml:"limits"`
	Identity  Identity      `yaml:"identity"`
	Telemetry Telemetry     `yaml:"telemetry"`
	// Audit is the record of what this process did.
	Audit Audit `yaml:"audit"`
	// Corim is where reference values are kept.
	Corim Corim `yaml:"corim"`
	// Coserv hands reference values out to others.
	Coserv Coserv `yaml:"coserv"`
	// Verdicts are kept for a while, for GET /v1/verdicts/{id}.
	Verdicts Verdicts `yaml:"verdicts"`
	// Topologies are the named ones of the HTTP API.
	Topologies Topologies `yaml:"topologies"`
	// Online fetches collateral that is missing.
	Online Online `yaml:"endorsements_online"`
	// NRAS has NVIDIA's service appraise instead of this process.
	NRAS NRAS `yaml:"nras"`
}

// Online says from whom collateral is fetched (docs/endorsements.md).
type Online struct {
	// Enabled fetches what schemes need and the folder does not have.
	Enabled bool `yaml:"enabled"`
	// Intel is the URL of Intel's service or of a PCCS, or "none".
	Intel string `yaml:"intel"`
	// IntelRootCRL is the URL of the revocation list of Intel's root.
	IntelRootCRL string `yaml:"intel_root_crl"`
	// IntelUpdate is "standard" or "early"; empty is what the service takes for granted.
	IntelUpdate string `yaml:"intel_update"`
	// AMD is the URL of the Key Distribution Service, or "none".
	AMD string `yaml:"amd"`
	// NVIDIA says where manifests and the status of certificates come from.
	NVIDIA OnlineNVIDIA `yaml:"nvidia"`
	// IntelInterval and AMDInterval are the times between two requests, on average.
	IntelInterval time.Duration `yaml:"intel_interval"`
	AMDInterval   time.Duration `yaml:"amd_interval"`
	// Cache is a folder of its own for what was fetched; empty for "endorsements"
	// below state_dir.
	Cache string `yaml:"cache"`
	// CA is a PEM file with further roots for TLS, as a PCCS of one's own has them.
	CA string `yaml:"ca"`
	// Timeout is the longest time for one document, MaxAge how long one is used
	// before a newer one is asked for.
	Timeout time.Duration `yaml:"timeout"`
	MaxAge  time.Duration `yaml:"max_age"`
}

// NRAS says which schemes NVIDIA's Remote Attestation Service appraises for this
// process (docs/nras.md).
type NRAS struct {
	// Schemes are appraised by the service instead of here; none without any.
	Schemes []string `yaml:"schemes"`
	// URL is the service, Issuer what its tokens say about who made them (default
	// URL), KeySet the URL of its keys (default below URL).
	URL    string `yaml:"url"`
	Issuer string `yaml:"issuer"`
	KeySet string `yaml:"jwks_url"`
	// APIVersion is "v3" or "v4".
	APIVersion string `yaml:"api_version"`
	// ServiceKeyFile is a file with the key that the service wants.
	ServiceKeyFile string `yaml:"service_key_file"`
	// AllowHold lets certificates on hold pass, which is then a warning.
	AllowHold bool `yaml:"allow_hold"`
	// CA is a PEM file with further roots for TLS.
	CA string `yaml:"ca"`
	// Interval is the time between two requests on average, Concurrent how many
	// are under way at a time, Timeout the longest time for one.
	Interval   time.Duration `yaml:"interval"`
	Concurrent int           `yaml:"concurrent"`
	Timeout    time.Duration `yaml:"timeout"`
}

// OnlineNVIDIA says from whom collateral of NVIDIA's devices is fetched.
type OnlineNVIDIA struct {
	// RIM and OCSP are the URLs of the RIM service and of the OCSP service, or
	// "none".
	RIM  string `yaml:"rim_url"`
	OCSP string `yaml:"ocsp_url"`
	// KeyFile holds the service key that is sent to both; empty for none.
	KeyFile string `yaml:"service_key_file"`
	// Interval is the time between two requests, on average.
	Interval time.Duration `yaml:"interval"`
}

// Audit says where this process keeps records of what it did.
type Audit struct {
	// Store is "file" (files below state_dir), "jetstream" or "off". The default
	// is file for a service and off for a process of one appraisal.
	Store string `yaml:"store"`
	// Required: no verdict and no answer without a record of it.
	Required bool `yaml:"required"`
	// Log names the log in JetStream; default node.name, or "lead".
	Log string `yaml:"log"`
	// CheckpointEvery is the number of records, and CheckpointAfter the time,
	// after which what was added is signed.
	CheckpointEvery int           `yaml:"checkpoint_every"`
	CheckpointAfter time.Duration `yaml:"checkpoint_after"`
	// Sync is "never" (default), "checkpoint" or "always": when files are forced
	// to the disk.
	Sync string `yaml:"sync"`
	// RotateBytes is the size from which a new file is begun, KeepFiles how many
	// files are kept (0 for all).
	RotateBytes int `yaml:"rotate_bytes"`
	KeepFiles   int `yaml:"keep_files"`
	// Replicas, MaxAge and MaxBytes (0 for no end) are those of the stream.
	Replicas int           `yaml:"replicas"`
	MaxAge   time.Duration `yaml:"max_age"`
	MaxBytes int           `yaml:"max_bytes"`
}

// Corim says where reference values are kept and whose are believed.
type Corim struct {
	// Store is "folder" (default: files below state_dir), "jetstream" or "off".
	Store string `yaml:"store"`
	// Import is a folder whose documents are added at start.
	Import string `yaml:"import"`
	// Trust is a file with the authorities whose documents count. Without it no
	// signed document does.
	Trust string `yaml:"trust"`
	// Unsigned accepts documents without a signature.
	Unsigned bool `yaml:"unsigned"`
	// Stale is "refuse" (default) or "warn": what becomes of appraisals when
	// nobody has confirmed for StaleAfter that the documents are current.
	Stale      string        `yaml:"stale"`
	StaleAfter time.Duration `yaml:"stale_after"`
	// Bad is "skip" (default) or "refuse": what becomes of appraisals while the
	// store has a document that does not count.
	Bad string `yaml:"bad"`
	// Replicas is how many servers of a cluster keep the documents, 1 to 5.
	Replicas int `yaml:"replicas"`
	// HTTPWrites lets clients of the HTTP API add and remove documents.
	HTTPWrites bool `yaml:"http_writes"`
}

// Coserv says whether reference values are handed out (draft-ietf-rats-coserv).
type Coserv struct {
	// Enabled offers the service beside the rest of the HTTP API.
	Enabled bool `yaml:"enabled"`
	// Lifetime is how long a result may be used at most.
	Lifetime time.Duration `yaml:"lifetime"`
}

// Verdicts says for how long, and how many, verdicts can be fetched again by the
// identifier in Location (decision D-121). They are kept in memory alone.
type Verdicts struct {
	// Store is "memory" (default) or "off".
	Store string `yaml:"store"`
	// Keep is how many, MaxBytes how much they and their evidence may take; the oldest
	// go first.
	Keep     int `yaml:"keep"`
	MaxBytes int `yaml:"max_bytes"`
	// MaxAge is how long one is kept; the default is the length of a session.
	MaxAge time.Duration `yaml:"max_age"`
}

// Topologies says who may name topologies.
type Topologies struct {
	// HTTPWrites lets clients of the HTTP API keep topologies under a name.
	HTTPWrites bool `yaml:"http_writes"`
}

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (a *Audit) defaults(node string) {
	def(&a.Sync, "never")
	def(&a.Log, node)
	def(&a.Log, "lead")
	if a.CheckpointEvery == 0 {
		a.CheckpointEvery = 256
	}
	if a.CheckpointAfter == 0 {
		a.CheckpointAfter = time.Minute
	}
}

func (a *Audit) check(mode string) error {
	switch {
	case a.Store != "" && a.Store != "file" && a.Store != "jetstream" && a.Store != "off":
		return fmt.Errorf("config: audit.store is %q, want file, jetstream or off", a.Store)
	case a.Store == "off" && a.Required:
		return errors.New("config: audit.required is set but audit.store is off")
	case a.Sync != "never" && a.Sync != "checkpoint" && a.Sync != "always":
		return fmt.Errorf("config: audit.sync is %q, want never, checkpoint or always", a.Sync)
	case !token.MatchString(a.Log):
		return fmt.Errorf("config: audit.log is %q, want [A-Za-z0-9_-]{1,64}", a.Log)
	case a.CheckpointEvery < 1 || a.CheckpointEvery > 1024:
		return fmt.Errorf("config: audit.checkpoint_every is %d, want 1 to 1024", a.CheckpointEvery)
	case a.CheckpointAfter < time.Second || a.CheckpointAfter > 24*time.Hour:
		return fmt.Errorf("config: audit.checkpoint_after is %s, want 1s to 24h", a.CheckpointAfter)
	case a.RotateBytes < 0 || a.KeepFiles < 0 || a.MaxAge < 0 || a.MaxBytes < 0:
		return errors.New("config: audit: a limit is negative")
	case a.Replicas < 0 || a.Replicas > 5 || a.Replicas > 1 && mode == "embedded":
		return fmt.Errorf("config: audit.replicas is %d, want 1 to 5, and 1 with the embedded server", a.Replicas)
	}
	return nil
}

// Node says which other nodes parts of a topology can be handed to, and by
// which name others can hand something to this one.
type Node struct {
	// Name is [a-z0-9-]{1,32}; without it nobody hands anything to this node.
	Name string `yaml:"name"`
	// Peers lists node files (assize keys node) of other nodes.
	Peers []string `yaml:"peers"`
	// Expose is "own" (default): a node gets the evidence that it is to judge,
	// sealed to it, and digests of the rest; or "composite": every node of a
	// chain gets the whole composite in the clear.
	Expose string `yaml:"expose"`
	// Attest says who has to show what it runs on before anything is exchanged.
	Attest Attest `yaml:"attest"`
	// Paths are rules of allowed paths, as in --paths of assize verdict verify:
	// evidence that would take another one is neither sent nor accepted. Without a
	// rule every path between nodes that know each other is allowed.
	Paths []string `yaml:"paths"`
	// Sign is "always" (default) or "when-unsigned": which requests to verifiers
	// carry the signature of this node. Without a name nothing is signed.
	Sign string `yaml:"sign"`
	// Seal is "when-possible" (default) or "always": what is sealed to nodes, and
	// whether a node or site without a seal key is sent anything.
	Seal string `yaml:"seal"`
	// Edges are exceptions from Sign and Seal by the name of a node or site.
	Edges map[string]Edge `yaml:"edges"`
	// Callers says whose requests the verifiers here answer: "peers", those of
	// this node and its peers, or "any". Default: peers where there are some.
	Callers string `yaml:"callers"`
}

// Attest are the rules of introductions between nodes.
type Attest struct {
	// Require is "none" (default), "warning" or "affirming": the worst tier of
	// another node's evidence that is good enough.
	Require string `yaml:"require"`
	// Peers are exceptions by name: "vendor-b=affirming".
	Peers []string `yaml:"peers"`
	// TTL is how long a node counts as attested.
	TTL time.Duration `yaml:"ttl"`
	// Evidence is the URL of a ratsd agent that makes evidence of this machine;
	// without it this node does not introduce itself.
	Evidence string `yaml:"evidence"`
}

// Edge is what holds towards one node or site; empty is as for all others.
type Edge struct {
	Sign string `yaml:"sign"`
	Seal string `yaml:"seal"`
}

// Fabric says how the process joins NATS.
type Fabric struct {
	// Mode is "embedded" (default) or "external".
	Mode   string   `yaml:"mode"`
	URLs   []string `yaml:"urls"`
	Creds  string   `yaml:"creds"`
	NKey   string   `yaml:"nkey"`
	TLS    TLS      `yaml:"tls"`
	Tenant string   `yaml:"tenant"`
	Site   string   `yaml:"site"`
	// InboxPrefix keeps other users of the account from reading replies.
	InboxPrefix string `yaml:"inbox_prefix"`
	// Replicas is how many servers of a cluster keep the used nonces, 1 to 5.
	Replicas int `yaml:"replicas"`
	// Nonces is where used nonces are remembered: "jetstream" (default) or
	// "off", which is only safe where nobody can send the same nonce twice.
	Nonces string `yaml:"nonces"`
}

// TLS names PEM files for the connection to NATS.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// First does the TLS handshake before the protocol, for a server with
	// handshake_first.
	First bool `yaml:"first"`
}

// ListenTLS names PEM files for the HTTP API. They are read again when they
// change, so that certificates can be renewed under a running process.
type ListenTLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCA are the roots of client certificates. With it nobody is answered
	// who has none.
	ClientCA string `yaml:"client_ca"`
}

// Limits bound one composite; 0 means the default.
type Limits struct {
	CompositeBytes int `yaml:"composite_bytes"`
	LeafBytes      int `yaml:"leaf_bytes"`
	Depth          int `yaml:"depth"`
	Leaves         int `yaml:"leaves"`
	// InFlight is how many appraisals run at once before HTTP 429.
	InFlight int `yaml:"in_flight"`
}

// Identity is the verifier-id in signed results.
type Identity struct {
	Developer string `yaml:"developer"`
	Build     string `yaml:"build"`
}

// Telemetry names this process in traces. Exporters are configured by the
// standard OTEL_… variables and are off without them.
type Telemetry struct {
	ServiceName string `yaml:"service_name"`
}

var slug = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// Load reads path (none when empty), then the environment, then defaults.
func Load(path string, environ []string) (Config, error) {
	var c Config
	if path != "" {
		if err := read(path, &c); err != nil {
			return c, err
		}
	}
	if err := override(&c, environ); err != nil {
		return c, err
	}
	if err := c.defaults(); err != nil {
		return c, err
	}
	return c, c.check()
}

func read(path string, c *Config) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if info.Size() > maxFile {
		return fmt.Errorf("config: %s is larger than %d bytes", path, maxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	doc, err := document(raw)
	if err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	if err := oneLine(doc.Content[0]); err != nil {
		return fmt.Errorf("config: %s:%w", path, err)
	}
	if err := known(doc.Content[0], c); err != nil {
		return fmt.Errorf("config: %s:%w", path, err)
	}
	if err := doc.Decode(c); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	return nil
}

func (c *Config) defaults() error {
	if c.StateDir == "" {
		dir, err := stateHome()
		if err != nil {
			return err
		}
		c.StateDir = filepath.Join(dir, "assize")
	}
	def(&c.Listen, "127.0.0.1:8080")
	def(&c.Topology, "lead")
	def(&c.Policy, "default")
	def(&c.Fabric.Mode, "embedded")
	def(&c.Fabric.Tenant, "local")
	def(&c.Fabric.Site, "local")
	def(&c.Fabric.Nonces, "jetstream")
	def(&c.Telemetry.ServiceName, "assize")
	def(&c.Node.Expose, "own")
	def(&c.Node.Attest.Require, "none")
	if c.Node.Attest.TTL == 0 {
		c.Node.Attest.TTL = defaultAttestTTL
	}
	def(&c.Node.Seal, "when-possible")
	if c.Node.Name != "" {
		def(&c.Node.Sign, "always")
	}
	if len(c.Node.Peers) > 0 {
		def(&c.Node.Callers, "peers")
	}
	def(&c.Node.Callers, "any")
	def(&c.Identity.Developer, "https://github.com/assize/assize")
	if c.Budget == 0 {
		c.Budget = 10 * time.Second
	}
	c.Audit.defaults(c.Node.Name)
	c.Corim.defaults()
	c.Coserv.defaults()
	c.Verdicts.defaults()
	c.Online.defaults()
	c.NRAS.defaults()
	if c.Limits.InFlight == 0 {
		c.Limits.InFlight = 64
	}
	return nil
}

func def(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// stateHome is $XDG_STATE_HOME or ~/.local/state.
func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("config: no home folder for keys, set state_dir: %w", err)
	}
	return filepath.Join(home, ".local", "state"), nil
}

func (c *Config) check() error {
	if err := c.Audit.check(c.Fabric.Mode); err != nil {
		return err
	}
	if err := c.Corim.check(c.Fabric.Mode, c.Listen, c.ListenTLS); err != nil {
		return err
	}
	if err := c.Coserv.check(c.Corim.Store); err != nil {
		return err
	}
	if err := c.Verdicts.check(); err != nil {
		return err
	}
	if err := c.Topologies.CheckWrites(c.Listen, c.ListenTLS); err != nil {
		return err
	}
	if err := c.Online.check(); err != nil {
		return err
	}
	if err := c.NRAS.check(c.Schemes); err != nil {
		return err
	}
	switch {
	case c.Fabric.Mode != "embedded" && c.Fabric.Mode != "external":
		return fmt.Errorf("config: fabric.mode is %q, want embedded or external", c.Fabric.Mode)
	case c.Fabric.Mode == "external" && len(c.Fabric.URLs) == 0:
		return errors.New("config: fabric.mode external wants fabric.urls")
	case c.Fabric.Mode == "embedded" && len(c.Fabric.URLs) > 0:
		return errors.New("config: fabric.urls are set but fabric.mode is embedded")
	case c.Fabric.Mode == "embedded" && (c.Fabric.Creds != "" || c.Fabric.NKey != "" || c.Fabric.TLS != TLS{}):
		return errors.New("config: fabric.creds, nkey and tls are for an external NATS, but fabric.mode is embedded")
	case c.Fabric.Creds != "" && c.Fabric.NKey != "":
		return errors.New("config: fabric: creds and nkey are both set")
	case (c.Fabric.TLS.Cert == "") != (c.Fabric.TLS.Key == ""):
		return errors.New("config: fabric.tls: cert and key go together")
	case (c.ListenTLS.Cert == "") != (c.ListenTLS.Key == ""):
		return errors.New("config: listen_tls: cert and key go together")
	case c.ListenTLS.ClientCA != "" && c.ListenTLS.Cert == "":
		return errors.New("config: listen_tls: client_ca without cert and key")
	case c.Fabric.Nonces != "jetstream" && c.Fabric.Nonces != "off":
		return fmt.Errorf("config: fabric.nonces is %q, want jetstream or off", c.Fabric.Nonces)
	case c.Fabric.Replicas < 0 || c.Fabric.Replicas > 5 || c.Fabric.Replicas > 1 && c.Fabric.Mode == "embedded":
		return fmt.Errorf("config: fabric.replicas is %d, want 1 to 5, and 1 with the embedded server", c.Fabric.Replicas)
	case c.Node.Expose != "own" && c.Node.Expose != "composite":
		return fmt.Errorf("config: node.expose is %q, want own or composite", c.Node.Expose)
	case c.Node.Name != "" && !slug.MatchString(c.Node.Name):
		return fmt.Errorf("config: node.name is %q, want [a-z0-9-]{1,32}", c.Node.Name)
	case c.Node.Name != "" && c.Fabric.Nonces == "off":
		return errors.New("config: a node with a name has to remember what was handed to it: fabric.nonces is off")
	case c.Node.Callers != "peers" && c.Node.Callers != "any":
		return fmt.Errorf("config: node.callers is %q, want peers or any", c.Node.Callers)
	case c.Node.Callers == "peers" && c.Node.Name == "" && len(c.Node.Peers) == 0:
		return errors.New("config: node.callers is peers, but this node has neither a name nor peers")
	case c.Budget < 50*time.Millisecond || c.Budget > 10*time.Minute:
		return fmt.Errorf("config: budget is %s, want 50ms to 10m", c.Budget)
	case c.Limits.CompositeBytes < 0 || c.Limits.LeafBytes < 0 || c.Limits.Depth < 0 || c.Limits.Leaves < 0 || c.Limits.InFlight < 0:
		return errors.New("config: limits must not be negative")
	}
	if err := c.Node.Attest.check(c.Node.Name); err != nil {
		return err
	}
	return c.Node.checkEdges()
}
