// SPDX-License-Identifier: Apache-2.0

// Package all is the explicit list of schemes that this build contains.
package all

import (
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/amdsnp"
	"github.com/assize/assize/verifiers/armcca"
	"github.com/assize/assize/verifiers/awsnitro"
	"github.com/assize/assize/verifiers/intelsgx"
	"github.com/assize/assize/verifiers/inteltdx"
	"github.com/assize/assize/verifiers/nvidiagpu"
	"github.com/assize/assize/verifiers/nvidianvswitch"
	"github.com/assize/assize/verifiers/psa"
	"github.com/assize/assize/verifiers/spdm"
	"github.com/assize/assize/verifiers/tcgtpm"
)

// Schemes returns every scheme; a new vendor is one line here.
func Schemes() []verifiers.Scheme {
	return []verifiers.Scheme{
		amdsnp.Scheme(),
		armcca.Scheme(),
		awsnitro.Scheme(),
		intelsgx.Scheme(),
		inteltdx.Scheme(),
		nvidiagpu.Scheme(),
		nvidianvswitch.Scheme(),
		psa.Scheme(),
		spdm.Scheme(),
		tcgtpm.Scheme(),
	}
}

// Set returns every scheme as a checked set.
func Set() (*verifiers.Set, error) { return verifiers.NewSet(Schemes()...) }
