// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	_ "embed" // tcb.yaml
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/verifiers/internal/measuredboot"
)

// Values of the parameter revocation.
const (
	revocationRequired = "required"
	revocationOptional = "optional"
)

// Names of the fields that the parameter tcb_fields can have.
const (
	fieldReported  = "reported"
	fieldCommitted = "committed"
	fieldLaunch    = "launch"
	fieldCurrent   = "current"
)

// Parameters are the numbers by which findings are made.
type Parameters struct {
	// TCB are the levels by product line; the defaults are in tcb.yaml.
	TCB Levels `yaml:"tcb"`
	// TCBFields are the fields of the report that are compared with the levels:
	// reported, committed, launch, current.
	TCBFields []string `yaml:"tcb_fields"`
	// Revocation is "required" or "optional": whether the hardware can be
	// affirmed without a valid revocation list of the product line.
	Revocation string `yaml:"revocation"`
	// Products are the product lines that are accepted: Milan, Genoa, Turin.
	Products []string `yaml:"products"`
	// CSPIDs are the providers whose VLEKs are accepted, as certificates have
	// them, for example "CN=cc-us-east-2.amazonaws.com"; empty: any.
	CSPIDs []string `yaml:"csp_ids"`
	// VMPL is the privilege level at which the report has to be asked for.
	VMPL int `yaml:"vmpl"`
	// MinimumGuestSVN is the least GUEST_SVN.
	MinimumGuestSVN uint32 `yaml:"minimum_guest_svn"`
	// RequireIDBlock demands a launch with an identity block; IDKeys and
	// AuthorKeys are the digests of the keys that may sign it (SHA-384,
	// hexadecimal), empty: any, none included.
	RequireIDBlock bool     `yaml:"require_id_block"`
	IDKeys         []string `yaml:"id_keys"`
	AuthorKeys     []string `yaml:"author_keys"`
	// Mitigations are bits that LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR must
	// have.
	Mitigations Mitigations `yaml:"mitigations"`
	GuestPolicy GuestPolicy `yaml:"guest_policy"`
	Platform    Platform    `yaml:"platform"`
	// PCRs are the registers of a virtual TPM that have to be proven, for machines
	// whose report measures a paravisor (Azure).
	PCRs measuredboot.Parameters `yaml:"pcrs"`
}

// Levels are TCB levels of one date.
type Levels struct {
	Date  string `yaml:"date"`
	Milan Level  `yaml:"milan"`
	Genoa Level  `yaml:"genoa"`
	Turin Level  `yaml:"turin"`
}

// Level is what one product line should have, component by component. A
// recommendation of zeros is none.
type Level struct {
	Source      string `yaml:"source"`
	Recommended TCB    `yaml:"recommended"`
	Floor       TCB    `yaml:"floor"`
}

// Mitigations are bit masks.
type Mitigations struct {
	Launch  uint64 `yaml:"launch"`
	Current uint64 `yaml:"current"`
}

// GuestPolicy is what the policy of the guest may allow and must demand.
type GuestPolicy struct {
	AllowSMT               bool `yaml:"allow_smt"`
	AllowMigrationAgent    bool `yaml:"allow_migration_agent"`
	AllowCXL               bool `yaml:"allow_cxl"`
	RequireSingleSocket    bool `yaml:"require_single_socket"`
	RequireAES256          bool `yaml:"require_aes_256_xts"`
	RequireRAPLDisabled    bool `yaml:"require_rapl_disabled"`
	RequireCiphertextHide  bool `yaml:"require_ciphertext_hiding"`
	RequirePageSwapDisable bool `yaml:"require_page_swap_disabled"`
	// MinimumABI is the least ABI version that a guest may ask for, major before
	// minor.
	MinimumABI [2]uint8 `yaml:"minimum_abi,flow"`
}

// Platform is what the platform may and must have.
type Platform struct {
	AllowSMT              bool `yaml:"allow_smt"`
	RequireTSME           bool `yaml:"require_tsme"`
	RequireECC            bool `yaml:"require_ecc"`
	RequireRAPLDisabled   bool `yaml:"require_rapl_disabled"`
	RequireCiphertextHide bool `yaml:"require_ciphertext_hiding"`
	RequireAliasCheck     bool `yaml:"require_alias_check"`
}

//go:embed tcb.yaml
var tcbFile []byte

// defaultParameters are those of this build. A broken tcb.yaml gives levels
// without a date, which Check refuses; a test reads the file.
func defaultParameters() Parameters {
	levels, err := readLevels(tcbFile)
	if err != nil {
		levels = Levels{}
	}
	return Parameters{
		TCB: levels, TCBFields: []string{fieldReported, fieldCommitted, fieldLaunch},
		Revocation: revocationOptional, Products: slices.Clone(productNames[productMilan:]), CSPIDs: []string{}, IDKeys: []string{}, AuthorKeys: []string{},
		GuestPolicy: GuestPolicy{AllowSMT: true},
		Platform:    Platform{AllowSMT: true, RequireAliasCheck: true},
		PCRs:        measuredboot.Defaults(),
	}
}

func readLevels(raw []byte) (l Levels, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err = dec.Decode(&l)
	return l, err
}

// level is that of a product line.
func (l *Levels) level(p product) Level {
	return [numProducts]Level{productMilan: l.Milan, productGenoa: l.Genoa, productTurin: l.Turin}[p]
}

// Check says what is wrong with parameters that an operator wrote.
func (p Parameters) Check() error {
	switch {
	case p.Revocation != revocationRequired && p.Revocation != revocationOptional:
		return fmt.Errorf("revocation is %q, not %q or %q", p.Revocation, revocationRequired, revocationOptional)
	case p.VMPL < 0 || p.VMPL > maxVMPL:
		return fmt.Errorf("vmpl is %d, not 0 to %d", p.VMPL, maxVMPL)
	case p.TCB.Date == "":
		return errors.New("tcb has no date")
	case !slices.Contains(p.TCBFields, fieldReported):
		return fmt.Errorf("tcb_fields lacks %s, the one TCB that the endorsement key proves", fieldReported)
	}
	if err := p.PCRs.Check(); err != nil {
		return fmt.Errorf("pcrs: %w", err)
	}
	for _, name := range p.Products {
		if productOf(name).String() != name || productOf(name) == productUnknown {
			return fmt.Errorf("products: no line %q", name)
		}
	}
	for _, f := range p.TCBFields {
		if !slices.Contains([]string{fieldReported, fieldCommitted, fieldLaunch, fieldCurrent}, f) {
			return fmt.Errorf("tcb_fields: no field %q", f)
		}
	}
	for l := productMilan; l < numProducts; l++ {
		level := p.TCB.level(l)
		if l != productTurin && (level.Recommended.FMC != 0 || level.Floor.FMC != 0) {
			return fmt.Errorf("tcb: %s has no FMC", l)
		}
		least := level.Floor.bytes(l)
		if why := l.below(level.Recommended.bytes(l), least); why != "" && level.Recommended != (TCB{}) {
			return fmt.Errorf("tcb: %s is recommended below its floor: %s", l, why)
		}
	}
	for _, list := range [][]string{p.IDKeys, p.AuthorKeys} {
		for _, d := range list {
			if raw, err := hex.DecodeString(d); err != nil || len(raw) != 48 || hex.EncodeToString(raw) != d {
				return fmt.Errorf("%.100q is no SHA-384 in lower-case hexadecimal", d)
			}
		}
	}
	return nil
}
