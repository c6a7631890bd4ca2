// Package explain says what is in the messages and files of SCEP, for people
// who look for the reason why two programs do not understand each other: SCEP
// requests and replies (RFC 8894), what is in their envelopes, certificate
// requests, certificates, bundles, CRLs and OCSP.
//
// It reads what it is given as far as it can be read, also what a server would
// refuse, and says where it breaks off. Beside that it lists findings: what a
// strict reader, or a client that is known by name, objects to.
//
// The functions are pure: bytes in, a tree of fields and findings out. The
// package must not know HTTP, the store, the clock or the network. What it
// reads may be hostile: there are bounds for size, depth and number, and every
// text that comes out is printable. Challenges and private keys do not come
// out unless they are asked for.
package explain

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// MaxInput is the largest input that is explained, in bytes.
const MaxInput = 8 << 20

// Bounds of what is explained, so that a hostile input costs no more than a
// second or two: objects of an input, certificates of an object, SignerInfos,
// findings, and issuers that are tried for one signature.
const (
	maxItems        = 32
	maxCertificates = 64
	maxSigners      = 4
	maxFindings     = 200
	maxTries        = 8
)

// Options are what the caller knows beside the input.
type Options struct {
	// Keys open envelopes: the RA's for requests, the client's for replies.
	Keys []crypto.PrivateKey
	// Certificates help to verify signatures and to judge recipients and
	// signers: the CA, its RA, an answer to GetCACert.
	Certificates []*x509.Certificate
	// Now is what validity is compared with.
	Now time.Time
	// ShowChallenge prints challenge passwords instead of [secret].
	ShowChallenge bool
}

// A Document is an input, explained.
type Document struct {
	Input Input  `json:"input"`
	Items []Item `json:"items"` // more than one only for PEM with several blocks
}

// An Input says what the bytes were taken for.
type Input struct {
	Bytes    int      `json:"bytes"`    // as given
	Detected []string `json:"detected"` // from the outside in, such as "GET query", "base64", "DER"
}

// A Kind is what an Item is. The set may grow.
type Kind string

// The kinds.
const (
	Request          Kind = "scep_request"
	Reply            Kind = "scep_reply"
	CSR              Kind = "csr"
	Certificate      Kind = "certificate"
	CRL              Kind = "crl"
	CertsOnly        Kind = "certs_only"
	NextCA           Kind = "next_ca"
	SignedData       Kind = "signed_data"
	EnvelopedData    Kind = "enveloped_data"
	IssuerAndSubject Kind = "issuer_and_subject"
	IssuerAndSerial  Kind = "issuer_and_serial_number"
	OCSPRequest      Kind = "ocsp_request"
	OCSPResponse     Kind = "ocsp_response"
	Capabilities     Kind = "capabilities"
	PrivateKey       Kind = "private_key"
	PublicKey        Kind = "public_key"
	Unknown          Kind = "unknown"
)

// An Item is one object, explained.
type Item struct {
	Kind     Kind      `json:"kind"`
	Title    string    `json:"title"` // one line
	Bytes    int       `json:"bytes"`
	SHA256   string    `json:"sha256"` // of these bytes
	Fields   []*Field  `json:"fields"`
	Findings []Finding `json:"findings"`
	// Break is where the object can no longer be read; nil when all of it can.
	Break *Break `json:"breaks_off"`
}

// A Field is a line of the tree. Names are those of the standards.
type Field struct {
	Name   string
	Value  string // "" for a field that only has fields
	OID    string // of the name or of the value, in dots, or ""
	Note   string // for who reads this for the first time, or ""
	Fields []*Field

	fresh  bool   // differs between any two messages, by design
	secret string // what stands behind [secret], to be compared and never shown
}

// MarshalJSON writes absent texts as null and no fields as an empty list.
func (f *Field) MarshalJSON() ([]byte, error) {
	fields := f.Fields
	if fields == nil {
		fields = []*Field{}
	}
	return json.Marshal(struct {
		Name   string   `json:"name"`
		Value  *string  `json:"value"`
		OID    *string  `json:"oid"`
		Note   *string  `json:"note"`
		Fields []*Field `json:"fields"`
	}{f.Name, orNull(f.Value), orNull(f.OID), orNull(f.Note), fields})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// A Level says how much a Finding matters.
type Level string

// The levels.
const (
	Wrong     Level = "wrong"     // not genuine or not readable: nobody should accept it
	Objection Level = "objection" // a strict reader or a named client refuses it
	Remark    Level = "remark"    // odd, or good to know; known clients bear it
)

// A Finding is something that somebody may object to.
type Finding struct {
	Level Level  `json:"level"`
	Who   string `json:"who"`  // who objects
	Rule  string `json:"rule"` // where it is written, or what was seen
	Where string `json:"where"`
	Text  string `json:"text"`
}

// A Break is the first place that cannot be read.
type Break struct {
	Where  string `json:"where"`  // the structure
	Offset int    `json:"offset"` // in the bytes of the structure that is named, or in the item's
	Why    string `json:"why"`
}

// Strict says that somebody would refuse one of the items: an item has a
// finding that is no mere remark, or breaks off.
func (d Document) Strict() bool {
	for _, item := range d.Items {
		if item.Break != nil || item.Kind == Unknown {
			return true
		}
		for _, f := range item.Findings {
			if f.Level != Remark {
				return true
			}
		}
	}
	return false
}

// Known says that the input, or at least one object in it, is of a known kind.
func (d Document) Known() bool {
	return slices.ContainsFunc(d.Items, func(i Item) bool { return i.Kind != Unknown })
}

// Explain explains an input: DER or BER, PEM, base64, hex, or the query of a
// GET request. There is always an answer, if only that it is nothing known.
func Explain(input []byte, o Options) Document {
	d := Document{Input: Input{Bytes: len(input), Detected: []string{}}}
	left := maxElements
	if len(input) > MaxInput {
		x := &explainer{o: o, left: &left, item: newItem(nil)}
		x.item.Title = "too large to be explained"
		x.breakOff("the input", MaxInput, "it has %d bytes, more than %d", len(input), MaxInput)
		d.Items = []Item{*x.item}
		return d
	}
	found := detect(input)
	ber := false
	for i, object := range found.objects {
		if i == maxItems {
			found.steps = append(found.steps, fmt.Sprintf("the first %d of %d", maxItems, len(found.objects)))
			break
		}
		x := &explainer{o: o, left: &left, item: newItem(object.data)}
		x.know(o.Certificates)
		x.object(object)
		if found.contentType != "" {
			x.judgeType(found.contentType)
		}
		d.Items = append(d.Items, *x.item)
		ber = ber || x.ber
	}
	if i := slices.Index(found.steps, stepDER); ber && i >= 0 {
		found.steps[i] = "BER"
	}
	d.Input.Detected = found.steps
	clean(&d)
	return d
}

func newItem(data []byte) *Item {
	sum := sha256.Sum256(data)
	return &Item{
		Kind: Unknown, Title: "nothing that is known here", Bytes: len(data), SHA256: hex.EncodeToString(sum[:]),
		Fields: []*Field{}, Findings: []Finding{},
	}
}

// An explainer explains one item.
type explainer struct {
	o      Options
	item   *Item
	known  []*cert          // given, and seen in the item
	left   *int             // elements that may still be read
	keyOf  *cert            // the certificate that signed the message
	only   *cert            // the item, if it is a certificate
	kind   *messageFacts    // of the SCEP message around, or nil
	short  *Field           // its summary
	opener crypto.PublicKey // whose private half opened the envelope, or nil
	ber    bool             // the item is written in BER that is not DER
}

func (x *explainer) is(kind Kind, format string, args ...any) {
	x.item.Kind, x.item.Title = kind, fmt.Sprintf(format, args...)
}

// add appends a field to the item.
func (x *explainer) add(name, value string) *Field {
	f := &Field{Name: name, Value: value}
	x.item.Fields = append(x.item.Fields, f)
	return f
}

// add appends a field below another.
func (f *Field) add(name, value string) *Field {
	child := &Field{Name: name, Value: value}
	f.Fields = append(f.Fields, child)
	return child
}

func (f *Field) note(format string, args ...any) *Field {
	if f.Note != "" {
		f.Note += "; "
	}
	f.Note += fmt.Sprintf(format, args...)
	return f
}

func (f *Field) oid(oid string) *Field {
	f.OID = oid
	return f
}

func (f *Field) anew() *Field {
	f.fresh = true
	return f
}

func (x *explainer) find(level Level, who, rule, where, format string, args ...any) {
	found := Finding{level, who, rule, where, fmt.Sprintf(format, args...)}
	if len(x.item.Findings) == maxFindings || slices.Contains(x.item.Findings, found) {
		return
	}
	x.item.Findings = append(x.item.Findings, found)
}

func (x *explainer) breakOff(where string, offset int, format string, args ...any) {
	if x.item.Break == nil {
		x.item.Break = &Break{where, offset, fmt.Sprintf(format, args...)}
	}
}

// strict is who objects when no client is known by name.
const strict = "strict readers"
