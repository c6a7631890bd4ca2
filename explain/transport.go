package explain

import (
	"crypto"
	"crypto/rsa"
	"fmt"
)

// transport returns the options that decrypt a content key (RFC 8017 §A.2.1).
func transport(algorithm *node) (crypto.DecrypterOpts, error) {
	switch oid := oidOf(algorithm.kid(0)); oid {
	case oidRSA:
		//lint:ignore SA1019 SCEP clients use no other; nobody is told from afar whether it failed
		return &rsa.PKCS1v15DecryptOptions{}, nil
	case oidOAEP:
		o := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
		params := algorithm.kid(1)
		for i := range params.childCount() {
			inner := params.kid(i).kid(0)
			switch params.kid(i).tag {
			case context0 | constructed:
				o.Hash = digests[oidOf(inner.kid(0))]
			case context0 | constructed | 1:
				o.MGFHash = digests[oidOf(inner.kid(1).kid(0))]
			case context0 | constructed | 2:
				o.Label = inner.kid(1).octets()
			}
		}
		if !o.Hash.Available() || !o.MGFHash.Available() {
			return nil, fmt.Errorf("the digest of RSAES-OAEP is not known here")
		}
		return o, nil
	default:
		return nil, fmt.Errorf("%s is not read here", nameOf(oid))
	}
}
