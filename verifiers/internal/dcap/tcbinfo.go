// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// hexBytes is a hexadecimal string of Intel's JSON, upper or lower case.
type hexBytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// svn is one TCB component; a missing number is noticed.
type svn struct {
	SVN *uint8 `json:"svn"`
}

// level is one TCB level of a platform, a TDX module or a QE.
type level struct {
	TCB struct {
		SGX    []svn   `json:"sgxtcbcomponents"`
		TDX    []svn   `json:"tdxtcbcomponents"`
		PCESVN *uint16 `json:"pcesvn"`
		ISVSVN *uint16 `json:"isvsvn"`
	} `json:"tcb"`
	Date       time.Time `json:"tcbDate"`
	Status     *Status   `json:"tcbStatus"`
	Advisories []string  `json:"advisoryIDs"`
}

// module says who signs a TDX module and what it may be.
type module struct {
	ID             string   `json:"id"`
	MRSigner       hexBytes `json:"mrsigner"`
	Attributes     hexBytes `json:"attributes"`
	AttributesMask hexBytes `json:"attributesMask"`
	Levels         []level  `json:"tcbLevels"`
}

// tcbInfo is Intel's TCB info, version 3 (Intel PCS API version 4). Modules are
// for TDX.
type tcbInfo struct {
	ID               string    `json:"id"`
	Version          int       `json:"version"`
	IssueDate        time.Time `json:"issueDate"`
	NextUpdate       time.Time `json:"nextUpdate"`
	FMSPC            string    `json:"fmspc"`
	PCEID            string    `json:"pceId"`
	TCBType          int       `json:"tcbType"`
	EvaluationNumber int       `json:"tcbEvaluationDataNumber"`
	Module           module    `json:"tdxModule"`
	Modules          []module  `json:"tdxModuleIdentities"`
	Levels           []level   `json:"tcbLevels"`
}

// qeIdentity is Intel's enclave identity, version 2, of a quoting enclave.
type qeIdentity struct {
	ID               string    `json:"id"`
	Version          int       `json:"version"`
	IssueDate        time.Time `json:"issueDate"`
	NextUpdate       time.Time `json:"nextUpdate"`
	EvaluationNumber int       `json:"tcbEvaluationDataNumber"`
	MiscSelect       hexBytes  `json:"miscselect"`
	MiscSelectMask   hexBytes  `json:"miscselectMask"`
	Attributes       hexBytes  `json:"attributes"`
	AttributesMask   hexBytes  `json:"attributesMask"`
	MRSigner         hexBytes  `json:"mrsigner"`
	ProdID           *uint16   `json:"isvprodid"`
	Levels           []level   `json:"tcbLevels"`
}

// qeID is the id of the quoting enclave's identity.
func (t TEE) qeID() string {
	if t == TDX {
		return "TD_QE"
	}
	return "QE"
}

// forOther says whether a signed value is for the other TEE, which is no fault of
// it. Nothing is trusted here: such a value is not used.
func forOther(raw []byte, ids ...string) bool {
	var v struct {
		ID string `json:"id"`
	}
	return json.Unmarshal(raw, &v) == nil && slices.Contains(ids, v.ID)
}

func (t *tcbInfo) check(tee TEE) error {
	if t.ID != tee.String() || t.Version != 3 || t.TCBType != 0 {
		return fmt.Errorf("TCB info has id %q version %d type %d, expected %q version 3 type 0", t.ID, t.Version, t.TCBType, tee)
	}
	if err := checkPlatformLevels(t.Levels, tee); err != nil {
		return fmt.Errorf("TCB info: %w", err)
	}
	if tee != TDX {
		return nil
	}
	if err := checkModules(t.Module, t.Modules); err != nil {
		return fmt.Errorf("TCB info: %w", err)
	}
	return nil
}

func (q *qeIdentity) check(tee TEE) error {
	if q.ID != tee.qeID() || q.Version != 2 {
		return fmt.Errorf("QE identity has id %q version %d, expected %q version 2", q.ID, q.Version, tee.qeID())
	}
	if len(q.MRSigner) != 32 || q.ProdID == nil || len(q.MiscSelect) != 4 || len(q.MiscSelectMask) != 4 ||
		len(q.Attributes) != 16 || len(q.AttributesMask) != 16 {
		return errors.New("QE identity is incomplete")
	}
	if err := checkISVLevels(q.Levels); err != nil {
		return fmt.Errorf("QE identity: %w", err)
	}
	return nil
}

// maskedEqual compares have under mask with want. A wanted bit outside of the
// mask never matches, as in Intel's library.
func maskedEqual(have, want, mask []byte) bool {
	if len(have) != len(want) || len(have) != len(mask) {
		return false
	}
	for i := range have {
		if have[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}
