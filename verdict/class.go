// SPDX-License-Identifier: Apache-2.0

package verdict

// Classes of components, as they stand in Component.Class: what place a part
// has in a machine. A CPU TEE is the root of trust of a composite.
const (
	ClassCPU    = "cpu-tee"
	ClassDevice = "device"
)
