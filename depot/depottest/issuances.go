package depottest

import (
	"context"
	"slices"

	"understudy.example/understudy/depot"
)

func (s *suite) commitFind() {
	for n := range 3 {
		i := Issuance(n)
		s.equal("Commit", s.commit(i), want(i, ""))
	}
	for n := range 3 {
		i := Issuance(n)
		id, err := s.d.Identity(s.ctx, i.Identity.CertificateSerial)
		s.wantError("Identity", err, nil)
		s.equal("Identity", id, want(i, ""))
		id, err = s.d.IdentityBySHA256(s.ctx, i.Identity.SHA256)
		s.wantError("IdentityBySHA256", err, nil)
		s.equal("IdentityBySHA256", id, want(i, ""))

		t, err := s.d.Transaction(s.ctx, "rac0", i.Transaction.ID)
		s.wantError("Transaction", err, nil)
		expected := i.Transaction
		expected.At, expected.Sequence = utc(expected.At), t.Sequence
		s.equal("Transaction", t, expected)
		if t.Sequence == 0 {
			s.Errorf("Transaction has the sequence 0")
		}
		again, err := s.d.TransactionOfMessage(s.ctx, i.Transaction.MessageSHA256)
		s.wantError("TransactionOfMessage", err, nil)
		s.equal("TransactionOfMessage", again, t)
	}
	empty := Issuance(3)
	empty.Identity.RequestedSANs, empty.Identity.Warnings = []string{}, []string{}
	s.equal("Commit of empty lists", s.commit(empty), want(empty, ""))
}

func (s *suite) notFound() {
	s.commit(Issuance(1))
	_, err := s.d.Identity(s.ctx, "0a000009")
	s.wantError("Identity", err, depot.ErrNotFound)
	for _, serial := range []string{"", "0", "xyz", "0A000001", "0a0000", "0a00000101", "000a000001"} {
		_, err = s.d.Identity(s.ctx, serial)
		s.wantError("Identity "+serial, err, depot.ErrNotFound)
	}
	_, err = s.d.IdentityBySHA256(s.ctx, hashOf("certificate", 9))
	s.wantError("IdentityBySHA256", err, depot.ErrNotFound)
	for _, key := range [][2]string{{"rac0", "transaction 9"}, {"rac1", "transaction 1"}, {"rac", "0transaction 1"}, {"rac0", "transaction"}, {"", ""}} {
		_, err = s.d.Transaction(s.ctx, key[0], key[1])
		s.wantError("Transaction", err, depot.ErrNotFound)
	}
	_, err = s.d.TransactionOfMessage(s.ctx, hashOf("message", 9))
	s.wantError("TransactionOfMessage", err, depot.ErrNotFound)
	_, err = s.d.Device(s.ctx, "rac1", "device 1")
	s.wantError("Device", err, depot.ErrNotFound)
	_, err = s.d.Configuration(s.ctx, "rac0")
	s.wantError("Configuration", err, depot.ErrNotFound)
	s.wantError("SetConfiguration", s.d.SetConfiguration(s.ctx, configuration(1), depot.EventConfigurationChanged), depot.ErrNotFound)
}

func (s *suite) invalid() {
	for name, spoil := range map[string]func(*depot.Issuance){
		"no certificate serial": func(i *depot.Issuance) { i.Identity.CertificateSerial, i.Transaction.CertificateSerial = "", "" },
		"upper-case serial":     func(i *depot.Issuance) { i.Identity.CertificateSerial, i.Transaction.CertificateSerial = "0A", "0A" },
		"serial with leading zero": func(i *depot.Issuance) {
			i.Identity.CertificateSerial, i.Transaction.CertificateSerial = "000a", "000a"
		},
		"another serial":        func(i *depot.Issuance) { i.Transaction.CertificateSerial = "0b" },
		"another configuration": func(i *depot.Issuance) { i.Transaction.ConfigurationID = "rac1" },
		"another transaction":   func(i *depot.Issuance) { i.Transaction.ID = "x" },
		"no device":             func(i *depot.Issuance) { i.Identity.Device.Key = "" },
		"no certificate":        func(i *depot.Issuance) { i.Identity.DER = nil },
		"no message":            func(i *depot.Issuance) { i.Transaction.MessageSHA256 = [32]byte{} },
	} {
		i := Issuance(1)
		spoil(&i)
		_, err := s.d.Commit(s.ctx, i)
		s.wantError(name, err, depot.ErrInvalid)
	}
	_, err := s.d.Identities(s.ctx, depot.IdentityQuery{DeviceKey: "device 1"})
	s.wantError("device without configuration", err, depot.ErrInvalid)
	_, err = s.d.Identities(s.ctx, depot.IdentityQuery{Order: "serial"})
	s.wantError("unknown order", err, depot.ErrInvalid)
	s.nothingButEvents(0)
}

// nothingButEvents asserts that there are n certificates in every list.
func (s *suite) nothingButEvents(n int) {
	s.Helper()
	for name, got := range map[string]int{
		"newest first": len(s.serials(depot.IdentityQuery{})),
		"by notAfter":  len(s.serials(depot.IdentityQuery{Order: depot.ByNotAfter})),
		"devices":      len(s.deviceKeys(depot.DeviceQuery{})),
		"events":       len(s.happened(0)),
	} {
		if got != n {
			s.Errorf("%s: %d entries, want %d", name, got, n)
		}
	}
}

func (s *suite) taken() {
	first := Issuance(1)
	s.commit(first)
	for name, spoil := range map[string]func(*depot.Issuance){
		"certificate serial": func(i *depot.Issuance) {
			i.Identity.CertificateSerial, i.Transaction.CertificateSerial = first.Identity.CertificateSerial, first.Identity.CertificateSerial
		},
		"SHA-256": func(i *depot.Issuance) { i.Identity.SHA256 = first.Identity.SHA256 },
	} {
		second := Issuance(2)
		second.Challenge.ID = "ch_2"
		spoil(&second)
		_, err := s.d.Commit(s.ctx, second)
		s.wantError(name, err, depot.ErrExists)
		_, err = s.d.Transaction(s.ctx, "rac0", second.Transaction.ID)
		s.wantError("Transaction of what was refused", err, depot.ErrNotFound)
		_, err = s.d.TransactionOfMessage(s.ctx, second.Transaction.MessageSHA256)
		s.wantError("TransactionOfMessage of what was refused", err, depot.ErrNotFound)
	}
	id, err := s.d.Identity(s.ctx, first.Identity.CertificateSerial)
	s.wantError("Identity", err, nil)
	s.equal("first identity", id, want(first, ""))
	s.nothingButEvents(1)

	second := Issuance(2) // its challenge was not spent by the refusals
	second.Challenge.ID = "ch_2"
	s.commit(second)
}

func (s *suite) transactionReused() {
	// The later commit counts, whatever its times and serials say.
	for step, n := range []int{5, 9, 2} {
		i := in(Issuance(n), "rac0", "same", "device")
		s.commitAfter(i)
		t, err := s.d.Transaction(s.ctx, "rac0", "same")
		s.wantError("Transaction", err, nil)
		if t.CertificateSerial != i.Identity.CertificateSerial {
			s.Errorf("step %d: transaction led to %s, want %s", step, t.CertificateSerial, i.Identity.CertificateSerial)
		}
	}
	// Neighbours in the index are other transactions.
	for n, key := range [][2]string{{"rac0", "sam"}, {"rac0", "same "}, {"rac0", "same\x01"}, {"rac0s", "ame"}, {"rac", "0same"}} {
		s.commit(in(Issuance(20+n), key[0], key[1], "device"))
	}
	t, err := s.d.Transaction(s.ctx, "rac0", "same")
	s.wantError("Transaction", err, nil)
	if want := Issuance(2).Identity.CertificateSerial; t.CertificateSerial != want {
		s.Errorf("transaction led to %s, want %s", t.CertificateSerial, want)
	}
	s.equal("of one transaction", s.serials(depot.IdentityQuery{ConfigurationID: "rac0", TransactionID: "same"}),
		[]string{"0a000002", "0a000009", "0a000005"})
}

func (s *suite) transactionConflict() {
	s.commit(in(Issuance(1), "rac0", "same", "device"))
	first, err := s.d.Transaction(s.ctx, "rac0", "same")
	s.wantError("Transaction", err, nil)

	second := in(Issuance(2), "rac0", "same", "device")
	second.Challenge.ID = "ch_2"
	_, err = s.d.Commit(s.ctx, second)
	s.wantError("After is 0", err, depot.ErrTransactionConflict)
	second.After = first.Sequence + 1
	_, err = s.d.Commit(s.ctx, second)
	s.wantError("After is too high", err, depot.ErrTransactionConflict)
	s.nothingButEvents(1)

	second.After = first.Sequence
	s.commit(second)
	third := in(Issuance(3), "rac0", "same", "device")
	third.After = first.Sequence
	_, err = s.d.Commit(s.ctx, third)
	s.wantError("After is old", err, depot.ErrTransactionConflict)

	elsewhere := in(Issuance(4), "rac1", "same", "device")
	s.commit(elsewhere) // another configuration's transaction is another one
	elsewhere = in(Issuance(5), "rac1", "new", "device")
	elsewhere.After = first.Sequence
	_, err = s.d.Commit(s.ctx, elsewhere)
	s.wantError("After without a transaction", err, depot.ErrTransactionConflict)
}

func (s *suite) messageConflict() {
	first := Issuance(1)
	s.commit(first)
	second := in(Issuance(2), "rac1", "other", "device")
	second.Transaction.MessageSHA256 = first.Transaction.MessageSHA256
	_, err := s.d.Commit(s.ctx, second)
	s.wantError("the same message", err, depot.ErrTransactionConflict)
	s.nothingButEvents(1)
	t, err := s.d.TransactionOfMessage(s.ctx, first.Transaction.MessageSHA256)
	s.wantError("TransactionOfMessage", err, nil)
	if t.ID != first.Transaction.ID {
		s.Errorf("message belongs to transaction %q, want %q", t.ID, first.Transaction.ID)
	}
}

func (s *suite) challengeSpent() {
	first, second, third := Issuance(1), Issuance(2), Issuance(3)
	first.Challenge.ID, second.Challenge.ID, third.Challenge.ID = "ch_1", "ch_1", "ch_3"
	s.commit(first)
	_, err := s.d.Commit(s.ctx, second)
	s.wantError("second spending", err, depot.ErrChallengeSpent)
	s.nothingButEvents(1)
	second.Identity.SHA256 = first.Identity.SHA256
	_, err = s.d.Commit(s.ctx, second)
	s.wantError("spent and taken", err, depot.ErrChallengeSpent)
	second.Transaction.MessageSHA256 = first.Transaction.MessageSHA256
	_, err = s.d.Commit(s.ctx, second)
	s.wantError("conflict, spent and taken", err, depot.ErrTransactionConflict)

	third.After = 77
	_, err = s.d.Commit(s.ctx, third)
	s.wantError("conflict", err, depot.ErrTransactionConflict)
	third.After = 0
	s.commit(third) // the refusal did not spend it
	s.d = s.reopen()
	fourth := Issuance(4)
	fourth.Challenge.ID = "ch_3"
	_, err = s.d.Commit(s.ctx, fourth)
	s.wantError("after reopening", err, depot.ErrChallengeSpent)
	for n := 5; n < 7; n++ { // no challenge is nothing to spend
		s.commit(Issuance(n))
	}
}

func (s *suite) callerKeepsArguments() {
	i := Issuance(1)
	expected := want(i, "")
	returned := s.commit(i)
	i.Identity.DER[0], i.Identity.RequestedSANs[0], i.Identity.Warnings[0] = 'x', "x", "x"
	returned.DER[0], returned.RequestedSANs[0], returned.Warnings[0] = 'x', "x", "x"
	for range 2 {
		found, err := s.d.Identity(s.ctx, i.Identity.CertificateSerial)
		s.wantError("Identity", err, nil)
		s.equal("Identity", found, expected)
		found.DER[0], found.RequestedSANs[0], found.Warnings[0] = 'x', "x", "x"
		page, err := s.d.Identities(s.ctx, depot.IdentityQuery{})
		s.wantError("Identities", err, nil)
		s.equal("Identities", page.Items, []depot.Identity{expected})
		page.Items[0].DER[0] = 'x'
	}

	c := configuration(1)
	kept := c.Clone()
	s.wantError("AddConfiguration", s.d.AddConfiguration(s.ctx, c), nil)
	c.Secret.Hash[0], c.Secret.Salt[0], c.Policy.KeySizes[0] = 'x', 'x', 1
	for range 2 {
		found, err := s.d.Configuration(s.ctx, c.ID)
		s.wantError("Configuration", err, nil)
		s.equal("Configuration", found, utcConfiguration(kept))
		found.Secret.Hash[0], found.Secret.Salt[0], found.Policy.KeySizes[0] = 'x', 'x', 1
	}
}

func (s *suite) endedContext() {
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	for n := range 10 { // a depot that leaves it to chance is seen
		_, err := s.d.Commit(ended, Issuance(n))
		s.wantError("Commit", err, context.Canceled)
	}
	s.wantError("AddConfiguration", s.d.AddConfiguration(ended, configuration(1)), context.Canceled)
	s.nothingButEvents(0)
	s.commit(Issuance(1))
}

func (s *suite) reopened() {
	var serials []string
	for n := range 5 {
		i := in(Issuance(n), "rac0", "same", "device")
		serials = append(serials, s.commitAfter(i).CertificateSerial)
	}
	s.wantError("AddConfiguration", s.d.AddConfiguration(s.ctx, configuration(1)), nil)
	before := s.happened(0)
	page, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: 2})
	s.wantError("Identities", err, nil)

	s.d = s.reopen()
	s.equal("events", s.happened(0), before)
	slices.Reverse(serials)
	s.equal("certificates", s.serials(depot.IdentityQuery{}), serials)
	s.equal("the rest, by a cursor from before", s.serials(depot.IdentityQuery{Cursor: page.NextCursor}), serials[2:])
	for n := range 5 {
		i := in(Issuance(n), "rac0", "same", "device")
		id, err := s.d.Identity(s.ctx, i.Identity.CertificateSerial)
		s.wantError("Identity", err, nil)
		previous := ""
		if n > 0 {
			previous = Issuance(n - 1).Identity.CertificateSerial
		}
		s.equal("Identity", id, want(i, previous))
	}
	c, err := s.d.Configuration(s.ctx, configuration(1).ID)
	s.wantError("Configuration", err, nil)
	s.equal("Configuration", c, utcConfiguration(configuration(1)))

	// The numbers go on.
	last, err := s.d.Transaction(s.ctx, "rac0", "same")
	s.wantError("Transaction", err, nil)
	s.commitAfter(in(Issuance(5), "rac0", "same", "device"))
	next, err := s.d.Transaction(s.ctx, "rac0", "same")
	s.wantError("Transaction", err, nil)
	if next.Sequence <= last.Sequence {
		s.Errorf("sequence %d after %d", next.Sequence, last.Sequence)
	}
}

func (s *suite) closed() {
	s.commit(Issuance(1))
	s.wantError("Ready", s.d.Ready(s.ctx), nil)
	s.wantError("Close", s.d.Close(), nil)
	s.wantError("second Close", s.d.Close(), nil)
	_, err := s.d.Commit(s.ctx, Issuance(2))
	s.wantError("Commit", err, depot.ErrUnavailable)
	_, err = s.d.Identity(s.ctx, "0a000001")
	s.wantError("Identity", err, depot.ErrUnavailable)
	s.wantError("Ready", s.d.Ready(s.ctx), depot.ErrUnavailable)
}
