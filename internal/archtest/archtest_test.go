// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/assize/assize"

// repository is the tree that this test is part of.
func repository(t *testing.T) fs.FS {
	t.Helper()
	const root = "../.."
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(mod), "module "+module+"\n") {
		t.Fatalf("%s/go.mod is not of module %s", root, module)
	}
	return os.DirFS(root)
}

func report(t *testing.T, found []Finding, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestRepositoryKeepsTheRules(t *testing.T) {
	tree := repository(t)
	files, err := load(tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files found: the walk is broken", len(files))
	}
	found, err := Check(tree, module)
	report(t, found, err)
}

func TestEveryGuaranteeNamesATest(t *testing.T) {
	found, err := CheckGuarantees(repository(t), "docs/threat-model.md")
	report(t, found, err)
}

func TestEveryCitedDecisionIsListed(t *testing.T) {
	found, err := CheckDecisions(repository(t), "docs/decisions.md")
	report(t, found, err)
}

// source is a minimal Go file that imports the given paths.
func source(name string, imports ...string) string {
	var b strings.Builder
	b.WriteString(licenceLine + "\n\npackage " + name + "\n\n")
	for _, p := range imports {
		b.WriteString("import _ \"" + strings.Replace(p, "~", module, 1) + "\"\n")
	}
	return b.String()
}

// code is a Go file with a body below its imports.
func code(name, body string, imports ...string) string {
	src := source(name)
	for _, p := range imports {
		src += "import \"" + p + "\"\n"
	}
	return src + body
}

func TestForbiddenImportsAreFound(t *testing.T) {
	for _, c := range []struct{ file, imports, rule string }{
		// Our own packages: the table of docs/architecture.md.
		{"internal/limits/a.go", "~/evidence", "import"},
		{"evidence/a.go", "~/verdict", "import"},
		{"evidence/a.go", "~", "import"},
		{"trust/a.go", "~/evidence", "import"},
		{"verdict/a.go", "~/verifiers", "import"},
		{"verdict/a.go", "~/orchestrator", "import"},
		{"corim/a.go", "~/verdict", "import"},
		{"endorsements/a.go", "~/evidence", "import"},
		{"audit/a.go", "~/fabric", "import"},
		{"policy/a.go", "~/orchestrator", "import"},
		{"binding/a.go", "~/verifiers", "import"},
		{"binding/a.go", "~/trust", "import"},
		{"verifiers/a.go", "~/verifiers/inteltdx", "import"},
		{"verifiers/a.go", "~/fabric", "import"},
		{"verifiers/inteltdx/a.go", "~/verifiers/intelsgx", "import"},
		{"verifiers/inteltdx/a.go", "~/verifiers/all", "import"},
		{"verifiers/inteltdx/a.go", "~/fabric", "import"},
		{"verifiers/inteltdx/a.go", "~/orchestrator", "import"},
		{"verifiers/inteltdx/a.go", "~/topologies", "import"},
		{"verifiers/inteltdx/a.go", "~/trust", "import"},
		{"verifiers/inteltdx/a.go", "~/verifiers/verifiertest", "import"},
		{"verifiers/inteltdx/a_test.go", "~/verifiers/intelsgx", "import"},
		{"verifiers/inteltdx/a_test.go", "~/fabric", "import"},
		{"verifiers/inteltdx/abi/a.go", "~/verifiers/intelsgx/abi", "import"},
		{"verifiers/remote/nras/a.go", "~/verifiers/remote/ita", "import"},
		{"verifiers/verifiertest/a.go", "~/verifiers/inteltdx", "import"},
		{"topologies/a.go", "~/orchestrator", "import"},
		{"topologies/a.go", "~/fabric", "import"},
		{"orchestrator/a.go", "~/fabric", "import"},
		{"orchestrator/a.go", "~/api", "import"},
		{"orchestrator/a.go", "~/verifiers/all", "import"},
		{"orchestrator/a_test.go", "~/fabric", "import"},
		{"fabric/a.go", "~/orchestrator", "import"},
		{"fabric/a.go", "~/topologies", "import"},
		{"fabric/a_test.go", "~/orchestrator", "import"},
		{"api/a.go", "~/fabric", "import"},
		{"api/a.go", "~/binding", "import"},
		{"attester/a.go", "~/orchestrator", "import"},
		{"schemas/a.go", "~/verdict", "import"},
		{"verdict/a.go", "~/internal/vectors", "import"},
		{"newcomer/a.go", "fmt", "import"},
		{"a.go", "fmt", "import"},

		// What is outside the module.
		{"orchestrator/a.go", "github.com/nats-io/nats.go", "external"},
		{"orchestrator/a_test.go", "github.com/nats-io/nats.go", "external"},
		{"api/a.go", "github.com/nats-io/nats.go/jetstream", "external"},
		{"trust/a.go", "github.com/nats-io/nkeys", "external"},
		{"verifiers/a.go", "github.com/nats-io/jwt/v2", "external"},
		{"fabric/a.go", "github.com/nats-io/nats-server/v2/server", "external"},
		{"orchestrator/a_test.go", "github.com/nats-io/nats-server/v2/server", "external"},
		{"integration/a.go", "github.com/nats-io/nats-server/v2/server", "external"},
		{"fabric/a.go", "net/http", "external"},
		{"orchestrator/a.go", "net/http", "external"},
		{"verifiers/inteltdx/a.go", "net/http", "external"},
		{"endorsements/a.go", "net/http", "external"},
		{"orchestrator/a.go", "net/http/httptest", "external"},
		{"evidence/a.go", "net", "external"},
		{"orchestrator/a.go", "net/rpc", "external"},
		{"orchestrator/a.go", "github.com/open-policy-agent/opa/v1/rego", "external"},
		{"orchestrator/a.go", "github.com/spf13/cobra", "external"},
		{"fabric/a.go", "go.uber.org/goleak", "external"},
		{"evidence/a.go", "unsafe", "external"},
		{"evidence/a_test.go", "unsafe", "external"},
		{"verifiers/a.go", "plugin", "external"},

		// What is fine.
		{"evidence/a.go", "~/internal/limits", ""},
		{"evidence/a_test.go", "~/internal/vectors", ""},
		{"evidence/a_test.go", "~/evidence", ""},
		{"verdict/a.go", "~/trust", ""},
		{"verifiers/inteltdx/a.go", "~/verifiers/inteltdx/abi", ""},
		{"verifiers/inteltdx/a.go", "~/verdict", ""},
		{"verifiers/inteltdx/a_test.go", "~/verifiers/verifiertest", ""},
		{"verifiers/remote/nras/a.go", "~/verifiers/remote", ""},
		{"verifiers/all/a.go", "~/verifiers/inteltdx", ""},
		{"orchestrator/a.go", "~/topologies", ""},
		{"orchestrator/a_test.go", "net/http", ""},
		{"fabric/a.go", "github.com/nats-io/nats.go/micro", ""},
		{"fabric/a_test.go", "github.com/nats-io/nats-server/v2/server", ""},
		{"fabric/a_test.go", "~/fabric/embed", ""},
		{"fabric/embed/a.go", "github.com/nats-io/nats-server/v2/server", ""},
		{"fabric/a_test.go", "go.uber.org/goleak", ""},
		{"endorsements/pcs/a.go", "net/http", ""},
		{"evidence/a.go", "net/url", ""},
		{"cmd/assize/a.go", "~/verifiers/all", ""},
		{"integration/a_test.go", "~/fabric/embed", ""},
		{"api/a.go", "net/http", ""},
		{"evidence/a.go", "github.com/assize/assize-elsewhere", ""},
	} {
		t.Run(c.file+" imports "+c.imports, func(t *testing.T) {
			expect(t, fstest.MapFS{c.file: {Data: []byte(source("a", c.imports))}}, c.rule)
		})
	}
}

func TestForbiddenCodeIsFound(t *testing.T) {
	long := strings.Repeat("\n", maxLines)
	for _, c := range []struct{ name, file, src, rule string }{
		{"init", "evidence/a.go", code("evidence", "func init() {}\n"), "init"},
		{"init in a test", "evidence/a_test.go", code("evidence", "func init() {}\n"), "init"},
		{"init in main", "cmd/assize/a.go", code("main", "func init() {}\n"), ""},
		{"method init", "evidence/a.go", code("evidence", "type t int\nfunc (t) init() {}\n"), ""},
		{"panic", "fabric/a.go", code("fabric", "func f() { panic(1) }\n"), "panic"},
		{"panic in a variable", "fabric/a.go", code("fabric", "var f = func() { panic(1) }\n"), "panic"},
		{"panic in a test", "fabric/a_test.go", code("fabric", "func f() { panic(1) }\n"), ""},
		{"method panic", "fabric/a.go", code("fabric", "func f(x t) { x.panic(1) }\n"), ""},
		{"exit", "api/a.go", code("api", "func f() { os.Exit(1) }\n", "os"), "exit"},
		{"log.Fatal", "api/a.go", code("api", "func f() { log.Fatal(1) }\n", "log"), "exit"},
		{"exit in main", "cmd/assize/a.go", code("main", "func f() { os.Exit(1) }\n", "os"), ""},
		{"clock", "evidence/a.go", code("evidence", "var now = time.Now()\n", "time"), "pure"},
		{"clock as a value", "verifiers/inteltdx/a.go", code("inteltdx", "var now = time.Now\n", "time"), "pure"},
		{"clock by another name", "trust/a.go", source("trust") + "import t \"time\"\nvar now = t.Now()\n", "pure"},
		{"elapsed", "topologies/a.go", code("topologies", "func f(t time.Time) { time.Since(t) }\n", "time"), "pure"},
		{"duration", "topologies/a.go", code("topologies", "const d = time.Second\n", "time"), ""},
		{"clock at the edge", "fabric/a.go", code("fabric", "var now = time.Now\n", "time"), ""},
		{"clock in a test", "evidence/a_test.go", code("evidence", "var now = time.Now()\n", "time"), ""},
		{"random bytes", "trust/a.go", code("trust", "var r = rand.Reader\n", "crypto/rand"), "pure"},
		{"dice", "binding/a.go", code("binding", "var r = rand.Int()\n", "math/rand"), "pure"},
		{"dice, second edition", "corim/a.go", code("corim", "var r = rand.Int()\n", "math/rand/v2"), "pure"},
		{"random bytes at the edge", "orchestrator/a.go", code("orchestrator", "var r = rand.Reader\n", "crypto/rand"), ""},
		{"a parameter called rand", "trust/a.go", code("trust", "func f(rand r) { rand.Read(nil) }\n"), ""},
		{"dot import", "evidence/a.go", source("evidence") + "import . \"time\"\n", "import"},
		{"vague package", "evidence/a.go", source("util"), "name"},
		{"vague test package", "evidence/a_test.go", source("common_test"), "name"},
		{"vague folder", "evidence/helpers/a.go", source("a"), "name"},
		{"no licence", "evidence/a.go", "package evidence\n", "licence"},
		{"licence below", "evidence/a.go", "\n" + source("evidence"), "licence"},
		{"too long", "evidence/a.go", source("evidence") + long, "length"},
		{"testdata is not code", "evidence/testdata/a.go", "package util\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, fstest.MapFS{c.file: {Data: []byte(c.src)}}, c.rule)
		})
	}
}

func TestNestedModulesAreLeftOut(t *testing.T) {
	expect(t, fstest.MapFS{
		"integration/foreign/go.mod": {Data: []byte("module foreign\n")},
		"integration/foreign/a.go":   {Data: []byte("package util\n")},
	}, "")
}

func TestUnreadableSourceIsAnError(t *testing.T) {
	if _, err := Check(fstest.MapFS{"evidence/a.go": {Data: []byte("not Go")}}, module); err == nil {
		t.Error("no error for a file that does not parse")
	}
}

// expect wants exactly one finding, of the rule; none where rule is "".
func expect(t *testing.T, tree fstest.MapFS, rule string) {
	t.Helper()
	found, err := Check(tree, module)
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	if rule == "" {
		want = 0
	}
	if len(found) != want || (want == 1 && found[0].Rule != rule) {
		t.Errorf("findings %v, want %d of rule %q", found, want, rule)
	}
}

func TestBrokenGuaranteesAreFound(t *testing.T) {
	const good = "| G-01 | fine | (test: evidence.TestParse) |\n"
	for _, c := range []struct{ name, doc, detail string }{
		{"fine", good, ""},
		{"two tests", good + "| G-02 | x | (test: evidence.TestParse, evidence.FuzzParse) |\n", ""},
		{"no test named", "| G-01 | x | |\n", "names no test"},
		{"no such test", "| G-01 | x | (test: evidence.TestOther) |\n", "no test evidence.TestOther"},
		{"a function that is no test", "| G-01 | x | (test: evidence.Parse) |\n", "not of the form"},
		{"test of another folder", "| G-01 | x | (test: verdict.TestParse) |\n", "no test verdict.TestParse"},
		{"empty mark", "| G-01 | x | (test: ) |\n", "not of the form"},
		{"gap", good + "| G-03 | x | (test: evidence.TestParse) |\n", "G-03 stands where G-02"},
		{"twice", good + good, "G-01 stands where G-02"},
		{"in the text", good + "as (test: evidence.TestNone) shows\n", "no test evidence.TestNone"},
		{"nothing", "# Threat model\n", "no guarantee"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := CheckGuarantees(fstest.MapFS{
				"doc.md":             {Data: []byte(c.doc)},
				"evidence/a.go":      {Data: []byte(code("evidence", "func TestOther() {}\n"))},
				"evidence/a_test.go": {Data: []byte(code("evidence", "func TestParse() {}\nfunc FuzzParse() {}\n"))},
			}, "doc.md")
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.detail == "" && len(found) != 0:
				t.Errorf("findings %v, want none", found)
			case c.detail != "" && (len(found) != 1 || !strings.Contains(found[0].Detail, c.detail)):
				t.Errorf("findings %v, want one with %q", found, c.detail)
			}
		})
	}
}

func TestUnlistedDecisionsAreFound(t *testing.T) {
	for _, c := range []struct {
		doc  string
		want int
	}{
		{"| D-16 | x |\n| D-39 | y |\n", 0},
		{"| D-16 | x |\n", 1},
		{"| D-16 | x |\n| D-16 | x |\n| D-39 | y |\n", 1},
	} {
		found, err := CheckDecisions(fstest.MapFS{
			"d.md":         {Data: []byte(c.doc)},
			"verdict/a.go": {Data: []byte(code("verdict", "// f does what D-16 says, and D-39.\nfunc f() {}\n"))},
		}, "d.md")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != c.want {
			t.Errorf("%q: findings %v, want %d", c.doc, found, c.want)
		}
	}
}
