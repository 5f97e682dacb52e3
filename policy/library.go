// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// shipped are the policies of the library and their tests.
//
//go:embed library/*.rego
var shipped embed.FS

const testSuffix = "_test.rego"

// Names are the names of the policies in the library, sorted.
func Names() []string {
	files, err := fs.Glob(shipped, "library/*.rego")
	if err != nil {
		return nil
	}
	var out []string
	for _, f := range files {
		if !strings.HasSuffix(f, testSuffix) {
			out = append(out, ID(f))
		}
	}
	slices.Sort(out)
	return out
}

// Library loads a policy of the library; see Names.
func Library(name string) (*Policy, error) { return Options{}.Library(name) }

// Library loads a policy of the library with these options.
func (o Options) Library(name string) (*Policy, error) {
	text, _, err := Source(name)
	if err != nil {
		return nil, err
	}
	return o.Load(name, text)
}

// Source is the text of a policy of the library, and that of its tests.
func Source(name string) (text, tests []byte, err error) {
	if !slices.Contains(Names(), name) {
		return nil, nil, fmt.Errorf("policy: no policy %.80q in the library, there are %s", name, strings.Join(Names(), ", "))
	}
	if text, err = shipped.ReadFile("library/" + name + ".rego"); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	if tests, err = shipped.ReadFile("library/" + name + testSuffix); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	return text, tests, nil
}
