package bolt

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// format is the number of this layout. Adding a field or a bucket raises it, and
// adds a step to upgrades.
const format = 3

// The buckets. One counter numbers the steps of the whole depot: the number
// of a step is the Sequence of its transaction and of its event and the number
// of its ledger record.
const (
	bucketMeta           = "meta"                // see below
	bucketPending        = "pending"             // number → ledger record that is not known to be synced
	bucketIdentities     = "identities"          // certificate serial → identity without DER
	bucketCertificates   = "certificates"        // certificate serial → DER
	bucketTransactions   = "transactions"        // number → transaction
	bucketEvents         = "events"              // number → event
	bucketDevices        = "devices"             // configuration id, 0, device key → device
	bucketConfigurations = "configurations"      // id → configuration
	bucketNames          = "configuration_names" // name → id of the configuration that has it now
	bucketChallenges     = "challenges"          // id → number of the step that spent or withdrew it
	bySHA256             = "by_sha256"           // SHA-256 of the certificate → certificate serial
	byMessage            = "by_message"          // SHA-256 of the pkiMessage → number
	byNotAfter           = "by_not_after"        // notAfter, certificate serial → nothing
	byTransaction        = "by_transaction"      // configuration, transactionID, number → certificate serial
	byDevice             = "by_device"           // configuration, device key, number → certificate serial
	byPublicKey          = "by_public_key"       // SHA-256 of the key, number → certificate serial

	// Since format 2.
	bucketRequests       = "requests"                // number → request
	byRequestID          = "requests_by_id"          // id → number
	byRequestTransaction = "requests_by_transaction" // configuration, transactionID, number → id
	byRequestMessage     = "requests_by_message"     // SHA-256 of the pkiMessage → number
	byIssuer             = "revoked"                 // SHA-256 of the issuer, certificate serial → line of its CRL
	byUnused             = "unused"                  // when it is to be revoked, certificate serial → nothing
	bucketCRLNumbers     = "crl_numbers"             // SHA-256 of the issuer → number of its last CRL
	bucketDeviceLists    = "device_lists"            // configuration id → allow-list, removed ones too
	bucketGiven          = "challenges_given"        // number → challenge
	byGivenID            = "challenges_by_id"        // id → number
	byGivenSHA256        = "challenges_by_sha256"    // SHA-256 of the text → number
	byOutstanding        = "challenges_outstanding"  // configuration id, 0, end, number → nothing; neither spent nor withdrawn
	byUnspent            = "challenges_unspent"      // end, number → nothing; withdrawn ones too
	bucketHeldBack       = "held_back"               // number → what is held back since that step
	bucketHeldCSRs       = "held_back_csrs"          // number → its CSR

	// Since format 3: windows.
	byStanding       = "by_standing"        // configuration id, 0, standing, lifetime, notAfter, certificate serial → nothing
	bucketCounters   = "standing_counters"  // see counters.go
	byStall          = "by_stall"           // configuration id, 0, StallsAt, certificate serial → nothing
	bucketHistories  = "redistribution"     // certificate serial → its acknowledgements and announcements
	bucketWatermarks = "watermarks"         // configuration id, 0, lifetime, purpose → time
	bucketRechecks   = "rechecks"           // number → certificate serial
	byRecheck        = "rechecks_by_serial" // certificate serial → number

	// Since format 3: names, tokens, webhooks, the lab.
	byName              = "by_name"          // kind, name in one case, 0, number → certificate serial
	bucketTokens        = "tokens"           // id → token, removed ones too
	byTokenSHA256       = "tokens_by_sha256" // SHA-256 of the token → id
	bucketWebhooks      = "webhooks"         // id → webhook, removed ones too
	bucketProgress      = "webhook_progress" // id → last event that the webhook got or that is on its way
	bucketNotifications = "notifications"    // webhook id, 0, waiting or dead, event → notification
	bucketSeedings      = "seedings"         // number → seeding
)

func buckets() []string {
	return []string{bucketMeta, bucketPending, bucketIdentities, bucketCertificates, bucketTransactions, bucketEvents,
		bucketDevices, bucketConfigurations, bucketNames, bucketChallenges,
		bySHA256, byMessage, byNotAfter, byTransaction, byDevice, byPublicKey,
		bucketRequests, byRequestID, byRequestTransaction, byRequestMessage,
		byIssuer, byUnused, bucketCRLNumbers, bucketDeviceLists,
		bucketGiven, byGivenID, byGivenSHA256, byOutstanding, byUnspent, bucketHeldBack, bucketHeldCSRs,
		byStanding, bucketCounters, byStall, bucketHistories, bucketWatermarks, bucketRechecks, byRecheck,
		byName, bucketTokens, byTokenSHA256, bucketWebhooks, bucketProgress, bucketNotifications, bucketSeedings}
}

// growsAtEnd says whether the keys of a bucket rise with time, so that its
// pages can be filled to the brim: nothing will be put between.
func growsAtEnd(bucket string) bool {
	switch bucket {
	case bucketIdentities, bucketCertificates, bucketTransactions, bucketEvents, bucketRequests, bucketGiven:
		return true
	}
	return false
}

// The keys of bucket meta.
const (
	metaFormat    = "format"    // 8 bytes
	metaStore     = "store"     // identity of the store, hex
	metaHead      = "head"      // end of the ledger after the last step
	metaAuthority = "authority" // SHA-256 over the generation recorded last
	metaUpgrade   = "upgrade"   // how far an upgrade to the next format came
	metaProbe     = "probe"     // room that Ready tried to get
	metaLabClock  = "lab_clock" // how a lab moved the time
	metaLatest    = "latest"    // see depot.Windows.LatestChange
)

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func numberOf(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b[len(b)-8:])
}

// pair is an index key of two parts of any content, one length before each.
func pair(a, b string) []byte {
	key := binary.BigEndian.AppendUint16(nil, uint16(len(a)))
	key = append(key, a...)
	key = binary.BigEndian.AppendUint16(key, uint16(len(b)))
	return append(key, b...)
}

// deviceKey sorts by configuration id and then by key: ids hold no zero byte.
func deviceKey(configurationID, key string) []byte {
	return append(append([]byte(configurationID), 0), key...)
}

// notAfterKey sorts by time, before 1970 too, and then by certificate serial.
func notAfterKey(t time.Time, serial []byte) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(t.Unix())^1<<63)
	key = binary.BigEndian.AppendUint32(key, uint32(t.Nanosecond()))
	return append(key, serial...)
}

const notAfterPrefix = 12 // bytes of the time in a notAfterKey

func serialBytes(certificateSerial string) ([]byte, bool) {
	b, err := hex.DecodeString(certificateSerial)
	return b, err == nil && len(b) > 0
}

func readHead(tx *bbolt.Tx) (head, error) {
	b := tx.Bucket([]byte(bucketMeta)).Get([]byte(metaHead))
	if len(b) != 3*8+32 {
		return head{}, fmt.Errorf("end of the ledger in the database: %w", errCut)
	}
	h := head{
		number: binary.BigEndian.Uint64(b),
		start:  int64(binary.BigEndian.Uint64(b[8:])),
		end:    int64(binary.BigEndian.Uint64(b[16:])),
	}
	copy(h.hash[:], b[24:])
	return h, nil
}

func (h head) bytes() []byte {
	b := number(h.number)
	b = binary.BigEndian.AppendUint64(b, uint64(h.start))
	b = binary.BigEndian.AppendUint64(b, uint64(h.end))
	return append(b, h.hash[:]...)
}

// stored is a record together with the numbers of the steps that made it what
// it is. Identities and requests keep their place in lists by the step that
// made them, and have the last one that changed them (0: none) beside it; the
// other records have only the one that wrote them last.
type stored[T any] struct {
	record   T
	sequence uint64
	changed  uint64
}

// latest is the step that must be in the ledger before the record is shown.
func (s stored[T]) latest() uint64 { return max(s.sequence, s.changed) }

// load reads the record under key, or depot.ErrNotFound.
func load[T any](tx *bbolt.Tx, bucket string, key []byte, fields func(*T) []field) (stored[T], error) {
	var s stored[T]
	in := tx.Bucket([]byte(bucket))
	if in == nil { // a store of an older format that is only looked at
		return s, depot.ErrNotFound
	}
	value := in.Get(key)
	if value == nil {
		return s, depot.ErrNotFound
	}
	if err := decode(value, withSteps(fields(&s.record), &s.sequence, &s.changed)); err != nil {
		return s, fmt.Errorf("record %x in bucket %s: %w", key, bucket, err)
	}
	return s, nil
}

// loadTransaction reads the transaction with this number.
func loadTransaction(tx *bbolt.Tx, n uint64) (depot.Transaction, error) {
	s, err := load(tx, bucketTransactions, number(n), transactionFields)
	s.record.Sequence = s.sequence
	return s.record, err
}

// loadIdentity reads the identity with this certificate serial, DER included.
func loadIdentity(tx *bbolt.Tx, serial []byte) (stored[depot.Identity], error) {
	s, err := load(tx, bucketIdentities, serial, identityFields)
	if err != nil {
		return s, err
	}
	return s, loadCertificate(tx, serial, &s.record)
}

// loadCertificate reads the DER of an identity.
func loadCertificate(tx *bbolt.Tx, serial []byte, i *depot.Identity) error {
	value := tx.Bucket([]byte(bucketCertificates)).Get(serial)
	if err := decode(value, []field{certificateField(i)}); err != nil {
		return fmt.Errorf("certificate %x: %w", serial, err)
	}
	return nil
}
