package bolt

import (
	"time"

	"understudy.example/understudy/depot"
)

// A field is one value of a record: where it lies in memory, how it is called
// in the database and how in the ledger. One list of fields serves all four
// directions (to and from the database, to and from the ledger), so that they
// cannot disagree.
type field struct {
	tag   uint64 // in the database; rising within a list, never used again
	name  string // in the ledger
	value any    // pointer to the value, or the fields of a record within the record; its types are those of encodeValue
}

// tagSequence is the tag of the number that made a record what it is. It is
// kept in the database only; in the ledger every entry has its number.
const tagSequence = 200

// tagChanged is the same of the last step that changed a record which keeps
// the number of the one that made it.
const tagChanged = 201

func withSequence(fields []field, sequence *uint64) []field {
	return append(fields, sequenceField(sequence))
}

func sequenceField(sequence *uint64) field { return field{tagSequence, "sequence", sequence} }

func withSteps(fields []field, made, changed *uint64) []field {
	return append(withSequence(fields, made), field{tagChanged, "changed", changed})
}

// identityFields leave room for the three fields that callers add, so that an
// issuance does not copy the list again and again.
func identityFields(i *depot.Identity) []field {
	fields := []field{
		{1, "certificate_serial", &i.CertificateSerial},
		{2, "sha256", &i.SHA256},
		{3, "public_key_sha256", &i.PublicKeySHA256},
		{4, "csr_sha256", &i.CSRSHA256},
		{5, "subject", &i.Subject},
		{6, "not_before", &i.NotBefore},
		{7, "not_after", &i.NotAfter},
		{8, "issued_at", &i.IssuedAt},
		{9, "issuer_sha256", &i.IssuerSHA256},
		{10, "key_algorithm", &i.KeyAlgorithm},
		{11, "key_bits", &i.KeyBits},
		{12, "signature_algorithm", &i.SignatureAlgo},
		{13, "configuration_id", &i.ConfigurationID},
		{14, "configuration_name", &i.ConfigurationName},
		{15, "purpose", &i.Purpose},
		{20, "device_key", &i.Device.Key},
		{21, "device_serial", &i.Device.DeviceSerial},
		{22, "profile_uuid", &i.Device.ProfileUUID},
		{23, "udid", &i.Device.UDID},
		{24, "upn", &i.Device.UPN},
		{25, "device_id", &i.Device.DeviceID},
		{26, "computer_name", &i.Device.ComputerName},
		{30, "requested_sans", &i.RequestedSANs},
		{31, "challenge_mode", &i.ChallengeMode},
		{32, "challenge_id", &i.ChallengeID},
		{33, "challenge_by", &i.ChallengeBy},
		{40, "transaction_id", &i.TransactionID},
		{41, "message_type", &i.MessageType},
		{42, "signer_key_is_csr_key", &i.SignerKeyIsCSRKey},
		{43, "signer_sha256", &i.SignerSHA256},
		{44, "digest", &i.Digest},
		{45, "cipher", &i.Cipher},
		{46, "warnings", &i.Warnings},
		{47, "source_address", &i.SourceAddress},
		{48, "source_peer", &i.SourcePeer},
		{49, "user_agent", &i.UserAgent},
		{50, "tls", &i.TLS},
		{51, "clock_offset", &i.ClockOffset},
		{52, "fault", &i.Fault},
		{53, "intune_verdict", &i.IntuneVerdict},
		{54, "intune_activity_id", &i.IntuneActivityID},
		{55, "previous_certificate_serial", &i.PreviousSerial},
		{56, "revoked_at", &i.RevokedAt},
		{57, "revocation_reason", &i.RevocationReason},
		{58, "void", &i.Void},
		{59, "revoked_by", &i.RevokedBy},
		{60, "superseded_at", &i.SupersededAt},
		{61, "superseded_by", &i.SupersededBy},
		{62, "used_at", &i.UsedAt},
		{63, "revoke_unused_at", &i.RevokeUnusedAt},
		{64, "request_id", &i.RequestID},
		{65, "approved_by", &i.ApprovedBy},
		{66, "held_back", &i.HeldBack},
		{}, {}, {},
	}
	return fields[:len(fields)-3]
}

// certificateField is apart from the others because the database keeps the
// DER in a bucket of its own: lists read many records and few certificates.
func certificateField(i *depot.Identity) field { return field{100, "der", &i.DER} }

func transactionFields(t *depot.Transaction) []field {
	return []field{
		{1, "configuration_id", &t.ConfigurationID},
		{2, "transaction_id", &t.ID},
		{3, "message_type", &t.MessageType},
		{4, "message_sha256", &t.MessageSHA256},
		{5, "csr_sha256", &t.CSRSHA256},
		{6, "public_key_sha256", &t.PublicKeySHA256},
		{7, "signer_sha256", &t.SignerSHA256},
		{8, "certificate_serial", &t.CertificateSerial},
		{9, "at", &t.At},
	}
}

func deviceFields(d *depot.Device) []field {
	return []field{
		{1, "configuration_id", &d.ConfigurationID},
		{2, "device_key", &d.Names.Key},
		{3, "device_serial", &d.Names.DeviceSerial},
		{4, "profile_uuid", &d.Names.ProfileUUID},
		{5, "udid", &d.Names.UDID},
		{6, "upn", &d.Names.UPN},
		{7, "device_id", &d.Names.DeviceID},
		{8, "computer_name", &d.Names.ComputerName},
		{9, "first_seen", &d.FirstSeen},
		{10, "last_seen", &d.LastSeen},
		{11, "certificates", &d.Certificates},
		{12, "latest_certificate_serial", &d.LatestSerial},
	}
}

func configurationFields(c *depot.Configuration) []field {
	return []field{
		{1, "id", &c.ID},
		{2, "name", &c.Name},
		{3, "mode", (*string)(&c.Mode)},
		{4, "purpose", (*string)(&c.Purpose)},
		{5, "revision", &c.Revision},
		{6, "secret_salt", &c.Secret.Salt},
		{7, "secret_hash", &c.Secret.Hash},
		{8, "challenge_user", &c.ChallengeUser},
		{9, "challenge_password_salt", &c.ChallengePassword.Salt},
		{10, "challenge_password_hash", &c.ChallengePassword.Hash},
		{11, "intune", intuneFields(&c.Intune)},
		{20, "validity", &c.Policy.Validity},
		{21, "key_sizes", &c.Policy.KeySizes},
		{22, "key_usage", &c.Policy.KeyUsage},
		{23, "retry_period", &c.Policy.RetryPeriod},
		{24, "chain", &c.Policy.Chain},
		{25, "strict", &c.Policy.Strict},
		{26, "sha1", &c.Policy.SHA1},
		{27, "key_checks", &c.Policy.KeyChecks},
		{28, "des", &c.Policy.DES},
		{29, "approval", &c.Policy.Approval},
		{30, "approval_ttl", &c.Policy.ApprovalTTL},
		{31, "renewal", &c.Policy.Renewal},
		{32, "renewal_window", &c.Policy.RenewalWindow},
		{33, "queries", &c.Policy.Queries},
		{34, "next_ca_signer", &c.Policy.NextCASigner},
		{35, "revoke_unused_after", &c.Policy.RevokeUnusedAfter},
		{36, "devices_file", &c.Policy.DevicesFile},
		{37, "challenge_ttl", &c.Policy.ChallengeTTL},
		{38, "max_outstanding", &c.Policy.MaxOutstanding},
		{39, "page", &c.Policy.Page},
		{40, "created_at", &c.CreatedAt},
		{41, "changed_at", &c.ChangedAt},
		{42, "secret_reset_at", &c.SecretResetAt},
		{43, "removed_at", &c.RemovedAt},
		{60, "window_kind", &c.Policy.WindowKind},
		{61, "window_value", &c.Policy.WindowValue},
		{62, "window_strict", &c.Policy.WindowStrict},
		{63, "ack_timeout", &c.Policy.AckTimeout},
	}
}

func intuneFields(i *depot.IntuneSettings) []field {
	return []field{
		{1, "cloud", &i.Cloud},
		{2, "authority", &i.Authority},
		{3, "graph_url", &i.GraphURL},
		{4, "intune_resource", &i.IntuneResource},
		{5, "intune_hosts", &i.IntuneHosts},
		{6, "tenant", &i.Tenant},
		{7, "client_id", &i.ClientID},
		{8, "secret_file", &i.SecretFile},
		{9, "certificate_file", &i.CertificateFile},
		{10, "ca_file", &i.CAFile},
	}
}

func challengeFields(c *depot.Challenge) []field {
	return []field{
		{1, "id", &c.ID},
		{2, "configuration_id", &c.ConfigurationID},
		{3, "sha256", &c.SHA256},
		{4, "created_at", &c.CreatedAt},
		{5, "expires_at", &c.ExpiresAt},
		{6, "created_by", &c.CreatedBy},
		{10, "device_key", &c.Bound.Key},
		{11, "device_serial", &c.Bound.DeviceSerial},
		{12, "profile_uuid", &c.Bound.ProfileUUID},
		{13, "udid", &c.Bound.UDID},
		{14, "upn", &c.Bound.UPN},
		{15, "device_id", &c.Bound.DeviceID},
		{16, "computer_name", &c.Bound.ComputerName},
		{20, "spent_at", &c.SpentAt},
		{21, "certificate_serial", &c.CertificateSerial},
		{22, "withdrawn_at", &c.WithdrawnAt},
		{23, "withdrawn_by", &c.WithdrawnBy},
	}
}

// A withdrawal is when a challenge became worthless.
type withdrawal struct {
	challengeID string
	by          string
	at          time.Time
}

func withdrawalFields(w *withdrawal) []field {
	return []field{
		{1, "challenge_id", &w.challengeID},
		{2, "by", &w.by},
		{3, "at", &w.at},
	}
}

func requestFields(r *depot.Request) []field {
	return []field{
		{1, "id", &r.ID},
		{2, "state", (*string)(&r.State)},
		{3, "transaction", transactionFields(&r.Transaction)},
		{4, "draft", identityFields(&r.Draft)},
		{5, "csr", &r.CSR},
		{6, "challenge", &r.Challenge.ID},
		{7, "supersedes", &r.Supersedes},
		{8, "expires_at", &r.ExpiresAt},
		{9, "decided_at", &r.DecidedAt},
		{10, "decided_by", &r.DecidedBy},
		{11, "note", &r.Note},
	}
}

// decisionFields are those of a decision but for the issuance.
func decisionFields(d *depot.Decision) []field {
	return []field{
		{1, "request_id", &d.RequestID},
		{2, "state", (*string)(&d.State)},
		{3, "at", &d.At},
		{4, "by", &d.By},
		{5, "note", &d.Note},
	}
}

func revocationFields(r *depot.Revocation) []field {
	return []field{
		{1, "certificate_serial", &r.CertificateSerial},
		{2, "reason", (*string)(&r.Reason)},
		{3, "at", &r.At},
		{4, "by", &r.By},
		{5, "note", &r.Note},
	}
}

// revokedFields are what the index of revoked certificates says of one, whose
// certificate serial is in the key.
func revokedFields(r *depot.RevokedCertificate) []field {
	return []field{
		{1, "reason", (*string)(&r.Reason)},
		{2, "revoked_at", &r.RevokedAt},
		{3, "not_after", &r.NotAfter},
	}
}

// A use is when a certificate was first seen in use.
type use struct {
	certificateSerial string
	at                time.Time
}

func useFields(u *use) []field {
	return []field{
		{1, "certificate_serial", &u.certificateSerial},
		{2, "at", &u.at},
	}
}

// A crlNumber is the number of the last CRL of an issuer.
type crlNumber struct {
	issuerSHA256 [32]byte
	number       uint64
}

func crlNumberFields(c *crlNumber) []field {
	return []field{
		{1, "issuer_sha256", &c.issuerSHA256},
		{2, "number", &c.number},
	}
}

// A deviceList is an allow-list, or what is left of one that was removed:
// when, and by whom.
type deviceList struct {
	depot.DeviceList
	removed bool
}

func deviceListFields(l *deviceList) []field {
	return []field{
		{1, "configuration_id", &l.ConfigurationID},
		{2, "devices", &l.Devices},
		{3, "changed_at", &l.ChangedAt},
		{4, "changed_by", &l.ChangedBy},
		{5, "removed", &l.removed},
	}
}

func authorityFields(a *depot.AuthorityGeneration) []field {
	return []field{
		{1, "at", &a.At},
		{2, "root", &a.Root},
		{3, "issuer", &a.Issuer},
		{4, "ra", &a.RA},
	}
}

func eventFields(e *depot.Event) []field {
	return []field{
		{1, "type", (*string)(&e.Type)},
		{2, "at", &e.At},
		{3, "configuration_id", &e.ConfigurationID},
		{4, "configuration_name", &e.ConfigurationName},
		{5, "certificate_serial", &e.CertificateSerial},
		{6, "device_key", &e.DeviceKey},
		{7, "transaction_id", &e.TransactionID},
		{8, "request_id", &e.RequestID},
		{9, "challenge_id", &e.ChallengeID},
		{10, "by", &e.By},
		{11, "reason", &e.Reason},
		{12, "count", &e.Count},
		{13, "superseded_by", &e.SupersededBy},
		{14, "command_id", &e.CommandID},
		{15, "subject_id", &e.SubjectID},
		{16, "source", &e.Source},
		{17, "offset", &e.Offset},
		{18, "frozen_at", &e.FrozenAt},
	}
}
