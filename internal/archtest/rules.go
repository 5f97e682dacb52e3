// SPDX-License-Identifier: Apache-2.0

package archtest

// A place is a folder below the root of the module. "x" is that folder alone,
// "x/..." that folder and all below it, "x/*" everything below it but not the
// folder itself, and "*" every folder.

// importRow says which of our own packages the packages of one place may
// import. Under "x/..." and "x/*" a package may also import what lies below x,
// respectively below its own folder of x.
type importRow struct {
	place string
	may   []string
	// inTests is what its _test.go files may import as well.
	inTests []string
}

// verifierImports holds for every vendor scheme: its own folder, and never
// another scheme, a topology, the orchestrator or the fabric.
var verifierImports = []string{
	"verifiers", "verifiers/appraisal", "evidence/...", "verdict", "corim", "endorsements", "internal/limits", "internal/lru", "internal/strictjson",
	"verifiers/nvidia/...",
}

// importTable is the package table of docs/architecture.md. The first row that
// matches a package holds; a package without a row is a finding, so a new one
// has to say what it depends on.
var importTable = []importRow{
	{place: "cmd/...", may: []string{"*"}},
	{place: "integration/...", may: []string{"*"}},

	{place: "internal/archtest"},
	{place: "internal/cddl"},
	{place: "internal/durable"},
	{place: "internal/limits"},
	{place: "internal/lru"},
	{place: "internal/strictjson"},
	{place: "internal/vectors"},
	{place: "schemas"},
	{place: "samples/...", may: []string{"evidence/..."}},

	{place: "evidence/...", may: []string{"internal/limits"}},
	{place: "trust/...", may: []string{"internal/limits"}},
	{place: "verdict/...", may: []string{"evidence/...", "trust", "internal/limits"}},
	{place: "endorsements/coserv", may: []string{"corim", "corim/coserv", "internal/limits", "internal/lru"}},
	{place: "endorsements/check", may: []string{"endorsements", "internal/strictjson", "internal/limits", "verifiers/nvidia/..."}, inTests: []string{"attester/..."}},
	{place: "endorsements/...", may: []string{"internal/strictjson", "internal/limits"}, inTests: []string{"attester/..."}},
	{place: "corim/...", may: []string{"trust", "internal/limits", "internal/durable"}},
	{place: "explain", may: []string{"verdict", "evidence", "binding", "schemas", "internal/limits", "internal/strictjson"}, inTests: []string{"trust"}},
	{place: "audit/...", may: []string{"audit", "verdict", "trust", "internal/limits"}},
	{place: "policy/...", may: []string{"evidence/...", "verdict", "internal/limits"}, inTests: []string{"trust"}},
	{place: "binding/...", may: []string{"evidence/...", "verdict", "internal/limits"}, inTests: []string{"trust"}},

	// A node signs what its scheme found, so the framework knows trust; the
	// schemes do not.
	{place: "verifiers", may: []string{
		"evidence/...", "verdict", "trust", "corim", "endorsements", "internal/limits", "verifiers/appraisal",
		"verifiers/internal/nvidia/container", "verifiers/internal/azure",
	}},
	{place: "verifiers/appraisal", may: []string{"verdict", "internal/limits"}},
	{place: "verifiers/all", may: []string{"verifiers/..."}, inTests: []string{"evidence/...", "verdict"}},
	{place: "verifiers/verifiertest", may: append([]string{"trust", "internal/vectors"}, verifierImports...)},
	// What NVIDIA publishes about its devices: schemes appraise with it, operators
	// check it.
	{place: "verifiers/nvidia/...", may: []string{"corim", "verdict", "internal/limits", "internal/lru"}, inTests: []string{"attester/...", "verifiers/internal/..."}},
	// A remote backend reads what a vendor's service signed, with the one strict
	// reader of tokens.
	{place: "verifiers/remote/*", may: append([]string{"verifiers/remote", "verifiers/internal/...", "trust"}, verifierImports...), inTests: []string{"verifiers/verifiertest"}},
	// What several schemes of one vendor share, and is no scheme itself. Of it
	// the framework imports only what reads the form of a leaf, to route it.
	{place: "verifiers/internal/nvidia/container", may: []string{"internal/limits"}},
	{place: "verifiers/internal/azure", may: []string{"internal/strictjson"}},
	{place: "verifiers/internal/...", may: append([]string{"verifiers/internal/..."}, verifierImports...), inTests: []string{"attester/..."}},
	{place: "verifiers/*", may: append([]string{"verifiers/internal/..."}, verifierImports...), inTests: []string{"verifiers/verifiertest", "attester/..."}},

	{place: "relay", may: []string{"evidence/...", "verdict", "trust", "internal/limits"}},

	{place: "topologies/...", may: []string{"evidence/...", "verdict", "verifiers", "internal/limits"}},
	{place: "orchestrator/...", may: []string{
		"topologies/...", "binding/...", "policy/...", "relay", "verdict", "verifiers", "evidence/...", "trust", "corim", "audit", "internal/limits",
	}, inTests: []string{"attester/...", "endorsements"}},

	{place: "relyingparty", may: []string{
		"verdict", "orchestrator", "policy", "trust", "evidence/...", "topologies/...", "verifiers", "corim", "internal/limits",
	}, inTests: []string{"verifiers/all"}},

	{place: "fabric/embed", may: []string{"fabric", "internal/limits"}},
	{place: "fabric/...", may: []string{
		"evidence/...", "verdict", "verifiers", "trust", "corim/...", "audit", "internal/limits",
	}, inTests: []string{"fabric/embed", "endorsements"}},
	{place: "api/...", may: []string{
		"orchestrator", "evidence/...", "verdict", "trust", "topologies", "corim/...", "schemas", "internal/limits", "internal/lru", "internal/strictjson",
	}, inTests: []string{"verifiers", "attester/...", "endorsements"}},

	{place: "attester/...", may: []string{
		"evidence/...", "corim", "endorsements", "trust", "binding", "verifiers/*", "internal/limits",
	}, inTests: []string{"verdict", "verifiers", "verifiers/nvidia/...", "verifiers/spdm/eatda"}},
}

// testImports is what every _test.go file may import.
var testImports = []string{"internal/cddl", "internal/limits", "internal/vectors", "samples", "schemas"}

// externalRow keeps an import path, and everything below it, to some places.
type externalRow struct {
	path string
	in   []string
	// inTests is where _test.go files may import it as well.
	inTests []string
	why     string
}

// externalTable holds for imports from outside the module. All rows that match
// a path hold together.
var externalTable = []externalRow{
	{
		path: "github.com/nats-io/nats.go", in: []string{"fabric/...", "cmd/...", "integration/..."},
		why: "NATS stays behind the fabric",
	},
	{
		path: "github.com/nats-io/nkeys", in: []string{"fabric/...", "cmd/...", "integration/..."},
		why: "NATS stays behind the fabric",
	},
	{
		path: "github.com/nats-io/jwt/v2", in: []string{"fabric/...", "cmd/...", "integration/..."},
		why: "NATS stays behind the fabric",
	},
	{
		path: "github.com/nats-io/nats-server/v2", in: []string{"fabric/embed", "cmd/..."},
		inTests: []string{"fabric/...", "integration/..."},
		why:     "a program that only uses our packages must not link a NATS server",
	},
	{
		path: "net/http", in: []string{"api/...", "attester/ratsd", "cmd/...", "endorsements/*", "integration/...", "verifiers/remote/*"},
		inTests: []string{"*"},
		why:     "HTTP is the business of the front door, of collateral fetchers, of backends that ask a vendor's service, and of the simulated daemon",
	},
	{
		path: "net", in: []string{"api/...", "cmd/...", "fabric/...", "endorsements/*", "integration/...", "internal/..."},
		inTests: []string{"*"},
		why:     "the core does no I/O; the network belongs to its edges",
	},
	{
		path: "github.com/open-policy-agent/opa", in: []string{"policy/...", "cmd/..."},
		why: "Rego stays behind policy",
	},
	{
		path: "github.com/spf13/cobra", in: []string{"cmd/..."},
		why: "commands are the business of cmd",
	},
	{
		path: "go.uber.org/goleak", in: nil, inTests: []string{"*"},
		why: "it is a tool for tests",
	},
	{
		path: "unsafe", in: nil,
		why: "untrusted bytes and unchecked memory do not go together",
	},
	{
		path: "plugin", in: nil,
		why: "verifiers are linked or remote, never loaded",
	},
}

// bareNet lists what is below "net" but opens no connection, so that the row
// of "net" does not hold for it. "net/http" has its own row.
var bareNet = []string{"net/http", "net/netip", "net/url", "net/mail", "net/textproto"}

// core lists the places that are pure: time and randomness are arguments.
var core = []string{
	"evidence/...", "verdict/...", "trust/...", "verifiers/...", "topologies/...",
	"binding/...", "corim/...", "endorsements/...", "policy/...",
	"relay", "audit", "explain", "relyingparty",
}

// impure lists, by import path, the identifiers that read the clock or the
// randomness of the process; nil is every identifier of the package.
var impure = map[string][]string{
	"time":         {"Now", "Since", "Until"},
	"crypto/rand":  nil,
	"math/rand":    nil,
	"math/rand/v2": nil,
}

// exits lists, by import path, the calls that end the process; only package
// main may.
var exits = map[string][]string{
	"os":  {"Exit"},
	"log": {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
}

// vagueNames say nothing about what a package provides.
var vagueNames = []string{
	"util", "utils", "common", "helper", "helpers", "type", "types", "pkg", "model", "models", "misc",
}

// allowedPanics lists calls of panic outside tests, as "file:function" with
// the reason. Bytes from outside must never be able to reach one.
var allowedPanics = map[string]string{}

const (
	// licenceLine begins every Go file.
	licenceLine = "// SPDX-License-Identifier: Apache-2.0"
	// maxLines is the length of the longest Go file.
	maxLines = 600
)
