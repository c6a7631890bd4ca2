package bolt

import (
	"bytes"
	"errors"

	"understudy.example/understudy/depot"
)

// identities looks for identities without what belongs to them.
func (c *checker) identities() error {
	err := c.each(bucketIdentities, func(serial, _ []byte) error {
		s, err := loadIdentity(c.tx, serial)
		if err != nil {
			return c.found("certificate %x: %v", serial, err)
		}
		t, err := loadTransaction(c.tx, s.sequence)
		if err != nil {
			return c.found("certificate %x: its transaction %d: %v", serial, s.sequence, err)
		}
		if t.CertificateSerial != s.record.CertificateSerial {
			return c.found("certificate %x: its transaction %d led to %s", serial, s.sequence, t.CertificateSerial)
		}
		if id := s.record.RequestID; id != "" {
			if r, err := requestWithID(c.tx, id); err != nil || r.record.Transaction.CertificateSerial != s.record.CertificateSerial {
				return c.found("certificate %x: the request %s that it comes from is not there or led elsewhere", serial, id)
			}
		}
		if s.record.HeldBack && c.tx.Bucket([]byte(bucketHeldBack)).Get(number(s.sequence)) == nil {
			return c.found("certificate %x: it is held back, and nothing says what to do about it", serial)
		}
		for _, e := range indexEntries(depot.Issuance{Transaction: t, Identity: s.record}, serial, s.sequence) {
			if v := c.tx.Bucket([]byte(e.bucket)).Get(e.key); v == nil || !bytes.Equal(v, e.value) {
				if err := c.found("certificate %x: no entry in index %s", serial, e.bucket); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketCertificates, func(serial, _ []byte) error {
		if c.tx.Bucket([]byte(bucketIdentities)).Get(serial) == nil {
			return c.found("certificate %x: its DER is there and its record is not", serial)
		}
		return nil
	})
}

// requests looks for requests without what belongs to them, and for entries
// and certificates without their request.
func (c *checker) requests() error {
	err := c.each(bucketRequests, func(k, _ []byte) error {
		s, err := loadRequest(c.tx, numberOf(k))
		if err != nil || s.sequence != numberOf(k) {
			return c.found("request %d: it cannot be read or belongs elsewhere: %v", numberOf(k), err)
		}
		for _, e := range requestEntries(s.record, s.sequence) {
			if !bytes.Equal(c.tx.Bucket([]byte(e.bucket)).Get(e.key), e.value) {
				if err := c.found("request %s: no entry in index %s", s.record.ID, e.bucket); err != nil {
					return err
				}
			}
		}
		if e, err := load(c.tx, bucketEvents, k, eventFields); err != nil || e.record.RequestID != s.record.ID {
			return c.found("request %s: no event tells of it", s.record.ID)
		}
		if serial := s.record.Transaction.CertificateSerial; serial != "" {
			b, _ := serialBytes(serial)
			id, err := load(c.tx, bucketIdentities, b, identityFields)
			if err != nil || id.record.RequestID != s.record.ID {
				return c.found("request %s: its certificate %s is not there or is not its own", s.record.ID, serial)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for index, numberIn := range map[string]func(k, v []byte) uint64{
		byRequestID:          func(_, v []byte) uint64 { return numberOf(v) },
		byRequestTransaction: func(k, _ []byte) uint64 { return numberOf(k) },
		byRequestMessage:     func(_, v []byte) uint64 { return numberOf(v) },
	} {
		err := c.each(index, func(k, v []byte) error {
			s, err := loadRequest(c.tx, numberIn(k, v))
			if err != nil {
				return c.found("index %s, entry %x: %v", index, k, dangling(err))
			}
			for _, e := range requestEntries(s.record, s.sequence) {
				if e.bucket == index && bytes.Equal(e.key, k) {
					return nil
				}
			}
			return c.found("index %s, entry %x: request %s does not belong there", index, k, s.record.ID)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// crlNumbers looks at whether each can be read.
func (c *checker) crlNumbers() error {
	return c.each(bucketCRLNumbers, func(issuer, _ []byte) error {
		s, err := load(c.tx, bucketCRLNumbers, issuer, crlNumberFields)
		if err != nil || !bytes.Equal(s.record.issuerSHA256[:], issuer) {
			return c.found("CRL number of issuer %x: it cannot be read or is another's: %v", issuer, err)
		}
		return nil
	})
}

// indexes looks for entries that lead nowhere, or to a record that is not to
// be found there.
func (c *checker) indexes() error {
	serialIn := map[string]func(k, v []byte) []byte{
		bySHA256:      func(_, v []byte) []byte { return v },
		byTransaction: func(_, v []byte) []byte { return v },
		byDevice:      func(_, v []byte) []byte { return v },
		byPublicKey:   func(_, v []byte) []byte { return v },
		byName:        func(_, v []byte) []byte { return v },
		byNotAfter:    func(k, _ []byte) []byte { return k[min(len(k), notAfterPrefix):] },
		byUnused:      func(k, _ []byte) []byte { return k[min(len(k), notAfterPrefix):] },
		byIssuer:      func(k, _ []byte) []byte { return k[min(len(k), 32):] },
		byMessage: func(_, v []byte) []byte {
			t, _ := loadTransaction(c.tx, numberOf(v))
			serial, _ := serialBytes(t.CertificateSerial)
			return serial
		},
	}
	for index, serialOf := range serialIn {
		err := c.each(index, func(k, v []byte) error {
			serial := serialOf(k, v)
			s, err := loadIdentity(c.tx, serial)
			if err != nil {
				return c.found("index %s, entry %x: certificate %x: %v", index, k, serial, dangling(err))
			}
			t, err := loadTransaction(c.tx, s.sequence)
			if err != nil {
				return nil // found above
			}
			for _, e := range indexEntries(depot.Issuance{Transaction: t, Identity: s.record}, serial, s.sequence) {
				if e.bucket == index && bytes.Equal(e.key, k) {
					return nil
				}
			}
			return c.found("index %s, entry %x: certificate %x does not belong there", index, k, serial)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// numbered looks at what is found by the number of its step.
func (c *checker) numbered() error {
	err := c.each(bucketTransactions, func(k, _ []byte) error {
		t, err := loadTransaction(c.tx, numberOf(k))
		if err != nil {
			return c.found("transaction %d: %v", numberOf(k), err)
		}
		serial, _ := serialBytes(t.CertificateSerial)
		if c.tx.Bucket([]byte(bucketIdentities)).Get(serial) == nil {
			return c.found("transaction %d: certificate %s is not there", numberOf(k), t.CertificateSerial)
		}
		e, err := load(c.tx, bucketEvents, k, eventFields)
		if err != nil || e.record.CertificateSerial != t.CertificateSerial {
			return c.found("transaction %d: no event tells of it", numberOf(k))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketEvents, func(k, _ []byte) error {
		if _, err := load(c.tx, bucketEvents, k, eventFields); err != nil {
			return c.found("event %d: %v", numberOf(k), err)
		}
		return nil
	})
}

// devices looks at whether devices count what was issued to them.
func (c *checker) devices() error {
	certificates := 0
	err := c.each(bucketDevices, func(k, v []byte) error {
		var s stored[depot.Device]
		if err := decode(v, withSequence(deviceFields(&s.record), &s.sequence)); err != nil {
			return c.found("device %q: %v", k, err)
		}
		certificates += s.record.Certificates
		serial, _ := serialBytes(s.record.LatestSerial)
		latest, err := loadIdentity(c.tx, serial)
		if err != nil || !bytes.Equal(deviceKey(latest.record.ConfigurationID, latest.record.Device.Key), k) {
			return c.found("device %q: its latest certificate %s is not there or not its own", k, s.record.LatestSerial)
		}
		prefix, issued := pair(s.record.ConfigurationID, s.record.Names.Key), 0
		cursor := c.tx.Bucket([]byte(byDevice)).Cursor()
		for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
			issued++
		}
		if issued != s.record.Certificates {
			return c.found("device %q: counts %d certificates, the index has %d", k, s.record.Certificates, issued)
		}
		return nil
	})
	if err != nil {
		return err
	}
	stored := 0
	if err := c.each(bucketIdentities, func(_, _ []byte) error { stored++; return nil }); err != nil {
		return err
	}
	if stored != certificates {
		return c.found("devices count %d certificates, there are %d", certificates, stored)
	}
	return nil
}

// configurations looks at whether names and configurations belong together.
func (c *checker) configurations() error {
	err := c.each(bucketConfigurations, func(id, _ []byte) error {
		s, err := load(c.tx, bucketConfigurations, id, configurationFields)
		if err != nil {
			return c.found("configuration %s: %v", id, err)
		}
		holder := c.tx.Bucket([]byte(bucketNames)).Get([]byte(s.record.Name))
		if s.record.RemovedAt.IsZero() && !bytes.Equal(holder, id) {
			return c.found("configuration %s: its name %q leads to %q", id, s.record.Name, holder)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketNames, func(name, id []byte) error {
		s, err := load(c.tx, bucketConfigurations, id, configurationFields)
		if err != nil && !errors.Is(err, depot.ErrNotFound) {
			return nil // found above
		}
		if err != nil || s.record.Name != string(name) || !s.record.RemovedAt.IsZero() {
			return c.found("configuration name %q: leads to %s, which does not have it", name, id)
		}
		return nil
	})
}
