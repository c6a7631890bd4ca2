package api

import "time"

// WindowList is a page of the redistribution window.
type WindowList struct {
	List[WindowItem]
	AsOf   time.Time      `json:"as_of"`
	Policy *WindowPolicy  `json:"policy"` // nil when several differ
	Counts map[string]int `json:"counts"` // by state
}

// WindowPolicy says when windows open.
type WindowPolicy struct {
	Kind   string `json:"kind"` // "days_before" or "percent_remaining"
	Value  int    `json:"value"`
	Strict bool   `json:"strict"`
}

// WindowItem is a certificate as redistribution sees it.
type WindowItem struct {
	ID            string `json:"id"`
	Configuration Ref    `json:"configuration"`
	Certificate   struct {
		CertificateSerial string    `json:"certificate_serial"`
		SHA256            string    `json:"sha256"`
		Subject           string    `json:"subject"`
		NotBefore         time.Time `json:"not_before"`
		NotAfter          time.Time `json:"not_after"`
	} `json:"certificate"`
	Device Names `json:"device"`
	Window struct {
		OpensAt  time.Time `json:"opens_at"`
		ClosesAt time.Time `json:"closes_at"`
	} `json:"window"`
	SecondsLeft      int64            `json:"seconds_left"`
	State            string           `json:"state"`
	Attempts         int              `json:"attempts"`
	LastAck          *Acknowledgement `json:"last_ack"`
	SupersededBy     string           `json:"superseded_by"`
	RevocationReason string           `json:"revocation_reason"`
	History          []WindowStep     `json:"history"` // of a single item
}

// Acknowledgement says that somebody pushes a profile again.
type Acknowledgement struct {
	At          time.Time  `json:"at"`
	By          string     `json:"by"`
	CommandID   string     `json:"command_id"`
	RequestedBy string     `json:"requested_by"`
	RequestedAt *time.Time `json:"requested_at"`
	StallsAt    *time.Time `json:"stalls_at"`
}

// WindowStep is something that happened to an item.
type WindowStep struct {
	At           time.Time `json:"at"`
	Type         string    `json:"type"`
	By           string    `json:"by"`
	CommandID    string    `json:"command_id"`
	Reason       string    `json:"reason"`
	SupersededBy string    `json:"superseded_by"`
}

// Acknowledged is what became of many acknowledgements.
type Acknowledged struct {
	Results []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"results"`
}

// Inventory is how many certificates there are, by state.
type Inventory struct {
	List[Stock]
	Totals map[string]int `json:"totals"`
}

// Stock is how many certificates a configuration has, by state.
type Stock struct {
	Configuration Ref            `json:"configuration"`
	Certificates  map[string]int `json:"certificates"`
}
