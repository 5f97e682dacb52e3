// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"math/bits"

	"github.com/assize/assize/verdict"
)

const (
	magic     = 0xff544347 // TPM_GENERATED_VALUE
	typeQuote = 0x8018     // TPM_ST_ATTEST_QUOTE
)

// Quote is TPMS_ATTEST of the type TPM_ST_ATTEST_QUOTE.
type Quote struct {
	// Signer is the qualified name of the key that signed: hash algorithm and digest.
	Signer []byte
	// ExtraData is what the caller of TPM2_Quote gave, at most 64 bytes; the challenge.
	ExtraData []byte
	Clock     Clock
	// Firmware is the version of the TPM's firmware, as its vendor counts.
	Firmware uint64
	// Bank is the hash of the registers that are quoted.
	Bank crypto.Hash
	// Selected are their indexes, ascending, 0 to 23.
	Selected []int
	// Digest is the hash over their values, one behind the other.
	Digest []byte
}

// Clock is TPMS_CLOCK_INFO.
type Clock struct {
	// Milliseconds that the TPM was powered since it was last cleared.
	Milliseconds uint64
	// Resets is how often the TPM was reset (the machine booted), Restarts how often
	// it was resumed since.
	Resets, Restarts uint32
	// Safe: the clock has not gone back since the TPM was last cleared.
	Safe bool
}

// ParseQuote reads TPMS_ATTEST of a quote of one bank. Nothing is verified. The
// error is an *Error.
func ParseQuote(raw []byte) (*Quote, error) {
	if len(raw) > MaxQuote {
		return nil, errorf(verdict.ReasonTooLarge, "TPMS_ATTEST has %d bytes, at most %d", len(raw), MaxQuote)
	}
	r := &reader{what: "TPMS_ATTEST", raw: raw}
	q := &Quote{}
	if m := r.u32("magic"); r.err == nil && m != magic {
		r.fail(verdict.ReasonMalformed, "magic is %08x, expected %08x: no TPM made this", m, uint32(magic))
	}
	if t := r.u16("type"); r.err == nil && t != typeQuote {
		r.fail(verdict.ReasonMalformed, "type is %04x, expected that of a quote, %04x", t, typeQuote)
	}
	q.Signer = r.sized(maxName, "qualifiedSigner")
	q.ExtraData = r.sized(maxExtraData, "extraData")
	q.Clock.Milliseconds = r.u64("clock")
	q.Clock.Resets, q.Clock.Restarts = r.u32("resetCount"), r.u32("restartCount")
	safe := r.u8("safe")
	if r.err == nil && safe > 1 {
		r.fail(verdict.ReasonMalformed, "safe is %d, neither YES nor NO", safe)
	}
	q.Clock.Safe = safe == 1
	q.Firmware = r.u64("firmwareVersion")
	q.selection(r)
	q.Digest = r.sized(maxExtraData, "pcrDigest")
	if err := r.end(); err != nil {
		return nil, err
	}
	return q, nil
}

// selection reads TPML_PCR_SELECTION. A TPM may list banks of which it quotes
// nothing.
func (q *Quote) selection(r *reader) {
	n := r.u32("number of banks")
	if r.err == nil && (n == 0 || n > maxBanks) {
		r.fail(verdict.ReasonMalformed, "a quote of %d banks, 1 to %d are possible", n, maxBanks)
	}
	for range n {
		if r.err != nil {
			return
		}
		alg := r.u16("bank")
		selected := r.take(int(r.u8("size of the selection")), "selection")
		if r.err != nil || allZero(selected) {
			continue
		}
		switch {
		case q.Selected != nil:
			r.fail(verdict.ReasonUnsupported, "registers of two banks in one quote")
		case hashOf(alg) == 0:
			r.fail(verdict.ReasonUnsupported, "registers of the bank with algorithm %04x, which is none of SHA-256, SHA-384 and SHA-512", alg)
		default:
			q.Bank = hashOf(alg)
			q.choose(r, selected)
		}
	}
	if r.err == nil && q.Selected == nil {
		r.fail(verdict.ReasonMalformed, "no register is selected")
	}
}

func (q *Quote) choose(r *reader, selected []byte) {
	for i, b := range selected {
		for ; b != 0; b &= b - 1 {
			pcr := 8*i + bits.TrailingZeros8(b)
			if pcr >= PCRCount {
				r.fail(verdict.ReasonUnsupported, "PCR %d is selected, a bank has %d", pcr, PCRCount)
				return
			}
			q.Selected = append(q.Selected, pcr)
		}
	}
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// Answers tells whether the quote was made for exactly this challenge. It is
// compared as a whole and in constant time; no challenge is answered by none.
func (q *Quote) Answers(nonce []byte) bool {
	return len(nonce) > 0 && subtle.ConstantTimeCompare(nonce, q.ExtraData) == 1
}

// Bank are register values that somebody presents with a quote.
type Bank struct {
	Hash crypto.Hash
	// PCRs are the values by index, each as long as the hash.
	PCRs map[int][]byte
}

// VerifyQuote checks that the key ak (*rsa.PublicKey or *ecdsa.PublicKey) signed
// the quote in raw, and that it is one of exactly the registers of bank, neither
// more nor fewer, with these values. What else it has to be, fresh for example,
// the caller asks the Quote. The error is an *Error.
func VerifyQuote(ak crypto.PublicKey, raw []byte, sig Signature, bank Bank) (*Quote, error) {
	q, err := ParseQuote(raw)
	if err != nil {
		return nil, err
	}
	if err := sig.verify(ak, raw); err != nil {
		return nil, err
	}
	if err := q.matches(bank, sig.Hash); err != nil {
		return nil, err
	}
	return q, nil
}

// matches compares values with the quote. The hash over them is that of the
// signature, whatever the bank (part 3, TPM2_Quote).
func (q *Quote) matches(bank Bank, hash crypto.Hash) error {
	if bank.Hash != q.Bank {
		return errorf(verdict.ReasonSignatureInvalid, "the quote is one of the bank %v, the registers are those of %v", q.Bank, bank.Hash)
	}
	h := hash.New()
	for _, pcr := range q.Selected {
		value, ok := bank.PCRs[pcr]
		switch {
		case !ok:
			return errorf(verdict.ReasonSignatureInvalid, "PCR %d is quoted and its value is not there", pcr)
		case len(value) != q.Bank.Size():
			return errorf(verdict.ReasonMalformed, "PCR %d has %d bytes, %v has %d", pcr, len(value), q.Bank, q.Bank.Size())
		}
		h.Write(value)
	}
	if len(bank.PCRs) != len(q.Selected) {
		return errorf(verdict.ReasonSignatureInvalid, "%d registers are presented, %d are quoted", len(bank.PCRs), len(q.Selected))
	}
	if seen := h.Sum(nil); !bytes.Equal(seen, q.Digest) {
		return errorf(verdict.ReasonSignatureInvalid, "the %d registers hash to %x, the quote says %x", len(q.Selected), seen, q.Digest)
	}
	return nil
}
