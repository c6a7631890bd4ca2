package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	idleTimeout       = 60 * time.Second
	// writeTimeout runs from the end of the header. It leaves room for the
	// slowest body, the longest wait in the queue and the longest work.
	writeTimeout = 45 * time.Second
	// workTime bounds what one message may take once it has its turn.
	workTime = 10 * time.Second
	// delegatedTime is the same for one about which Microsoft is asked: a
	// validation and a notification, with what they need beforehand.
	delegatedTime = 25 * time.Second
	// stopWait bounds how long a stop waits for requests in flight.
	stopWait = 20 * time.Second

	// maxHeaderBytes lets a GET message of 64 KiB through, with its headers.
	maxHeaderBytes = 80 << 10

	maxPublicConnections = 4096
	maxAdminConnections  = 256

	// housekeeping is how often log summaries are written.
	housekeeping = time.Second
)

// Serve answers on both listeners until ctx ends or one of them fails. It owns
// them and closes both. With a TLS configuration the public one speaks HTTPS.
//
// When ctx ends, /readyz turns red first and the admin listener stays up to
// say so; requests in flight finish, for 20 seconds at most; then Serve
// returns nil. It returns an error when a listener failed or requests had to
// be cut off.
func (s *Server) Serve(ctx context.Context, public, admin net.Listener, tlsConfig *tls.Config) error {
	public = newSharing(netutil.LimitListener(public, maxPublicConnections), s.proxies, s.log)
	if tlsConfig != nil {
		public = tls.NewListener(public, publicTLS(tlsConfig))
	}
	admin = netutil.LimitListener(admin, maxAdminConnections)
	publicServer, adminServer := s.newHTTPServer(s.Public()), s.newHTTPServer(s.Admin())

	failed := make(chan error, 2)
	go func() { failed <- publicServer.Serve(public) }()
	go func() { failed <- adminServer.Serve(admin) }()
	var cause error
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			s.transactions.summarise()
		case <-ctx.Done():
			running = false
		case err := <-failed:
			cause, running = fmt.Errorf("serve: %w", err), false
		}
	}
	if !s.stopping.Swap(true) {
		close(s.ending)
	}
	err := errors.Join(cause, stop(publicServer), stop(adminServer))
	s.transactions.summarise()
	return err
}

// stop ends a server: no new connections, what is in flight may finish.
func stop(h *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop: requests were cut off: %w", err), h.Close())
	}
	return nil
}

// newHTTPServer holds a handler to the limits of a listener that strangers can
// reach.
func (s *Server) newHTTPServer(h http.Handler) *http.Server {
	// HTTP/2 stays off: SCEP clients do not speak it, and its ways to load a
	// server (rapid reset, CONTINUATION floods) stay away with it.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            readHeaderTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		Protocols:                    protocols,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(connectionLog{s.log}, "", 0),
	}
}

// publicTLS is the operator's TLS configuration without what breaks clients:
// macOS fails to renew when it is asked for a certificate.
func publicTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.ClientAuth = tls.NoClientCert
	c.NextProtos = []string{"http/1.1"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// connectionLog takes net/http's own messages. What a client does wrong while
// it connects is for debugging; the rest (no more file descriptors) is for the
// operator.
type connectionLog struct{ log *slog.Logger }

// Write logs one message.
func (c connectionLog) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(line, []byte("TLS handshake error")) {
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, "http", slog.String("detail", printable(string(bytes.TrimSpace(line)), maxLogText)))
	return len(line), nil
}
