package scep

// Scan and ToDER are tested from outside for what Decode does not show: cost,
// allocations and the exact output.
func Scan(ber []byte) (der bool, fault string) {
	der, f := scan(ber)
	return der, f.String()
}

// WellFormed is what Scan says of a message that it lets through.
var WellFormed = faultNone.String()

var ToDER = toDER

// Guarded is the recovery around the parsers.
var Guarded = guarded

// ReadEnvelope is the part of Open that needs no key.
func ReadEnvelope(ber []byte) error {
	_, err := readEnvelope(ber)
	return err
}
