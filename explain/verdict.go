package explain

import (
	"crypto/rsa"
	"crypto/x509"

	"understudy.example/understudy/scep"
)

// checkOwn reads a request with this server's own reader.
func (x *explainer) checkOwn(raw []byte, of *envelope) {
	const who = "understudy with its default settings"
	o := scep.Options{AllowSHA1: true, AllowDES: true, KeySizes: []int{2048}, Now: x.o.Now}
	if !x.kind.signingTime.IsZero() {
		o.Now = x.kind.signingTime // when it was sent is not known, and not to be judged
	}
	line := x.add("understudy", "takes it").note("this server's own reader, with default settings; policy and challenge are not asked")
	m, err := scep.Decode(raw, o)
	if key := x.opening(); err == nil && of != nil && key != nil {
		err = openOwn(m, key, of.opened, o)
	} else if err == nil && of != nil && x.anyKey() != nil && blockSize(of.cipher) == 0 && len(of.recipients) > 0 {
		err = openOwn(m, x.anyKey(), of.recipients[0], o) // its cipher is refused before a key is used
	} else if err == nil {
		line.Value = "takes it, as far as it can be seen without a key"
	}
	if err != nil {
		line.Value = "refuses it: " + err.Error()
		answer := "a signed FAILURE with failInfo " + string(scep.FailInfoOf(err)) + " (" + failInfos[string(scep.FailInfoOf(err))] + ")"
		if m == nil {
			answer = "HTTP 400, since nothing says whom a reply is for"
		}
		line.note("its answer is %s", answer)
		x.find(Objection, who, "RFC 8894 §3.3.2.2", "the message", "it refuses: %s", brief(err))
		return
	}
	if len(m.Warnings) > 0 {
		line.note("warnings in its log: %v", m.Warnings)
	}
}

// openOwn opens the envelope as the server would. The certificate of the RA is
// not here; its name and certificate serial are those of the envelope.
func openOwn(m *scep.Message, key *rsa.PrivateKey, r recipient, o scep.Options) error {
	to := []scep.Recipient{{Key: key, Certificate: &x509.Certificate{
		RawIssuer: r.issuer, SerialNumber: r.serial, SubjectKeyId: r.keyID, PublicKey: key.Public(),
	}}}
	var err error
	if m.Type == scep.PKCSReq || m.Type == scep.RenewalReq {
		_, err = m.Open(to, o)
	} else {
		_, err = m.OpenQuery(to, o)
	}
	return err
}

// opening returns the key that opened the envelope, or nil.
func (x *explainer) opening() *rsa.PrivateKey {
	for _, k := range x.o.Keys {
		if key, ok := k.(*rsa.PrivateKey); ok && key.PublicKey.Equal(x.opener) {
			return key
		}
	}
	return nil
}

// anyKey returns one of the keys that are RSA, or nil.
func (x *explainer) anyKey() *rsa.PrivateKey {
	for _, k := range x.o.Keys {
		if key, ok := k.(*rsa.PrivateKey); ok {
			return key
		}
	}
	return nil
}
