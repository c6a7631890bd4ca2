package depot

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what is stored, in bytes. They are far above anything that passes
// the guard of package scep and the policy of package ca; they keep a key
// inside what every database can index.
const (
	maxID     = 255
	maxKey    = 8 << 10
	maxSerial = 20 // RFC 5280 section 4.1.2.2
)

// PageLimit returns how many items a page holds that was asked for with this
// limit: 100 for 0 and less, at most 500.
func PageLimit(limit int) int {
	switch {
	case limit <= 0:
		return 100
	case limit > 500:
		return 500
	}
	return limit
}

// Validate returns ErrInvalid, saying why, for an issuance that no depot may
// store: one whose parts disagree or lack what they are found by.
func (i Issuance) Validate() error {
	t, id := i.Transaction, i.Identity
	switch {
	case !canonicalSerial(id.CertificateSerial):
		return invalid("certificate serial %q is not lower-case hex of at most %d bytes", id.CertificateSerial, maxSerial)
	case !validID(id.ConfigurationID):
		return invalid("configuration id %q", id.ConfigurationID)
	case id.TransactionID == "" || len(id.TransactionID) > maxKey:
		return invalid("transactionID of %d bytes", len(id.TransactionID))
	case id.Device.Key == "" || len(id.Device.Key) > maxKey:
		return invalid("device key of %d bytes", len(id.Device.Key))
	case len(id.DER) == 0 || id.SHA256 == [32]byte{}:
		return invalid("identity without its certificate")
	case t.MessageSHA256 == [32]byte{}:
		return invalid("transaction without its message")
	case len(i.Challenge.ID) > maxID:
		return invalid("challenge id of %d bytes", len(i.Challenge.ID))
	case i.HoldBack != (len(i.CSR) > 0):
		return invalid("certificate %s is held back without its CSR, or has one without that", id.CertificateSerial)
	case i.Supersedes == id.CertificateSerial:
		return invalid("certificate %s supersedes itself", i.Supersedes)
	case t.ConfigurationID != id.ConfigurationID || t.ID != id.TransactionID || t.CertificateSerial != id.CertificateSerial:
		return invalid("transaction and identity disagree about configuration, transactionID or certificate serial")
	}
	return nil
}

// Validate returns ErrInvalid for a configuration that cannot be found again.
// What a configuration may say is the business of package configuration.
func (c Configuration) Validate() error {
	switch {
	case !validID(c.ID):
		return invalid("configuration id %q", c.ID)
	case c.Name == "" || len(c.Name) > maxKey:
		return invalid("configuration name of %d bytes", len(c.Name))
	}
	return nil
}

// ValidateChange returns ErrInvalid when cause cannot be why the configuration
// is replaced by c.
func (c Configuration) ValidateChange(cause EventType) error {
	switch cause {
	case EventConfigurationChanged, EventSecretReset:
		if !c.RemovedAt.IsZero() {
			return invalid("%s of a configuration that is removed", cause)
		}
	case EventConfigurationRemoved:
		if c.RemovedAt.IsZero() {
			return invalid("%s without the time of it", cause)
		}
	default:
		return invalid("%q as the cause of a change", cause)
	}
	return c.Validate()
}

// Event returns the event that a change of c for this cause is. Its sequence
// is the depot's to give.
func (c Configuration) Event(cause EventType) Event {
	e := Event{Type: cause, ConfigurationID: c.ID, ConfigurationName: c.Name}
	switch cause {
	case EventConfigurationAdded:
		e.At = c.CreatedAt
	case EventSecretReset:
		e.At = c.SecretResetAt
	case EventConfigurationRemoved:
		e.At = c.RemovedAt
	default:
		e.At = c.ChangedAt
	}
	return e
}

// Event returns the event that the issuance is. Its sequence is the depot's to
// give.
func (i Issuance) Event() Event {
	return Event{
		Type: EventCertificateIssued, At: i.Identity.IssuedAt,
		ConfigurationID: i.Identity.ConfigurationID, ConfigurationName: i.Identity.ConfigurationName,
		CertificateSerial: i.Identity.CertificateSerial, DeviceKey: i.Identity.Device.Key,
		TransactionID: i.Identity.TransactionID, RequestID: i.Identity.RequestID,
	}
}

// Validate returns ErrInvalid for a query that no index can answer.
func (q IdentityQuery) Validate() error {
	switch {
	case q.ConfigurationID == "" && (q.DeviceKey != "" || q.TransactionID != ""):
		return invalid("query for a device or a transaction without its configuration")
	case q.Order != "" && q.Order != NewestFirst && q.Order != ByNotAfter:
		return invalid("order %q", q.Order)
	case q.NameKind != "" && !slices.Contains(NameKinds(), q.NameKind):
		return invalid("kind of name %q", q.NameKind)
	case (q.NameKind == "") != (q.Name == "") || q.NamePrefix && q.Name == "":
		return invalid("query for a name without its kind, or for a kind without a name")
	}
	return nil
}

// Selects says whether the query asks for this identity, its place in the
// list aside.
func (q IdentityQuery) Selects(i Identity) bool {
	switch {
	case q.ConfigurationID != "" && i.ConfigurationID != q.ConfigurationID,
		q.DeviceKey != "" && i.Device.Key != q.DeviceKey,
		q.TransactionID != "" && i.TransactionID != q.TransactionID,
		q.PublicKeySHA256 != [32]byte{} && i.PublicKeySHA256 != q.PublicKeySHA256,
		!q.NotAfterFrom.IsZero() && i.NotAfter.Before(q.NotAfterFrom),
		!q.NotAfterTo.IsZero() && !i.NotAfter.Before(q.NotAfterTo),
		!q.IssuedFrom.IsZero() && i.IssuedAt.Before(q.IssuedFrom),
		!q.IssuedTo.IsZero() && !i.IssuedAt.Before(q.IssuedTo):
		return false
	}
	return q.selectsName(i.Device)
}

// Selects says whether the query asks for this event, its place aside.
func (q EventQuery) Selects(e Event) bool {
	return (q.ConfigurationID == "" || q.ConfigurationID == e.ConfigurationID) &&
		(len(q.Types) == 0 || slices.Contains(q.Types, e.Type))
}

// Validate returns ErrInvalid, saying why, for a request that cannot be found
// or decided.
func (r Request) Validate() error {
	t, draft := r.Transaction, r.Draft
	switch {
	case !validID(r.ID):
		return invalid("request id %q", r.ID)
	case r.State != RequestPending || !r.DecidedAt.IsZero() || r.DecidedBy != "" || r.Note != "":
		return invalid("request %s is decided before it is stored", r.ID)
	case !validID(t.ConfigurationID):
		return invalid("configuration id %q", t.ConfigurationID)
	case t.ID == "" || len(t.ID) > maxKey:
		return invalid("transactionID of %d bytes", len(t.ID))
	case t.MessageSHA256 == [32]byte{}:
		return invalid("transaction without its message")
	case t.CertificateSerial != "" || draft.CertificateSerial != "" || len(draft.DER) != 0:
		return invalid("request %s has a certificate", r.ID)
	case draft.ConfigurationID != t.ConfigurationID || draft.TransactionID != t.ID:
		return invalid("transaction and draft disagree about configuration or transactionID")
	case len(r.CSR) == 0:
		return invalid("request %s without its CSR", r.ID)
	case len(r.Challenge.ID) > maxID:
		return invalid("challenge id of %d bytes", len(r.Challenge.ID))
	case r.ExpiresAt.IsZero():
		return invalid("request %s without an end", r.ID)
	}
	return nil
}

// Validate returns ErrInvalid for a query whose answer would depend on a time
// that it does not name.
func (q RequestQuery) Validate() error {
	switch q.State {
	case "":
	case RequestPending, RequestApproved, RequestDenied, RequestExpired:
		if q.Now.IsZero() {
			return invalid("query for the state of requests without a time")
		}
	default:
		return invalid("state %q", q.State)
	}
	return nil
}

// Selects says whether the query asks for this request.
func (q RequestQuery) Selects(r Request) bool {
	return (q.ConfigurationID == "" || q.ConfigurationID == r.Transaction.ConfigurationID) &&
		(q.State == "" || q.State == r.StateAt(q.Now))
}

// Validate returns ErrInvalid for a decision that contradicts itself.
func (d Decision) Validate() error {
	switch {
	case d.RequestID == "" || d.At.IsZero():
		return invalid("decision without its request or its time")
	case d.State == RequestDenied && d.Issuance == nil:
		return nil
	case d.State == RequestApproved && d.Issuance != nil:
		return d.Issuance.Validate()
	}
	return invalid("%q is no decision, or has an issuance that does not go with it", d.State)
}

// Validate returns ErrInvalid for a revocation without a reason or a time.
func (r Revocation) Validate() error {
	if _, known := r.Reason.Code(); !known {
		return invalid("reason %q", r.Reason)
	}
	if r.At.IsZero() {
		return invalid("revocation without its time")
	}
	return nil
}

// Validate returns ErrInvalid, saying why, for a challenge that cannot be found
// or spent.
func (c Challenge) Validate() error {
	switch {
	case !validID(c.ID):
		return invalid("challenge id %q", c.ID)
	case !validID(c.ConfigurationID):
		return invalid("configuration id %q", c.ConfigurationID)
	case c.SHA256 == [32]byte{}:
		return invalid("challenge %s without its hash", c.ID)
	case c.CreatedAt.IsZero() || !c.CreatedAt.Before(c.ExpiresAt):
		return invalid("challenge %s from %v to %v", c.ID, c.CreatedAt, c.ExpiresAt)
	case !c.SpentAt.IsZero() || c.CertificateSerial != "" || !c.WithdrawnAt.IsZero() || c.WithdrawnBy != "":
		return invalid("challenge %s is spent or withdrawn before it is stored", c.ID)
	}
	return nil
}

func canonicalSerial(s string) bool {
	if len(s) == 0 || len(s)%2 != 0 || len(s) > 2*maxSerial || strings.HasPrefix(s, "00") {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// validID: a zero byte separates the id from what follows it in an index.
func validID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.Contains(id, "\x00")
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
