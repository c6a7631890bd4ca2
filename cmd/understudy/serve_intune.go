package main

import (
	"crypto/x509"
	"log/slog"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/device"
	"understudy.example/understudy/server"
)

// delegate makes what asks Microsoft Intune. Every exchange is in the log, and
// no secret of it.
func (in *instance) delegate(log *slog.Logger) configuration.Delegate {
	in.exchanges = server.NewExchanges(intune.Codes())
	clients := &intune.Clients{
		CallerInfo: "Understudy " + version(),
		Log:        log,
		Observe: func(e intune.Exchange) {
			in.exchanges.Count(e.Action, e.Result, e.Code)
			log.Info("microsoft", "action", e.Action, "result", e.Result, "code", e.Code)
		},
		IssuerName: func(c *x509.Certificate) string { return device.FormatName(c.RawIssuer) },
	}
	return clients.Validator
}
