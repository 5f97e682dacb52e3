// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"encoding/json"
	"errors"
)

// EventKind says what happened to an instance.
type EventKind string

// Kinds of events.
const (
	EventStart EventKind = "start"
	EventDrain EventKind = "drain"
	EventStop  EventKind = "stop"
)

// Event is what a service says about itself on att.v1.<tenant>.event.verifier.
// It is a hint to look again, never an authority.
type Event struct {
	Kind     EventKind `json:"event"`
	Scheme   string    `json:"scheme"`
	Instance string    `json:"instance"`
}

const maxEvent = 1 << 10

var errEvent = errors.New("fabric: malformed event")

// parseEvent reads an untrusted event. Unknown kinds are errors.
func parseEvent(raw []byte) (Event, error) {
	var e Event
	if len(raw) > maxEvent || json.Unmarshal(raw, &e) != nil {
		return Event{}, errEvent
	}
	switch e.Kind {
	case EventStart, EventDrain, EventStop:
	default:
		return Event{}, errEvent
	}
	if !slug.MatchString(e.Scheme) || len(e.Instance) > 64 {
		return Event{}, errEvent
	}
	return e, nil
}

// publish sends an event, fire and forget.
func (b *Bus) publish(e Event) {
	raw, err := json.Marshal(e)
	if err == nil {
		err = b.services.Publish(b.subj.events(), raw)
	}
	if err != nil {
		b.log.Debug("event not published", "event", string(e.Kind), "error", err)
	}
}
