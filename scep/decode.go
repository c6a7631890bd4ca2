package scep

import "errors"

// Decode is a stub.
func Decode(raw []byte, o Options) (*Message, error) {
	return nil, errors.New("decode message: not written yet")
}
