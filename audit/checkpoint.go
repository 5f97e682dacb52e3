// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/trust"
)

// purpose keeps a checkpoint and everything else that a key signs apart.
const purpose = "assize-audit-checkpoint"

// Checkpoint says how a log was at one moment: the record Seq had the digest
// Head, and through the chain all records before it are what they are.
type Checkpoint struct {
	Purpose string `json:"purpose"`
	Log     string `json:"log"`
	Seq     uint64 `json:"seq"`
	Head    Digest `json:"head_sha256"`
	// Time is that of the record with the checkpoint.
	Time string `json:"time"`
	Node string `json:"node,omitempty"`
}

// Signer signs checkpoints; a *trust.Signer is one.
type Signer interface {
	KID() string
	SignJWT(claims []byte) ([]byte, error)
}

func (c Checkpoint) sign(s Signer) (string, error) {
	c.Purpose = purpose
	claims, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("audit: checkpoint: %w", err)
	}
	token, err := s.SignJWT(claims)
	if err != nil {
		return "", fmt.Errorf("audit: checkpoint: %w", err)
	}
	return string(token), nil
}

// maxCheckpoint bounds a checkpoint in bytes.
const maxCheckpoint = 4 << 10

// ReadCheckpoint verifies a checkpoint under the keys of leads and nodes in a
// set that were valid at its time, and returns it with the id of the key.
func ReadCheckpoint(token []byte, keys *trust.Anchors) (Checkpoint, string, error) {
	return known(keys).read(token)
}

// keyring are the keys that may sign checkpoints, by their id.
type keyring map[string]trust.Key

// known picks the keys of leads and nodes: one that signs partial results, or
// evidence, writes no log.
func known(set *trust.Anchors) keyring {
	out := keyring{}
	for _, k := range set.Keys() {
		if slices.Contains(k.Roles, trust.RoleLead) || slices.Contains(k.Roles, trust.RoleNode) {
			out[k.KID] = k
		}
	}
	return out
}

func (k keyring) read(token []byte) (Checkpoint, string, error) {
	var c Checkpoint
	if len(token) > maxCheckpoint {
		return c, "", fmt.Errorf("audit: a checkpoint has at most %d bytes", maxCheckpoint)
	}
	claims, key, err := trust.VerifyJWT(token, func(kid string) (trust.Key, bool) { key, ok := k[kid]; return key, ok })
	if err != nil {
		return c, "", fmt.Errorf("audit: checkpoint: %w", err)
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return c, "", fmt.Errorf("audit: checkpoint: %w", err)
	}
	again, err := json.Marshal(c)
	if err != nil || !bytes.Equal(claims, again) || c.Purpose != purpose {
		return c, "", errors.New("audit: what was signed is no checkpoint")
	}
	at, err := time.Parse(timeForm, c.Time)
	switch {
	case err != nil:
		return c, "", errors.New("audit: a checkpoint without time")
	case !isHex(c.Log, 32) || c.Seq == 0 || !c.Head.valid():
		return c, "", errors.New("audit: a checkpoint about no record")
	case !key.NotAfter.IsZero() && at.After(key.NotAfter):
		return c, "", fmt.Errorf("audit: checkpoint of %s by a key that ended at %s", c.Time, key.NotAfter.UTC().Format(time.RFC3339))
	}
	return c, key.KID, nil
}
