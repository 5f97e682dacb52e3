// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Statuses of TCB levels.
const (
	UpToDate        = "UpToDate"
	SWHardening     = "SWHardeningNeeded"
	Configuration   = "ConfigurationNeeded"
	ConfigurationSW = "ConfigurationAndSWHardeningNeeded"
	OutOfDate       = "OutOfDate"
	OutOfDateConfig = "OutOfDateConfigurationNeeded"
	Revoked         = "Revoked"
)

// EvaluationNumber is the TCB evaluation data number of the collateral.
const EvaluationNumber = 18

// set has the members and the order of a set as it is passed around offline;
// signatures and revocation lists are hexadecimal, chains PEM.
type set struct {
	PCKCRLIssuerChain   string `json:"pck_crl_issuer_chain"`
	RootCACRL           string `json:"root_ca_crl"`
	PCKCRL              string `json:"pck_crl"`
	TCBInfoIssuerChain  string `json:"tcb_info_issuer_chain"`
	TCBInfo             string `json:"tcb_info"`
	TCBInfoSignature    string `json:"tcb_info_signature"`
	QEIdentityChain     string `json:"qe_identity_issuer_chain"`
	QEIdentity          string `json:"qe_identity"`
	QEIdentitySignature string `json:"qe_identity_signature"`
}

// Component is one security version number of a level.
type Component struct {
	SVN      int    `json:"svn"`
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
}

// LevelTCB is what a level asks for.
type LevelTCB struct {
	SGX    []Component `json:"sgxtcbcomponents,omitempty"`
	PCESVN *int        `json:"pcesvn,omitempty"`
	TDX    []Component `json:"tdxtcbcomponents,omitempty"`
	ISVSVN *int        `json:"isvsvn,omitempty"`
}

// Level is one TCB level of a platform, a TDX module or a quoting enclave.
type Level struct {
	TCB        LevelTCB `json:"tcb"`
	Date       string   `json:"tcbDate"`
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs,omitempty"`
}

// Module says who signs a TDX module and what it may be.
type Module struct {
	ID             string  `json:"id,omitempty"`
	MRSigner       string  `json:"mrsigner"`
	Attributes     string  `json:"attributes"`
	AttributesMask string  `json:"attributesMask"`
	Levels         []Level `json:"tcbLevels,omitempty"`
}

// TCBInfo is Intel's TCB info, version 3; that for SGX has no modules.
type TCBInfo struct {
	ID               string   `json:"id"`
	Version          int      `json:"version"`
	IssueDate        string   `json:"issueDate"`
	NextUpdate       string   `json:"nextUpdate"`
	FMSPC            string   `json:"fmspc"`
	PCEID            string   `json:"pceId"`
	TCBType          int      `json:"tcbType"`
	EvaluationNumber int      `json:"tcbEvaluationDataNumber"`
	Module           *Module  `json:"tdxModule,omitempty"`
	Modules          []Module `json:"tdxModuleIdentities,omitempty"`
	Levels           []Level  `json:"tcbLevels"`
}

// QEIdentity is Intel's enclave identity, version 2.
type QEIdentity struct {
	ID               string  `json:"id"`
	Version          int     `json:"version"`
	IssueDate        string  `json:"issueDate"`
	NextUpdate       string  `json:"nextUpdate"`
	EvaluationNumber int     `json:"tcbEvaluationDataNumber"`
	MiscSelect       string  `json:"miscselect"`
	MiscSelectMask   string  `json:"miscselectMask"`
	Attributes       string  `json:"attributes"`
	AttributesMask   string  `json:"attributesMask"`
	MRSigner         string  `json:"mrsigner"`
	ProdID           int     `json:"isvprodid"`
	Levels           []Level `json:"tcbLevels"`
}

// Dates of one set of collateral. All begin at midnight (UTC), so that machines
// of one day have the same collateral.
type Dates struct {
	Issue, Next         time.Time // 30 days around now
	RootIssue, RootNext time.Time // about a year around now
	// Good, Old and Ancient are the dates of TCB levels.
	Good, Old, Ancient time.Time
}

// NewDates are those around now.
func NewDates(now time.Time) Dates {
	now = now.UTC()
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	d := Dates{Issue: day.AddDate(0, 0, -10), RootIssue: day.AddDate(0, -6, 0)}
	d.Next, d.RootNext = d.Issue.AddDate(0, 0, 30), d.RootIssue.AddDate(0, 0, 379)
	year := func(n int) time.Time { return time.Date(now.Year()-n, 1, 10, 0, 0, 0, 0, time.UTC) }
	d.Good, d.Old, d.Ancient = year(1), year(2), year(8)
	return d
}

// Collateral is what judges a platform.
type Collateral struct {
	Dates      Dates
	CA         CA
	TCBInfo    TCBInfo
	QEIdentity QEIdentity
	// RevokedPCK and RevokedCA are serial numbers on the lists of the PCK CA and
	// of the root.
	RevokedPCK, RevokedCA []*big.Int
}

// Collateral makes the signed set in one JSON object.
func (a Authorities) Collateral(c Collateral) ([]byte, error) {
	issuer := a.Issuer(c.CA)
	pckCRL, err := issuer.CRL(1, c.Dates.Issue, c.Dates.Next, c.RevokedPCK...)
	if err != nil {
		return nil, err
	}
	rootCRL, err := a.Root.CRL(1, c.Dates.RootIssue, c.Dates.RootNext, c.RevokedCA...)
	if err != nil {
		return nil, err
	}
	signing := string(pki.PEM(a.Signing.Cert, a.Root.Cert))
	s := set{
		PCKCRL: hex.EncodeToString(pckCRL), PCKCRLIssuerChain: string(pki.PEM(issuer.Cert, a.Root.Cert)),
		RootCACRL: hex.EncodeToString(rootCRL), TCBInfoIssuerChain: signing, QEIdentityChain: signing,
	}
	if s.TCBInfo, s.TCBInfoSignature, err = signedJSON(a.Signing, c.TCBInfo); err != nil {
		return nil, err
	}
	if s.QEIdentity, s.QEIdentitySignature, err = signedJSON(a.Signing, c.QEIdentity); err != nil {
		return nil, err
	}
	out, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("dcap: collateral: %w", err)
	}
	return out, nil
}

// signedJSON returns the exact text that is signed, and r||s in hexadecimal.
func signedJSON(by *pki.Authority, v any) (text, signature string, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", "", fmt.Errorf("dcap: collateral: %w", err)
	}
	key, ok := by.Key.(*ecdsa.PrivateKey)
	if !ok {
		return "", "", fmt.Errorf("dcap: signing key is a %T", by.Key)
	}
	digest := sha256.Sum256(raw)
	sig, err := pki.SignFixed(key, crypto.SHA256, digest[:])
	return string(raw), hex.EncodeToString(sig), err
}

// Timestamp is a time as Intel's JSON has it.
func Timestamp(t time.Time) string { return t.Format(time.RFC3339) }

// ISVLevel is a level of an enclave or of a TDX module.
func ISVLevel(svn int, date time.Time, status string, advisories ...string) Level {
	return Level{TCB: LevelTCB{ISVSVN: &svn}, Date: Timestamp(date), Status: status, Advisories: advisories}
}

// PlatformLevel is a level of a platform with SGX components alone; TDX
// components can be added to it.
func PlatformLevel(t TCB, date time.Time, status string, advisories ...string) Level {
	const bios, host = "BIOS", "OS/VMM"
	sgx := make([]Component, 16)
	copy(sgx, []Component{
		{0, bios, "Early Microcode Update"}, {0, host, "SGX Late Microcode Update"}, {0, host, "TXT SINIT"},
		{0, bios, ""}, {0, bios, ""}, {0, bios, ""}, {0, "", ""}, {0, host, "SEAMLDR ACM"},
	})
	for i := range sgx {
		sgx[i].SVN = int(t.SGX[i])
	}
	pce := t.PCESVN
	return Level{TCB: LevelTCB{SGX: sgx, PCESVN: &pce}, Date: Timestamp(date), Status: status, Advisories: advisories}
}
