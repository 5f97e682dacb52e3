// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Facts are statements that a scheme proved from signed evidence and that the
// lead needs to bind components to one another. Unsigned claims never become
// facts. Byte strings are lower-case hexadecimal.
type Facts struct {
	// Device identifies the hardware instance, as "<kind>:<value>", for
	// example "nvidia-ueid:4781…" or "intel-platform:…". Two components of one
	// composite with an identity in common are one device.
	Device []string `json:"device,omitempty"`
	// SignerSPKI is the SHA-256 of the SubjectPublicKeyInfo (DER) of the key
	// that signed the evidence.
	SignerSPKI string `json:"signer_spki,omitempty"`
	// ReportData is caller-chosen data under the evidence's signature (TDX
	// REPORTDATA, 64 bytes; SPDM requester nonce, 32 bytes; …).
	ReportData string `json:"report_data,omitempty"`
	// Registers are measurement registers by name ("mrtd", "rtmr0", …).
	Registers map[string]string `json:"registers,omitempty"`
	// Peers are identities of other devices that this one lists under its
	// signature, in the spelling of Device.
	Peers []string `json:"peers,omitempty"`
	// PeersRequired says that the device signs that it works with Peers, so that
	// it is only as good as they are: in protected PCIe the traffic between GPUs
	// and switches is in clear. Package binding enforces it (decision D-77).
	PeersRequired bool `json:"peers_required,omitempty"`
	// Environments are the names of the component in reference values and
	// endorsements: the deterministic CBOR of the environment-maps
	// (draft-ietf-rats-corim) that the scheme looked up, base64url without padding.
	Environments []string `json:"environments,omitempty"`
	// Keys are public keys to which this signed evidence commits, so that what
	// such a key signs comes from the same machine: the attestation key of a
	// virtual TPM, for example. In the spelling of SignerSPKI.
	Keys []CommittedKey `json:"keys,omitempty"`
	// Measured are single events behind the registers, as an event log tells them
	// that replays to the signed values.
	Measured []MeasuredEvent `json:"measured,omitempty"`
	// Objects are what the component consists of, for others to commit to. Not all
	// of them are under its signature.
	Objects []Object `json:"objects,omitempty"`
	// Commitments are digests of objects of other components that this signed
	// evidence holds.
	Commitments []Commitment `json:"commitments,omitempty"`
	// RelayRequired says that claims rest on bytes beside the signature of the
	// component (a TDISP interface report, what a TEE security manager says), judged
	// as if they were authentic. They hold only where the CPU's evidence vouches for
	// those bytes. The lead enforces it (decision D-80).
	RelayRequired bool `json:"relay_required,omitempty"`
	// KeyRequired says that nobody vouches for the key that signed (SignerSPKI), and
	// that the verifier was told to judge as if somebody did. Claims hold only where a
	// CPU TEE commits to the key. The lead enforces it (decision D-115).
	KeyRequired bool `json:"key_required,omitempty"`
	// ChainKeys are keys of the verified certificate chain between the signer and
	// the CAs of the maker: those that exist in this one device (the device
	// certificate above an SPDM alias certificate). Never a key that certifies two
	// devices. In the spelling of SignerSPKI.
	ChainKeys []string `json:"chain_keys,omitempty"`
	// Host is the scheme of the CPU TEE whose security manager says something about
	// the component ("arm-cca"), "" where none does or it is not known. It is under no
	// signature of the component, and can only speak against it.
	Host string `json:"host,omitempty"`
}

// CommittedKey is a key to which signed evidence commits.
type CommittedKey struct {
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo (DER), hexadecimal.
	SPKI string `json:"spki"`
	// Via says where the commitment stands: "runtime-data", "service-manifest",
	// "public-key" ….
	Via string `json:"via"`
	// Origin is who wrote it: OriginApplication, OriginMeasured or OriginHardware.
	Origin string `json:"origin"`
}

// MeasuredEvent is one event that was extended into a register.
type MeasuredEvent struct {
	// Register is the name of the register, as in Facts.Registers.
	Register string `json:"register"`
	// Digest is what was extended, hexadecimal, as long as the register's hash.
	Digest string `json:"digest"`
	// Content is the SHA-256 of the event's data, where the digest is one over
	// these data, so that they are as certain as the digest; else "".
	Content string `json:"content,omitempty"`
	// Type is the event type as a number, which no digest covers.
	Type uint32 `json:"type"`
}

// Origins of a commitment: who wrote what was signed (binding edges).
const (
	// OriginApplication: any program on the machine could have.
	OriginApplication = "application"
	// OriginMeasured: software that is itself in the measurements.
	OriginMeasured = "measured"
	// OriginHardware: the TEE or device itself.
	OriginHardware = "hardware"
)

// Bounds of the lists in Facts.
const (
	MaxCommittedKeys  = 16
	MaxMeasuredEvents = 256
	// MaxDevices and MaxPeers bound the identities in Device and Peers. A GPU names
	// at most one switch for each of its 18 links, a switch 8 GPUs.
	MaxDevices = 16
	MaxPeers   = 64
	// MaxChainKeys bounds ChainKeys: the certificates that a device makes for itself.
	MaxChainKeys = 8
	// maxHost bounds the name of a scheme in bytes.
	maxHost = 64
)

// clone keeps callers from changing the facts of a partial result.
func (f Facts) clone() Facts {
	f.Device = slices.Clone(f.Device)
	f.Peers = slices.Clone(f.Peers)
	f.Environments = slices.Clone(f.Environments)
	f.Registers = maps.Clone(f.Registers)
	f.Keys = slices.Clone(f.Keys)
	f.Measured = slices.Clone(f.Measured)
	f.Objects = slices.Clone(f.Objects)
	f.Commitments = slices.Clone(f.Commitments)
	f.ChainKeys = slices.Clone(f.ChainKeys)
	return f
}

// check says what is wrong with facts, whoever states them.
func (f Facts) check() error {
	if n := len(f.Environments); n > maxEnvironments {
		return fmt.Errorf("%d environments, at most %d", n, maxEnvironments)
	}
	if len(f.Device) > MaxDevices || len(f.Peers) > MaxPeers {
		return fmt.Errorf("%d identities and %d peers, at most %d and %d", len(f.Device), len(f.Peers), MaxDevices, MaxPeers)
	}
	if slices.Contains(f.Device, "") || slices.Contains(f.Peers, "") {
		return errors.New("an empty identity")
	}
	for _, e := range f.Environments {
		if err := checkEnvironment(e); err != nil {
			return err
		}
	}
	if len(f.Keys) > MaxCommittedKeys || len(f.Measured) > MaxMeasuredEvents {
		return fmt.Errorf("%d committed keys and %d measured events, at most %d and %d",
			len(f.Keys), len(f.Measured), MaxCommittedKeys, MaxMeasuredEvents)
	}
	if len(f.ChainKeys) > MaxChainKeys || len(f.Host) > maxHost {
		return fmt.Errorf("%d keys of a chain and a host of %d bytes, at most %d and %d", len(f.ChainKeys), len(f.Host), MaxChainKeys, maxHost)
	}
	if slices.ContainsFunc(f.ChainKeys, func(k string) bool { return !hexOf(k, 32) }) {
		return errors.New("a key of a chain without SHA-256")
	}
	for _, k := range f.Keys {
		if !hexOf(k.SPKI, 32) || k.Via == "" {
			return errors.New("a committed key without SHA-256 or place")
		}
		if k.Origin != OriginApplication && k.Origin != OriginMeasured && k.Origin != OriginHardware {
			return fmt.Errorf("a committed key of origin %.32q", k.Origin)
		}
	}
	for _, m := range f.Measured {
		if m.Register == "" || !hexOf(m.Digest, 32) && !hexOf(m.Digest, 48) && !hexOf(m.Digest, 64) || m.Content != "" && !hexOf(m.Content, 32) {
			return errors.New("a measured event without register or digest")
		}
	}
	return f.checkObjects()
}

// hexOf holds for the lower-case hexadecimal of size bytes.
func hexOf(s string, size int) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == size && hex.EncodeToString(raw) == s
}

func (o object) facts() (f Facts, err error) {
	if f.Device, err = o.texts("device"); err != nil {
		return f, err
	}
	if f.SignerSPKI, err = o.optionalText("signer_spki"); err != nil {
		return f, err
	}
	if f.ReportData, err = o.optionalText("report_data"); err != nil {
		return f, err
	}
	if f.Peers, err = o.texts("peers"); err != nil {
		return f, err
	}
	if f.PeersRequired, err = o.optionalBool("peers_required"); err != nil {
		return f, err
	}
	if f.Environments, err = o.environments("environments"); err != nil {
		return f, err
	}
	if f.Keys, err = o.committedKeys(); err != nil {
		return f, err
	}
	if f.Measured, err = o.measuredEvents(); err != nil {
		return f, err
	}
	if f.Registers, err = o.registers(); err != nil {
		return f, err
	}
	if err = o.described(&f); err != nil {
		return f, err
	}
	if f.KeyRequired, err = o.optionalBool("key_required"); err != nil {
		return f, err
	}
	if f.ChainKeys, err = o.texts("chain_keys"); err != nil {
		return f, err
	}
	if f.Host, err = o.optionalText("host"); err != nil {
		return f, err
	}
	return f, f.check()
}

// optionalBool reads a truth value; false when absent.
func (o object) optionalBool(name string) (bool, error) {
	v, ok := o[name]
	if !ok {
		return false, nil
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s is not a truth value", name)
	}
	return b, nil
}

func (o object) registers() (map[string]string, error) {
	if _, ok := o["registers"]; !ok {
		return nil, nil
	}
	m, err := o.object("registers")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(m))
	for name := range m {
		if out[name], err = m.text(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// objects reads a list of objects; nil when absent.
func (o object) objects(name string, most int) ([]object, error) {
	list, err := o.optionalList(name)
	if err != nil || list == nil {
		return nil, err
	}
	if len(list) > most {
		return nil, fmt.Errorf("%s has %d entries, at most %d", name, len(list), most)
	}
	out := make([]object, 0, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s holds something other than an object", name)
		}
		out = append(out, m)
	}
	return out, nil
}

func (o object) committedKeys() (out []CommittedKey, err error) {
	list, err := o.objects("keys", MaxCommittedKeys)
	for _, m := range list {
		var k CommittedKey
		for name, to := range map[string]*string{"spki": &k.SPKI, "via": &k.Via, "origin": &k.Origin} {
			if *to, err = m.text(name); err != nil {
				return nil, err
			}
		}
		out = append(out, k)
	}
	return out, err
}

func (o object) measuredEvents() (out []MeasuredEvent, err error) {
	list, err := o.objects("measured", MaxMeasuredEvents)
	for _, m := range list {
		var e MeasuredEvent
		if e.Register, err = m.text("register"); err != nil {
			return nil, err
		}
		if e.Digest, err = m.text("digest"); err != nil {
			return nil, err
		}
		if e.Content, err = m.optionalText("content"); err != nil {
			return nil, err
		}
		n, err := m.integer("type")
		if err != nil || n < 0 || n > 1<<32-1 {
			return nil, errors.New("a measured event has no type of 32 bits")
		}
		e.Type = uint32(n)
		out = append(out, e)
	}
	return out, err
}
