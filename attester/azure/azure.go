// SPDX-License-Identifier: Apache-2.0

// Package azure simulates a confidential VM of Azure: a CPU whose report measures
// a paravisor, and the paravisor's virtual TPM, which measures the guest. The CPU's
// report data are the hash of the runtime data with the TPM's key, so that both
// are one machine; the TPM answers the challenge.
//
//	vm, err := azure.New(azure.Options{SNP: snp, TPM: tpm})
//	leaf, err := vm.Evidence(nonce) // application/vnd.assize.azure-cvm+json
//
// The form is that of version 1, which the guest components of kata-containers
// write; the paravisor's report is laid out as the real one (HCLA). The keys are
// worth nothing.
package azure

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 of runtime data
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/tcgtpm"
)

// MediaType is the media type of what Evidence returns.
const MediaType = "application/vnd.assize.azure-cvm+json"

// Layout of the paravisor's report, in bytes.
const (
	hardwareAt   = 32
	hardwareSize = 1184
	requestSize  = 20
	reportSize   = 2600
	pcrCount     = 24
	// algRSASSA and signatureHead are of TPMT_SIGNATURE: algorithm, hash, length.
	algRSASSA     = 0x0014
	signatureHead = 6
	reportData    = 64
)

// Report types and hash types of the request data.
const (
	typeSNP = 2
	typeTDX = 4
)

// Options describe one VM: one of SNP and TDX, and a TPM with an RSA key.
type Options struct {
	SNP *amdsnp.Device
	TDX *inteltdx.Device
	TPM *tcgtpm.Device
	// Hash is what the report data are made with; 0 means SHA-256, as Azure does.
	Hash crypto.Hash
	// WithoutVCEK leaves the certificate of the chip out.
	WithoutVCEK bool
	// EventLog adds the firmware's log.
	EventLog bool

	// Quoting makes the quote, with its registers: the TPM of another machine.
	Quoting *tcgtpm.Device
	// Runtime are other runtime data in the paravisor's report than those that the
	// CPU's report commits to.
	Runtime []byte
}

// Device is one VM. It is safe for concurrent use.
type Device struct {
	o      Options
	report []byte // the paravisor's
	static map[string]any
}

// New asks the CPU for its report, which stays the same as long as the VM runs.
func New(o Options) (*Device, error) {
	if (o.SNP == nil) == (o.TDX == nil) || o.TPM == nil {
		return nil, errors.New("azure: a VM has one CPU and a TPM")
	}
	if o.Hash == 0 {
		o.Hash = crypto.SHA256
	}
	if o.Quoting == nil {
		o.Quoting = o.TPM
	}
	d := &Device{o: o, static: map[string]any{"version": 1}}
	data := make([]byte, reportData)
	h := o.Hash.New()
	h.Write(o.TPM.RuntimeData())
	h.Sum(data[:0])
	hardware, kind, err := d.cpu(data)
	if err != nil {
		return nil, err
	}
	if d.report, err = d.paravisor(hardware, kind); err != nil {
		return nil, err
	}
	d.static["hcl_report"] = base64.RawURLEncoding.EncodeToString(d.report)
	if o.EventLog {
		d.static["event_log"] = base64.RawURLEncoding.EncodeToString(o.Quoting.EventLog())
	}
	return d, nil
}

// cpu makes the CPU's report. A TD's own report only its platform can verify; its
// place holds what identifies it, and the quote stands beside.
func (d *Device) cpu(data []byte) (hardware []byte, kind uint32, err error) {
	if d.o.SNP != nil {
		if !d.o.WithoutVCEK {
			d.static["vcek"] = base64.RawURLEncoding.EncodeToString(d.o.SNP.EndorsementKey().Raw)
		}
		hardware, err = d.o.SNP.Report(data)
		return hardware, typeSNP, err
	}
	quote, err := d.o.TDX.Evidence(data)
	d.static["td_quote"] = base64.RawURLEncoding.EncodeToString(quote)
	return []byte{0x81}, typeTDX, err
}

// paravisor is the content of NV index 0x01400001.
func (d *Device) paravisor(hardware []byte, kind uint32) ([]byte, error) {
	runtime := d.o.TPM.RuntimeData()
	if d.o.Runtime != nil {
		runtime = d.o.Runtime
	}
	head := hardwareAt + hardwareSize
	if len(hardware) > hardwareSize || head+requestSize+len(runtime) > reportSize {
		return nil, fmt.Errorf("azure: %d bytes of report and %d of runtime data do not fit", len(hardware), len(runtime))
	}
	le := binary.LittleEndian
	out := make([]byte, reportSize)
	copy(out, "HCLA")
	le.PutUint32(out[4:], 1)
	le.PutUint32(out[8:], uint32(head+requestSize+len(runtime)))
	le.PutUint32(out[12:], 2)
	copy(out[hardwareAt:], hardware)
	request := out[head:]
	le.PutUint32(request, uint32(requestSize+len(runtime)))
	le.PutUint32(request[4:], 1)
	le.PutUint32(request[8:], kind)
	le.PutUint32(request[12:], map[crypto.Hash]uint32{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}[d.o.Hash])
	le.PutUint32(request[16:], uint32(len(runtime)))
	copy(request[requestSize:], runtime)
	return out, nil
}

// Report is the paravisor's report as it lies in the TPM.
func (d *Device) Report() []byte { return append([]byte(nil), d.report...) }

// Evidence is the leaf with a quote over nonce, at most 64 bytes.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	message, signature, err := d.o.Quoting.Quote(nonce)
	if err != nil {
		return nil, err
	}
	if len(signature) <= signatureHead || binary.BigEndian.Uint16(signature) != algRSASSA {
		return nil, errors.New("azure: the TPM's key is not an RSA key")
	}
	values := d.o.Quoting.PCRs()
	pcrs := make([]string, pcrCount)
	for i := range pcrs {
		if len(values[i]) != sha256.Size {
			return nil, fmt.Errorf("azure: the TPM does not quote PCR %d", i)
		}
		pcrs[i] = hex.EncodeToString(values[i])
	}
	leaf := map[string]any{"tpm_quote": map[string]any{
		"message": hex.EncodeToString(message), "signature": hex.EncodeToString(signature[signatureHead:]), "pcrs": pcrs,
	}}
	for name, v := range d.static {
		leaf[name] = v
	}
	out, err := json.Marshal(leaf)
	if err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	return out, nil
}
