// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

func TestOnline(t *testing.T) {
	state := "ASSIZE_STATE_DIR=" + t.TempDir()
	c, err := Load("", []string{state})
	if o := c.Online; err != nil || o.Enabled || o.Intel != "https://api.trustedservices.intel.com" || o.AMD != "https://kdsintf.amd.com" ||
		o.Cache != "" || o.Timeout != time.Minute || o.MaxAge != 24*time.Hour || o.AMDInterval != 10*time.Second ||
		o.NVIDIA != (OnlineNVIDIA{RIM: "https://rim.attestation.nvidia.com", OCSP: "https://ocsp.ndis.nvidia.com", Interval: 100 * time.Millisecond}) {
		t.Errorf("%+v, %v", o, err)
	}
	const text = `endorsements_online: {enabled: true, intel: "https://pccs.example:8081", intel_root_crl: "https://x.example/r.der", intel_update: early,
  amd: none, intel_interval: 1s, amd_interval: 20s, cache: c, ca: pccs.pem, timeout: 30s, max_age: 6h,
  nvidia: {rim_url: "https://rims.example/nvidia", ocsp_url: none, service_key_file: key, interval: 1s}}`
	if c, err = Load(file(t, text), []string{state}); err != nil || !c.Online.Enabled || c.Online.AMD != None || c.Online.IntelUpdate != "early" || c.Online.MaxAge != 6*time.Hour ||
		c.Online.NVIDIA != (OnlineNVIDIA{RIM: "https://rims.example/nvidia", OCSP: None, KeyFile: "key", Interval: time.Second}) {
		t.Errorf("%+v, %v", c.Online, err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Load(schemas.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		t.Errorf("the schema refuses what the program takes: %v", err)
	}
	if c, err = Load("", []string{state, "ASSIZE_ENDORSEMENTS_ONLINE_ENABLED=true", "ASSIZE_ENDORSEMENTS_ONLINE_INTEL=none"}); err != nil || !c.Online.Enabled || c.Online.Intel != None {
		t.Errorf("%+v, %v", c.Online, err)
	}
	for _, bad := range []string{
		"INTEL=ftp://x", "INTEL=pccs.example", "INTEL=https://u:p@x", "AMD=https://", "INTEL_ROOT_CRL=none", "INTEL_UPDATE=late",
		"TIMEOUT=10ms", "TIMEOUT=11m", "MAX_AGE=59s", "MAX_AGE=721h", "AMD_INTERVAL=-1s", "INTEL_INTERVAL=2h",
		"NVIDIA_RIM_URL=rim", "NVIDIA_OCSP_URL=https://u:p@x", "NVIDIA_INTERVAL=2h",
	} {
		if _, err := Load("", []string{state, "ASSIZE_ENDORSEMENTS_ONLINE_" + bad}); err == nil || strings.Contains(err.Error(), "u:p@") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
