// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"time"
)

func (c *Coserv) defaults() {
	if c.Lifetime == 0 {
		c.Lifetime = time.Hour
	}
}

func (c *Coserv) check(store string) error {
	switch {
	case c.Enabled && store == "off":
		return errors.New("config: coserv.enabled wants reference values, but corim.store is off")
	case c.Lifetime < time.Minute || c.Lifetime > 7*24*time.Hour:
		return fmt.Errorf("config: coserv.lifetime is %s, want 1m to 168h", c.Lifetime)
	}
	return nil
}
