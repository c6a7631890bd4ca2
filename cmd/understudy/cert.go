package main

import (
	"net/url"
	"strings"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// certCmd groups the verbs on certificates.
type certCmd struct {
	List   certListCmd   `cmd:"" help:"List certificates, latest first."`
	Show   certShowCmd   `cmd:"" help:"Show one certificate and how it came to be."`
	Export certExportCmd `cmd:"" help:"Write one certificate, or all that a search finds."`
	Revoke certRevokeCmd `cmd:"" help:"Revoke a certificate, put it on hold or lift a hold."`
	Used   certUsedCmd   `cmd:"" help:"Say that a certificate was seen in use."`
}

func certificatePath(name string) string {
	return "/api/v1/certificates/" + url.PathEscape(name)
}

// printIdentities shows a table of certificates.
func (a *app) printIdentities(items []api.Identity) error {
	table := output.NewTable("CERTIFICATE SERIAL", "STATE", "NOT AFTER", "CONFIGURATION", "DEVICE", "SUBJECT")
	for _, item := range items {
		table.Row(item.CertificateSerial, item.State, output.Time(item.NotAfter), item.Configuration.Name, item.Device.Key, item.Subject)
	}
	return table.Write(a.stdout)
}

// printIdentity shows one certificate.
func (a *app) printIdentity(item api.Identity) error {
	return output.Facts(a.stdout,
		"certificate serial", item.CertificateSerial,
		"SHA-256", item.SHA256,
		"subject", item.Subject,
		"state", item.State,
		"not before", output.Time(item.NotBefore),
		"not after", output.Time(item.NotAfter),
		"issued at", output.Time(item.IssuedAt),
		"under a clock", clockOffset(item.ClockOffsetSeconds),
		"revoked at", optionalTime(item.RevokedAt),
		"revoked because", item.RevocationReason,
		"revoked by", item.RevokedBy,
		"first used at", optionalTime(item.UsedAt),
		"revoked if unused", optionalTime(item.RevokeUnusedAt),
		"configuration", item.Configuration.Name,
		"device", item.Device.Key,
		"device serial", item.Device.DeviceSerial,
		"profile UUID", item.Device.ProfileUUID,
		"UDID", item.Device.UDID,
		"UPN", item.Device.UPN,
		"device id", item.Device.DeviceID,
		"computer name", item.Device.ComputerName,
		"transaction", item.TransactionID,
		"public key", item.PublicKeySHA256,
		"asked from", strings.TrimSpace(item.Source.Address+" "+item.Source.UserAgent),
		"algorithms", strings.TrimSpace(item.Wire.Digest+" "+item.Wire.Cipher),
		"dropped names", strings.Join(item.RequestedSANs, " "),
		"warnings", strings.Join(item.Warnings, " "),
		"replaces", item.PreviousCertificateSerial,
		"superseded by", item.SupersededBy,
		"request", item.RequestID,
		"approved by", item.ApprovedBy,
	)
}

// optionalTime writes a time that may be absent.
func optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return output.Time(*t)
}
