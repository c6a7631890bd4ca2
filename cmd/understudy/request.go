package main

import (
	"net/url"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// requestCmd groups the verbs on requests that an operator decides about.
type requestCmd struct {
	List    requestListCmd    `cmd:"" help:"List requests, latest first."`
	Show    requestShowCmd    `cmd:"" help:"Show one request."`
	Approve requestApproveCmd `cmd:"" help:"Approve a request: its certificate is issued at once."`
	Deny    requestDenyCmd    `cmd:"" help:"Deny a request."`
}

func requestPath(id string, more ...string) string {
	return "/api/v1/requests/" + url.PathEscape(id) + strings.Join(more, "")
}

// printRequest shows one request.
func (a *app) printRequest(r api.Request) error {
	return output.Facts(a.stdout,
		"request", r.ID,
		"state", r.State,
		"subject", r.Subject,
		"configuration", r.Configuration.Name,
		"device", r.Device.Key,
		"device serial", r.Device.DeviceSerial,
		"profile UUID", r.Device.ProfileUUID,
		"UDID", r.Device.UDID,
		"UPN", r.Device.UPN,
		"transaction", r.TransactionID,
		"asked at", output.Time(r.RequestedAt),
		"asked from", strings.TrimSpace(r.Source.Address+" "+r.Source.UserAgent),
		"expires at", output.Time(r.ExpiresAt),
		"public key", r.PublicKeySHA256,
		"dropped names", strings.Join(r.RequestedSANs, " "),
		"warnings", strings.Join(r.Warnings, " "),
		"renews", r.Supersedes,
		"decided at", optionalTime(r.DecidedAt),
		"decided by", r.DecidedBy,
		"note", r.Note,
		"certificate serial", r.CertificateSerial,
	)
}
