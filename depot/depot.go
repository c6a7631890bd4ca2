// Package depot says what is kept and what keeping means: identities,
// transactions, devices, configurations and events, and the steps that change
// them.
//
// A Depot speaks in whole steps ("commit this issuance"), never in rows, and a
// step is on stable storage when its method returns. The package must not know
// SCEP, HTTP, certificates' policy or any database; depot/bolt and
// depot/postgres do the keeping and depot/depottest holds them to it.
package depot

import (
	"context"
	"errors"
)

// Errors that a Depot returns, wrapped with what they concern.
var (
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("not found")
	// ErrExists: the certificate serial, configuration id or configuration
	// name is taken. Nothing was changed.
	ErrExists = errors.New("already exists")
	// ErrTransactionConflict: the transaction moved on since the caller read
	// it (Issuance.After). Nothing was changed; read it again and decide anew.
	ErrTransactionConflict = errors.New("transaction was changed by another request")
	// ErrChallengeSpent: the challenge that the issuance spends is spent
	// already. Nothing was changed.
	ErrChallengeSpent = errors.New("challenge is spent")
	// ErrUnavailable: the store cannot be written or read now (disk full,
	// closed, connection lost). Trying again later may help. A change may or
	// may not have happened: the ledger can fail after the database. It must
	// not be acknowledged; reading it again tells, and never answers from
	// what the ledger lacks.
	ErrUnavailable = errors.New("store unavailable")
	// ErrCursor: the cursor is not one that the depot gave out for such a
	// list.
	ErrCursor = errors.New("cursor is not valid")
	// ErrInvalid: the arguments contradict themselves or lack what every
	// record has. Nothing was changed.
	ErrInvalid = errors.New("not valid")
)

// A Depot keeps what must not be lost. All methods are safe for concurrent
// use. A method that changes something is durable, in the store and in the
// ledger, when it returns nil; when it returns an error of which nothing above
// says that nothing was changed, the change may or may not have happened and
// the caller must not acknowledge it. Records that a method returns belong to
// the caller, and the caller's arguments stay the caller's. Times come back in
// UTC, exact to the microsecond; empty lists come back nil.
type Depot interface {
	Requests
	Revocations
	DeviceLists
	Challenges
	Deliveries
	Windows
	Tokens
	Webhooks
	Lab

	// Commit stores, in one step: the transaction, the identity, the device,
	// the spent challenge if there is one, the mark on the certificate that is
	// superseded if there is one, an event, and the ledger entries. It returns
	// the identity as stored: PreviousSerial is the depot's to give, what only
	// later steps can say (Identity.AtIssue) is not taken from the caller, and
	// neither are RequestID and ApprovedBy, which are for Requests.Decide, and
	// HeldBack, which follows from Issuance.HoldBack.
	// Looked at in this order: ErrInvalid, ErrTransactionConflict, ErrNotFound
	// and ErrTransactionConflict and ErrRevoked of what is superseded,
	// ErrChallengeSpent, ErrExists (certificate serial or SHA-256 taken).
	// Requests that wait are not looked at, see Requests.Decide.
	Commit(ctx context.Context, i Issuance) (Identity, error)

	// Transaction returns the last transaction of that id within the
	// configuration. ErrNotFound.
	Transaction(ctx context.Context, configurationID, transactionID string) (Transaction, error)
	// TransactionOfMessage returns the transaction that the pkiMessage with
	// this SHA-256 began, in whatever configuration. ErrNotFound.
	TransactionOfMessage(ctx context.Context, sha256 [32]byte) (Transaction, error)

	// Identity finds by certificate serial (lower-case hex). ErrNotFound.
	Identity(ctx context.Context, certificateSerial string) (Identity, error)
	// IdentityBySHA256 finds by the SHA-256 of the certificate's DER.
	// ErrNotFound.
	IdentityBySHA256(ctx context.Context, sha256 [32]byte) (Identity, error)
	// Identities lists a page. A cursor that this depot did not make is
	// ErrCursor. It looks at no more than MaxLook identities: with a filter
	// that fits few, a page can be short, or empty, and yet go on.
	Identities(ctx context.Context, q IdentityQuery) (Page[Identity], error)

	// Device finds one. It is what the commits made of it: FirstSeen and
	// LastSeen are IssuedAt of the first and of the latest commit, Names and
	// LatestSerial come from the latest commit. ErrNotFound.
	Device(ctx context.Context, configurationID, key string) (Device, error)
	// Devices lists a page, ordered by configuration id and key, both by
	// their bytes. ErrCursor.
	Devices(ctx context.Context, q DeviceQuery) (Page[Device], error)

	// Events lists events in the order in which they happened. NextCursor is
	// the Sequence to ask After for more, in decimal.
	Events(ctx context.Context, q EventQuery) (Page[Event], error)

	// AddConfiguration stores a new one. ErrExists when its id was ever used
	// or its name is in use. Its revision is 1.
	AddConfiguration(ctx context.Context, c Configuration) error
	// SetConfiguration replaces the configuration with the same id. The
	// revision must be one more than the stored one (ErrTransactionConflict).
	// cause is EventConfigurationChanged, EventSecretReset or
	// EventConfigurationRemoved, and RemovedAt is set with the last one and
	// only then; a removed configuration is ErrNotFound here. ErrExists (name
	// in use).
	SetConfiguration(ctx context.Context, c Configuration, cause EventType) error
	// Configuration finds by id, removed ones too. ErrNotFound.
	Configuration(ctx context.Context, id string) (Configuration, error)
	// Configurations returns all that are not removed, ordered by the
	// bytes of their names.
	Configurations(ctx context.Context) ([]Configuration, error)

	// RecordAuthority writes the authority's generation to the ledger: which
	// root, issuer and RA certificates (DER) this store's identities belong
	// to. Recording the same ones again changes nothing.
	RecordAuthority(ctx context.Context, a AuthorityGeneration) error

	// Check reads everything and returns every inconsistency that it finds:
	// an index entry without its record, a record without its entries, a
	// ledger that disagrees. It changes nothing.
	Check(ctx context.Context) ([]string, error)
	// Ready says whether a write would work now.
	Ready(ctx context.Context) error
	// Close waits for steps in flight. It is safe to call twice.
	Close() error
}
