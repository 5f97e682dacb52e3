// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"
	"time"
)

func TestCoserv(t *testing.T) {
	dir := "ASSIZE_STATE_DIR=" + t.TempDir()
	c, err := Load("", []string{dir})
	if err != nil || c.Coserv.Enabled || c.Coserv.Lifetime != time.Hour {
		t.Errorf("%+v, %v", c.Coserv, err)
	}
	if c, err = Load("", []string{dir, "ASSIZE_COSERV_ENABLED=true", "ASSIZE_COSERV_LIFETIME=10m"}); err != nil || !c.Coserv.Enabled || c.Coserv.Lifetime != 10*time.Minute {
		t.Errorf("%+v, %v", c.Coserv, err)
	}
	for _, bad := range [][]string{
		{"ASSIZE_COSERV_LIFETIME=59s"}, {"ASSIZE_COSERV_LIFETIME=169h"}, {"ASSIZE_COSERV_ENABLED=true", "ASSIZE_CORIM_STORE=off"},
	} {
		if _, err := Load("", append(bad, dir)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
