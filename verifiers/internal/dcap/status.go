// SPDX-License-Identifier: Apache-2.0

package dcap

import "fmt"

// Status is a TCB status in Intel's words, or NotSupported where no level is
// reached or something is not Intel's.
type Status uint8

// Statuses (Intel PCS API version 4; the two of relaunch and NotSupported are
// verdicts of Intel's SGX/TDX DCAP Quote Verification Library and in no
// collateral).
const (
	UpToDate Status = iota
	SWHardeningNeeded
	ConfigurationNeeded
	ConfigurationAndSWHardeningNeeded
	OutOfDate
	OutOfDateConfigurationNeeded
	Revoked
	TDRelaunchAdvised
	TDRelaunchAdvisedConfigurationNeeded
	NotSupported
	statusCount
)

// String is Intel's name.
func (s Status) String() string {
	if s < statusCount {
		return [statusCount]string{
			"UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
			"OutOfDate", "OutOfDateConfigurationNeeded", "Revoked",
			"TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "NotSupported",
		}[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// UnmarshalText implements encoding.TextUnmarshaler for what collateral may say;
// an unknown status is an error, so that it cannot count as a good one.
func (s *Status) UnmarshalText(b []byte) error {
	for known := UpToDate; known <= Revoked; known++ {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown TCB status %q", b)
}

// OutOfDate says whether the status is one of the two that are out of date.
func (s Status) OutOfDate() bool { return s == OutOfDate || s == OutOfDateConfigurationNeeded }

// Configuration says whether the status asks for another configuration.
func (s Status) Configuration() bool {
	switch s {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded, TDRelaunchAdvisedConfigurationNeeded:
		return true
	}
	return false
}

// merge is the status of a platform with that of a part of it, a TDX module or a
// quoting enclave, for which there are three (Intel SGX/TDX DCAP Quote
// Verification Library, convergeTcbStatusWith…). What is not in the table says
// nothing good.
func (s Status) merge(part Status) Status {
	switch part {
	case UpToDate:
		return s
	case Revoked:
		return Revoked
	case OutOfDate:
	default:
		return NotSupported
	}
	switch s {
	case UpToDate, SWHardeningNeeded:
		return OutOfDate
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return OutOfDateConfigurationNeeded
	}
	return s
}
