package api

import (
	"encoding/json"
	"time"
)

// EventPage is a page of events as they came. Through is the id up to which
// the server looked, nil before the first event.
type EventPage struct {
	List[json.RawMessage]
	Through *string `json:"through"`
}

// Event is something that happened.
type Event struct {
	ID                string    `json:"id"`
	Type              string    `json:"type"`
	At                time.Time `json:"at"`
	Configuration     *Ref      `json:"configuration"`
	CertificateSerial string    `json:"certificate_serial"`
	DeviceKey         string    `json:"device_key"`
	RequestID         string    `json:"request_id"`
	ChallengeID       string    `json:"challenge_id"`
	SubjectID         string    `json:"subject_id"`
	By                string    `json:"by"`
	Reason            string    `json:"reason"`
	Count             int       `json:"count"`
	SupersededBy      string    `json:"superseded_by"`
	CommandID         string    `json:"command_id"`
}

// Webhook is somebody who is told of events. Secret is there only in the
// answer that made it.
type Webhook struct {
	ID            string     `json:"id"`
	URL           string     `json:"url"`
	Types         []string   `json:"types"`
	Configuration *Ref       `json:"configuration"`
	CreatedAt     time.Time  `json:"created_at"`
	CreatedBy     string     `json:"created_by"`
	DisabledAt    *time.Time `json:"disabled_at"`
	DisabledWhy   string     `json:"disabled_why"`
	Secret        string     `json:"secret"`
	Through       string     `json:"through"` // id of the last event that was looked at
	Waiting       int        `json:"waiting"`
	Dead          int        `json:"dead"`
}

// Delivery is an event on its way to a webhook.
type Delivery struct {
	Event      string     `json:"event"`
	State      string     `json:"state"` // "waiting" or "dead"
	Attempts   int        `json:"attempts"`
	NextAt     *time.Time `json:"next_at"`
	LastAt     *time.Time `json:"last_at"`
	LastStatus int        `json:"last_status"` // of HTTP; 0: no answer
	LastError  string     `json:"last_error"`
}

// Token is a bearer token of the admin API. Token is there only in the answer
// that made it.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	ExpiresAt *time.Time `json:"expires_at"`
	Token     string     `json:"token"`
}

// Trial is what a receiver made of a trial event.
type Trial struct {
	Delivered bool   `json:"delivered"`
	Status    int    `json:"status"` // of HTTP; 0: no answer
	Error     string `json:"error"`
}

// Redelivery is what is tried again.
type Redelivery struct {
	Count int `json:"count"`
}
