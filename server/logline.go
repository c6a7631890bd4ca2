package server

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
)

const (
	// How much of an untrusted text a log line holds, in bytes.
	maxUserAgent = 256
	maxLogText   = 1024

	// floodLines is how many lines a second are written for one of the
	// reasons that anybody can cause by the thousand.
	floodLines = 10
)

// transactionLog writes one line for each transaction. Everything untrusted in
// it is the value of an attribute, which the handler escapes.
type transactionLog struct {
	log    *slog.Logger
	floods map[refusal.Reason]*flood
}

// flood bounds the lines of one reason.
type flood struct {
	lines   *rate.Limiter
	dropped atomic.Int64 // lines not written since the last summary
}

// newTransactionLog writes to log.
func newTransactionLog(log *slog.Logger) *transactionLog {
	return &transactionLog{log: log, floods: map[refusal.Reason]*flood{
		refusal.RateLimited: {lines: rate.NewLimiter(floodLines, floodLines)},
		refusal.Busy:        {lines: rate.NewLimiter(floodLines, floodLines)},
	}}
}

// write writes the line of a transaction: info for answers, yes or no, and
// error for what should not have happened.
func (l *transactionLog) write(live *configuration.Live, from enroll.Source, a enroll.Answer, took time.Duration) {
	if f := l.floods[a.Reason]; f != nil && !f.lines.Allow() {
		f.dropped.Add(1)
		return
	}
	level, detail := slog.LevelInfo, a.Detail
	if a.Outcome == enroll.Failed {
		level = slog.LevelError
		if a.Internal != nil {
			detail = a.Internal.Error()
		}
	}
	l.log.LogAttrs(context.Background(), level, "transaction",
		slog.String("configuration", live.Record.ID),
		slog.String("transaction_id", printable(a.TransactionID, maxLogText)),
		slog.String("message_type", printable(a.MessageType, maxLogText)),
		slog.String("outcome", string(a.Outcome)),
		slog.String("reason", string(a.Reason)),
		slog.String("detail", printable(detail, maxLogText)),
		slog.String("device_key", printable(a.DeviceKey, maxLogText)),
		slog.String("certificate_serial", a.CertificateSerial),
		slog.String("remote", from.Address),
		slog.String("user_agent", from.UserAgent),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
	)
}

// summarise writes how many lines were left out since the last summary.
func (l *transactionLog) summarise() {
	for _, reason := range refusal.Reasons() {
		f := l.floods[reason]
		if f == nil {
			continue
		}
		if n := f.dropped.Swap(0); n > 0 {
			l.log.Info("transactions not logged", slog.String("reason", string(reason)), slog.Int64("count", n))
		}
	}
}

// logPanic says that code panicked, and where. The value is not printed: it
// may hold a secret, and printing it may panic again.
func logPanic(log *slog.Logger, value any) {
	log.Error("panic", slog.String("type", typeName(value)), slog.String("stack", string(debug.Stack())))
}
