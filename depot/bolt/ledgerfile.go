package bolt

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"time"

	"understudy.example/understudy/depot"
)

// The ledger is a text file, one record to a line:
//
//	length crc hash payload
//
// length is that of the payload in bytes, crc the CRC-32C of the rest of the
// line and of length (both 8 hex digits), hash the SHA-256 over the hash of the
// record before (32 zero bytes for the first) and the payload (64 hex digits),
// and payload a JSON object that begins with its number, "n", counted from 1,
// its "type" and the time "at" which it happened.
const (
	ledgerHeader = 8 + 1 + 8 + 1 + 64 + 1
	maxPayload   = 1 << 20 // bytes; a step that makes more is refused
)

// The types of ledger records besides those of depot.EventType.
const (
	EntryStore     = "store"     // the first record: whose ledger this is
	EntryAuthority = "authority" // a generation of CA certificates
	// EntryCRLNumber: a number was taken for a CRL.
	EntryCRLNumber = "crl.number"
	// EntryProgress: how far a webhook has got.
	EntryProgress = "webhook.progress"
)

// head is the end of a ledger.
type head struct {
	number uint64   // of the last record
	start  int64    // offset of the last record
	end    int64    // offset of the next one
	hash   [32]byte // of the last record
}

// next returns the line of the record that follows h, and the head after it.
func (h head) next(payload []byte) ([]byte, head) {
	chain := sha256.New()
	chain.Write(h.hash[:])
	chain.Write(payload)
	after := head{number: h.number + 1, start: h.end, end: h.end + ledgerHeader + int64(len(payload)) + 1}
	chain.Sum(after.hash[:0])

	line := make([]byte, ledgerHeader, ledgerHeader+len(payload)+1)
	putHex32(line[0:8], uint32(len(payload)))
	hex.Encode(line[18:82], after.hash[:])
	line[8], line[17], line[82] = ' ', ' ', ' '
	line = append(line, payload...)
	putHex32(line[9:17], lineSum(line))
	return append(line, '\n'), after
}

func putHex32(dst []byte, n uint32) {
	hex.Encode(dst, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func lineSum(line []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(line[:9], table), table, line[17:])
}

// errReading: the disk, not the ledger, is at fault.
var errReading = errors.New("cannot be read")

// errTorn: the file ends before the record does.
var errTorn = errors.New("record is torn: the file ends before it does")

// errZeros: the file is longer than what was written to it, as a power cut
// leaves one whose size reached the disk before its bytes. That is a torn record
// of which nothing is there.
var errZeros = fmt.Errorf("only zeros follow: %w", errTorn)

// readLine reads one line and checks its form and its checksum, not its hash.
// It returns io.EOF at the end, and errTorn with what there is of a last
// record that was not written whole, or of which there are but zeros to the end
// of r.
func readLine(r *bufio.Reader) ([]byte, error) {
	line := make([]byte, ledgerHeader, 4096)
	n, err := io.ReadFull(r, line)
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err != nil && err != io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("%w: %w", errReading, err)
	case err != nil && bytes.IndexByte(line[:n], '\n') < 0:
		return line[:n], errTorn
	case err != nil:
		return line[:n], errors.New("record is shorter than its header")
	}
	if isZeros(line) {
		return line, onlyZeros(r)
	}
	length, err := strconv.ParseUint(string(line[:8]), 16, 32)
	sum, err2 := strconv.ParseUint(string(line[9:17]), 16, 32)
	if err != nil || err2 != nil || length > maxPayload || line[8] != ' ' || line[17] != ' ' || line[82] != ' ' {
		return line, errors.New("record has no proper header")
	}
	line = append(line, make([]byte, length+1)...)
	n, err = io.ReadFull(r, line[ledgerHeader:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%w: %w", errReading, err)
	}
	if err != nil {
		if bytes.IndexByte(line[:ledgerHeader+n], '\n') < 0 {
			return line[:ledgerHeader+n], errTorn
		}
		return line, errors.New("record is not as long as it says")
	}
	if line[len(line)-1] != '\n' || lineSum(line[:len(line)-1]) != uint32(sum) {
		return line, errors.New("checksum of the record does not match")
	}
	return line, nil
}

// onlyZeros is errZeros when nothing but zeros is left.
func onlyZeros(r *bufio.Reader) error {
	block := make([]byte, 4096)
	for {
		n, err := r.Read(block)
		switch {
		case !isZeros(block[:n]):
			return errors.New("zeros, and after them something else")
		case err == io.EOF:
			return errZeros
		case err != nil:
			return fmt.Errorf("%w: %w", errReading, err)
		}
	}
}

func isZeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// An Entry is one record of a ledger.
type Entry struct {
	Number  uint64
	Type    string // "store", "authority" or a depot.EventType
	At      time.Time
	Offset  int64 // in the file, bytes
	payload payload
	after   head // the end of a ledger of which this is the last record
}

type payload struct {
	Number          uint64          `json:"n"`
	Type            string          `json:"type"`
	At              time.Time       `json:"at"`
	Store           string          `json:"store"`
	Format          uint64          `json:"format"`
	Identity        json.RawMessage `json:"identity"`
	Transaction     json.RawMessage `json:"transaction"`
	Challenge       string          `json:"challenge"`
	Supersedes      string          `json:"supersedes"`
	Decision        json.RawMessage `json:"decision"`
	Request         json.RawMessage `json:"request"`
	Revocation      json.RawMessage `json:"revocation"`
	Use             json.RawMessage `json:"use"`
	CRL             json.RawMessage `json:"crl"`
	DeviceList      json.RawMessage `json:"device_list"`
	Given           json.RawMessage `json:"given"`
	Withdrawal      json.RawMessage `json:"withdrawal"`
	Delivery        json.RawMessage `json:"delivery"`
	Acknowledgement json.RawMessage `json:"acknowledgement"`
	Undoing         json.RawMessage `json:"undoing"`
	Announcement    json.RawMessage `json:"announcement"`
	Configuration   json.RawMessage `json:"configuration"`
	Authority       json.RawMessage `json:"authority"`
	Token           json.RawMessage `json:"token"`
	Webhook         json.RawMessage `json:"webhook"`
	Progress        json.RawMessage `json:"progress"`
	Clock           json.RawMessage `json:"clock"`
	Rejections      json.RawMessage `json:"rejections"`
	Seeding         json.RawMessage `json:"seeding"`
}

// Issuance returns what a record of type certificate.issued says. Its After is
// not known any more.
func (e Entry) Issuance() (depot.Issuance, error) {
	i := depot.Issuance{Challenge: depot.ChallengeRef{ID: e.payload.Challenge}, Supersedes: e.payload.Supersedes}
	err := decodeJSON(e.payload.Identity, append(identityFields(&i.Identity), certificateField(&i.Identity)))
	if err == nil {
		err = decodeJSON(e.payload.Transaction, transactionFields(&i.Transaction))
	}
	i.Transaction.Sequence = e.Number
	return i, e.wrap(err)
}

// Decision returns what a record of type request.approved or request.denied
// says, or one of type certificate.issued that came of a decision, but for the
// issuance. An issuance that nobody had to decide about gives the zero
// Decision.
func (e Entry) Decision() (d depot.Decision, err error) {
	if e.payload.Decision == nil {
		return d, nil
	}
	err = decodeJSON(e.payload.Decision, decisionFields(&d))
	return d, e.wrap(err)
}

// Request returns what a record of type request.pending says.
func (e Entry) Request() (r depot.Request, err error) {
	err = decodeJSON(e.payload.Request, requestFields(&r))
	return r, e.wrap(err)
}

// Revocation returns what a record of type certificate.revoked or
// certificate.released says.
func (e Entry) Revocation() (r depot.Revocation, err error) {
	err = decodeJSON(e.payload.Revocation, revocationFields(&r))
	return r, e.wrap(err)
}

func (e Entry) use() (u use, err error) {
	err = decodeJSON(e.payload.Use, useFields(&u))
	return u, e.wrap(err)
}

func (e Entry) crlNumber() (c crlNumber, err error) {
	err = decodeJSON(e.payload.CRL, crlNumberFields(&c))
	return c, e.wrap(err)
}

func (e Entry) deviceList() (l deviceList, err error) {
	err = decodeJSON(e.payload.DeviceList, deviceListFields(&l))
	return l, e.wrap(err)
}

// Challenge returns what a record of type challenge.issued says.
func (e Entry) Challenge() (c depot.Challenge, err error) {
	err = decodeJSON(e.payload.Given, challengeFields(&c))
	return c, e.wrap(err)
}

func (e Entry) withdrawal() (w withdrawal, err error) {
	err = decodeJSON(e.payload.Withdrawal, withdrawalFields(&w))
	return w, e.wrap(err)
}

func (e Entry) delivery() (d delivery, err error) {
	err = decodeJSON(e.payload.Delivery, deliveryFields(&d))
	return d, e.wrap(err)
}

// Configuration returns what a record of type configuration.… says.
func (e Entry) Configuration() (c depot.Configuration, err error) {
	err = decodeJSON(e.payload.Configuration, configurationFields(&c))
	return c, e.wrap(err)
}

// Authority returns what a record of type authority says.
func (e Entry) Authority() (a depot.AuthorityGeneration, err error) {
	err = decodeJSON(e.payload.Authority, authorityFields(&a))
	return a, e.wrap(err)
}

func (e Entry) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read ledger record %d (%s): %w", e.Number, e.Type, err)
}

// A Report is what reading a ledger found.
type Report struct {
	Store   string    // identity of the store that the ledger belongs to
	Records uint64    // whole and chained
	Bytes   int64     // that they take
	Head    [32]byte  // hash of the last one
	LastAt  time.Time // when that happened which the last one tells
	last    head
}

// LedgerError names the place where a ledger stops being what was written.
type LedgerError struct {
	Path   string
	Offset int64     // of the record that is wrong, bytes
	Number uint64    // that this record should have
	LastAt time.Time // when that happened which the record before tells; zero for the first
	Err    error
}

func (e *LedgerError) Error() string {
	text := fmt.Sprintf("ledger %s is damaged at byte %d (record %d): %v", e.Path, e.Offset, e.Number, e.Err)
	if !e.LastAt.IsZero() {
		text += fmt.Sprintf("; record %d, of %s, is the last good one", e.Number-1, e.LastAt.Format(time.RFC3339))
	}
	return text
}

func (e *LedgerError) Unwrap() error { return e.Err }

// VerifyLedger reads a whole ledger and follows its chain. It returns a
// *LedgerError that names the first place where a record was torn, edited,
// removed or moved; the Report tells how far the ledger is good. Records cut
// off at the very end, whole ones, only the database can miss: see VerifyStore.
func VerifyLedger(path string) (Report, error) { return ReadLedger(path, nil) }

// ReadLedger verifies as VerifyLedger does and gives each record to each,
// whose error ends the reading.
func ReadLedger(path string, each func(Entry) error) (Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return Report{}, fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	return readLedger(path, f, each)
}

func readLedger(path string, r io.Reader, each func(Entry) error) (Report, error) {
	if each == nil {
		return scanLedger(path, r, nil)
	}
	return scanLedger(path, r, func(line []byte, after head) error {
		e, err := parseLine(line, after)
		if err != nil {
			return &LedgerError{Path: path, Offset: after.start, Number: after.number, Err: err}
		}
		return each(e)
	})
}

// scanLedger follows the chain and gives each line to look, if there is a
// look, with the head after it. An error of look ends the reading.
func scanLedger(path string, r io.Reader, look func(line []byte, after head) error) (report Report, err error) {
	lines := bufio.NewReaderSize(r, 1<<16)
	var last []byte
	defer func() {
		if e, ok := parseLast(last, report.last); ok {
			report.LastAt = e.At
		}
		if damaged := (*LedgerError)(nil); errors.As(err, &damaged) {
			damaged.LastAt = report.LastAt
		}
	}()
	for {
		at := report.last
		line, err := readLine(lines)
		if err == io.EOF {
			return report, nil
		}
		var after head
		if err == nil {
			after, err = follow(line, at)
		}
		if err == nil && after.number == 1 {
			report.Store, err = storeOf(line, after)
		}
		if errors.Is(err, errReading) {
			return report, fmt.Errorf("ledger %s, record %d: %w", path, at.number+1, err)
		}
		if err != nil {
			return report, &LedgerError{Path: path, Offset: at.end, Number: at.number + 1, Err: err}
		}
		if look != nil {
			if err := look(line, after); err != nil {
				return report, err
			}
		}
		last, report.Records, report.Bytes, report.Head, report.last = line, after.number, after.end, after.hash, after
	}
}

func parseLast(line []byte, after head) (Entry, bool) {
	if line == nil {
		return Entry{}, false
	}
	e, err := parseLine(line, after)
	return e, err == nil
}

// storeOf returns the identity in the first record.
func storeOf(line []byte, after head) (string, error) {
	e, err := parseLine(line, after)
	if err == nil && e.Type != EntryStore {
		err = errors.New("the first record does not say whose ledger this is")
	}
	return e.payload.Store, err
}

// follow checks that the line is the one that follows h and returns the head
// after it.
func follow(line []byte, h head) (head, error) {
	payload := line[ledgerHeader : len(line)-1]
	again, after := h.next(payload)
	if start := fmt.Appendf(nil, `{"n":%d,`, after.number); !bytes.HasPrefix(payload, start) {
		return head{}, wrongNumber(payload, after.number)
	}
	if !bytes.Equal(again, line) {
		return head{}, errors.New("hash does not follow from the record before: one of the two was edited or replaced")
	}
	return after, nil
}

// wrongNumber says what it means that a payload has another number than its
// place.
func wrongNumber(payload []byte, want uint64) error {
	var said uint64
	_, err := fmt.Sscanf(string(payload[:min(len(payload), 32)]), `{"n":%d,`, &said)
	switch {
	case err != nil:
		return errors.New("payload does not begin with its number")
	case said > want:
		return fmt.Errorf("it says that it is record %d: records before it were removed or moved", said)
	}
	return fmt.Errorf("it says that it is record %d: a record was inserted, repeated or moved", said)
}

// parseLine reads the payload of a line, after which the ledger has the head
// after.
func parseLine(line []byte, after head) (Entry, error) {
	var p payload
	if err := json.Unmarshal(line[ledgerHeader:len(line)-1], &p); err != nil {
		return Entry{}, fmt.Errorf("payload: %w", err)
	}
	return Entry{p.Number, p.Type, p.At, after.start, p, after}, nil
}
