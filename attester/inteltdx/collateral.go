// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Statuses of TCB levels.
const (
	statusUpToDate  = "UpToDate"
	statusOutOfDate = "OutOfDate"
)

// evaluationNumber is the TCB evaluation data number of the collateral.
const evaluationNumber = 18

// collateralSet has the members and the order of a set as it is passed around
// offline; signatures and revocation lists are hexadecimal, chains PEM.
type collateralSet struct {
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

type component struct {
	SVN      int    `json:"svn"`
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
}

type levelTCB struct {
	SGX    []component `json:"sgxtcbcomponents,omitempty"`
	PCESVN *int        `json:"pcesvn,omitempty"`
	TDX    []component `json:"tdxtcbcomponents,omitempty"`
	ISVSVN *int        `json:"isvsvn,omitempty"`
}

type tcbLevel struct {
	TCB        levelTCB `json:"tcb"`
	Date       string   `json:"tcbDate"`
	Status     string   `json:"tcbStatus"`
	Advisories []string `json:"advisoryIDs,omitempty"`
}

type module struct {
	ID             string     `json:"id,omitempty"`
	MRSigner       string     `json:"mrsigner"`
	Attributes     string     `json:"attributes"`
	AttributesMask string     `json:"attributesMask"`
	Levels         []tcbLevel `json:"tcbLevels,omitempty"`
}

type tcbInfo struct {
	ID               string     `json:"id"`
	Version          int        `json:"version"`
	IssueDate        string     `json:"issueDate"`
	NextUpdate       string     `json:"nextUpdate"`
	FMSPC            string     `json:"fmspc"`
	PCEID            string     `json:"pceId"`
	TCBType          int        `json:"tcbType"`
	EvaluationNumber int        `json:"tcbEvaluationDataNumber"`
	Module           module     `json:"tdxModule"`
	Modules          []module   `json:"tdxModuleIdentities"`
	Levels           []tcbLevel `json:"tcbLevels"`
}

type qeIdentity struct {
	ID               string     `json:"id"`
	Version          int        `json:"version"`
	IssueDate        string     `json:"issueDate"`
	NextUpdate       string     `json:"nextUpdate"`
	EvaluationNumber int        `json:"tcbEvaluationDataNumber"`
	MiscSelect       string     `json:"miscselect"`
	MiscSelectMask   string     `json:"miscselectMask"`
	Attributes       string     `json:"attributes"`
	AttributesMask   string     `json:"attributesMask"`
	MRSigner         string     `json:"mrsigner"`
	ProdID           int        `json:"isvprodid"`
	Levels           []tcbLevel `json:"tcbLevels"`
}

// dates of one set of collateral. All begin at midnight (UTC), so that machines
// of one day have the same collateral.
type dates struct {
	issue, next         time.Time // 30 days around now
	rootIssue, rootNext time.Time // about a year around now
	// good, old and ancient are the dates of the three TCB levels.
	good, old, ancient time.Time
}

func newDates(now time.Time) dates {
	now = now.UTC()
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	d := dates{issue: day.AddDate(0, 0, -10), rootIssue: day.AddDate(0, -6, 0)}
	d.next, d.rootNext = d.issue.AddDate(0, 0, 30), d.rootIssue.AddDate(0, 0, 379)
	year := func(n int) time.Time { return time.Date(now.Year()-n, 1, 10, 0, 0, 0, 0, time.UTC) }
	d.good, d.old, d.ancient = year(1), year(2), year(8)
	return d
}

// newCollateral makes the set of collateral that judges the platform.
func newCollateral(a authorities, o *Options, pck *pki.Authority) ([]byte, error) {
	d := newDates(o.Now)
	var revoked []*big.Int
	if o.Revoked {
		revoked = append(revoked, pck.Cert.SerialNumber)
	}
	pckCRL, err := a.platform.CRL(1, d.issue, d.next, revoked...)
	if err != nil {
		return nil, err
	}
	rootCRL, err := a.root.CRL(1, d.rootIssue, d.rootNext)
	if err != nil {
		return nil, err
	}
	signing := string(pki.PEM(a.signing.Cert, a.root.Cert))
	s := collateralSet{
		PCKCRL: hex.EncodeToString(pckCRL), PCKCRLIssuerChain: string(pki.PEM(a.platform.Cert, a.root.Cert)),
		RootCACRL: hex.EncodeToString(rootCRL), TCBInfoIssuerChain: signing, QEIdentityChain: signing,
	}
	if s.TCBInfo, s.TCBInfoSignature, err = signedJSON(a.signing, newTCBInfo(d)); err != nil {
		return nil, err
	}
	if s.QEIdentity, s.QEIdentitySignature, err = signedJSON(a.signing, newQEIdentity(d)); err != nil {
		return nil, err
	}
	out, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("inteltdx: collateral: %w", err)
	}
	return out, nil
}

// signedJSON returns the exact text that is signed, and r||s in hexadecimal.
func signedJSON(by *pki.Authority, v any) (text, signature string, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", "", fmt.Errorf("inteltdx: collateral: %w", err)
	}
	key, ok := by.Key.(*ecdsa.PrivateKey)
	if !ok {
		return "", "", fmt.Errorf("inteltdx: signing key is a %T", by.Key)
	}
	digest := sha256.Sum256(raw)
	sig, err := pki.SignFixed(key, crypto.SHA256, digest[:])
	return string(raw), hex.EncodeToString(sig), err
}

func timestamp(t time.Time) string { return t.Format(time.RFC3339) }

// newTCBInfo has three levels: what honest platforms have, what those with
// OutdatedTCB have, and one far below.
func newTCBInfo(d dates) tcbInfo {
	advisories := []string{"INTEL-SA-99001", "INTEL-SA-99002"} // no such advisories exist
	intel := func(id string, levels ...tcbLevel) module {
		return module{ID: id, MRSigner: strings.Repeat("0", 2*RegisterSize), Attributes: strings.Repeat("0", 16),
			AttributesMask: strings.Repeat("F", 16), Levels: levels}
	}
	return tcbInfo{
		ID: "TDX", Version: 3, IssueDate: timestamp(d.issue), NextUpdate: timestamp(d.next),
		FMSPC: strings.ToUpper(hex.EncodeToString(fmspc[:])), PCEID: "0000", EvaluationNumber: evaluationNumber,
		Module: intel(""),
		Modules: []module{
			intel("TDX_03", isvLevel(3, d.good, statusUpToDate)),
			intel("TDX_01", isvLevel(int(currentTCB.tee[0]), d.good, statusUpToDate),
				isvLevel(int(outdatedTCB.tee[0]), d.old, statusOutOfDate, advisories...)),
		},
		Levels: []tcbLevel{
			platformLevel(currentTCB, d.good, statusUpToDate),
			platformLevel(outdatedTCB, d.old, statusOutOfDate, advisories...),
			platformLevel(ancientTCB, d.ancient, statusOutOfDate, append([]string{"INTEL-SA-99000"}, advisories...)...),
		},
	}
}

func newQEIdentity(d dates) qeIdentity {
	return qeIdentity{
		ID: "TD_QE", Version: 2, IssueDate: timestamp(d.issue), NextUpdate: timestamp(d.next), EvaluationNumber: evaluationNumber,
		MiscSelect: "00000000", MiscSelectMask: "FFFFFFFF",
		Attributes: "11000000000000000000000000000000", AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
		MRSigner: strings.ToUpper(hex.EncodeToString(qeSigner[:])), ProdID: qeProduct,
		Levels: []tcbLevel{isvLevel(4, d.good, statusUpToDate)},
	}
}

func isvLevel(svn int, date time.Time, status string, advisories ...string) tcbLevel {
	return tcbLevel{TCB: levelTCB{ISVSVN: &svn}, Date: timestamp(date), Status: status, Advisories: advisories}
}

func platformLevel(t tcb, date time.Time, status string, advisories ...string) tcbLevel {
	const bios, host, tdx = "BIOS", "OS/VMM", "TDX Module"
	sgx, tee := make([]component, 16), make([]component, 16)
	copy(sgx, []component{
		{0, bios, "Early Microcode Update"}, {0, host, "SGX Late Microcode Update"}, {0, host, "TXT SINIT"},
		{0, bios, ""}, {0, bios, ""}, {0, bios, ""}, {0, "", ""}, {0, host, "SEAMLDR ACM"},
	})
	copy(tee, []component{{0, host, tdx}, {0, host, tdx}, {0, host, "TDX Late Microcode Update"}})
	for i := range sgx {
		sgx[i].SVN = int(t.sgx[i])
		tee[i].SVN = int(t.tee[i])
	}
	// The first two say something only about modules without a version of their
	// own, for which Intel's files ask for 5.
	tee[0].SVN, tee[1].SVN = 5, 0
	return tcbLevel{TCB: levelTCB{SGX: sgx, PCESVN: &t.pceSVN, TDX: tee}, Date: timestamp(date), Status: status, Advisories: advisories}
}
