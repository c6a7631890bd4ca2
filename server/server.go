// Package server is the HTTP of Understudy: the SCEP endpoint and the
// authority's certificates on a public listener; the admin API, health and
// metrics on another.
//
// Its handlers are thin. It must not know how an enrolment is decided (package
// enroll does), what a configuration is made of, or how anything is kept; it
// turns requests into calls and results into statuses, bounds what strangers
// can cost, and says what happened in one log line and a few counters.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/devicelist"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/lab"
	"understudy.example/understudy/notify"
	"understudy.example/understudy/redistribution"
)

// Config is what a Server works with. All of it is needed but what says that
// its zero value means something.
type Config struct {
	Enroll         *enroll.Service
	Configurations *configuration.Set
	Depot          depot.Depot
	Authority      *ca.Authority
	Clock          clock.Clock
	Log            *slog.Logger

	// BaseURL is where clients reach the public listener, without a slash at
	// its end. It is only used to write URLs.
	BaseURL string
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// RateLimitPerMinute is how many SCEP messages a minute one client may
	// send; 0 is no limit.
	RateLimitPerMinute int
	// MaxInFlight is how many messages are worked on at once; 0 means two for
	// each core.
	MaxInFlight int
	// AdminToken is the bearer token of the admin API that is called admin and
	// may do everything; the depot has others.
	AdminToken string
	// AdminHosts are the names by which the admin listener may be called,
	// besides localhost and IP addresses.
	AdminHosts []string
	// Version is what /version says.
	Version string
	// Revocation is how revocations are told to the world. Optional.
	Revocation *Revocation
	// DeviceFiles reads lists of devices from files. Optional.
	DeviceFiles *devicelist.Files
	// Exchanges are counted by whoever asks Microsoft, and shown with the
	// other metrics. Optional.
	Exchanges *Exchanges
	// Redistribution knows what has to be pushed again. Optional.
	Redistribution *redistribution.Service
	// Webhooks are told of events, see Server.RenderEvent. Optional.
	Webhooks *notify.Service
	// Deliveries are counted by whoever takes events to webhooks, and shown
	// with the other metrics. Optional.
	Deliveries *Deliveries
	// Rejected is told of every challenge that is refused, in a SCEP message or
	// in what a step-ca asks about. It must not wait. Optional.
	Rejected func(configurationID, configurationName, reason, source string)
	// TempDir is where parts of an export wait; empty is the system's place.
	TempDir string
	// Upkeep is what the server can do for its data. Optional.
	Upkeep Upkeep
	// LabClock moves Clock. Nil unless this is a lab: the paths of a lab's
	// clock then do not exist.
	LabClock *lab.Clock
}

// Server has the handlers of both listeners. It is safe for concurrent use.
type Server struct {
	enroll         *enroll.Service
	configurations *configuration.Set
	depot          depot.Depot
	authority      *ca.Authority
	clock          clock.Clock
	log            *slog.Logger

	baseURL    string
	adminHosts []string
	tokens     *tokens
	version    string

	proxies      proxies
	limiter      *limiter
	gate         *gate
	delegated    *gate      // of messages about which Microsoft is asked
	rollover     sync.Mutex // held by whoever prepares, activates or cancels one
	largeBodies  chan struct{}
	transactions *transactionLog
	metrics      *metrics
	answers      [2]atomic.Pointer[certificateAnswer] // of GetCACert: with the root, without
	nextCA       nextCAAnswers
	stopping     atomic.Bool
	revocation   *Revocation
	deviceFiles  *devicelist.Files
	windows      *redistribution.Service
	webhooks     *notify.Service
	upkeep       Upkeep
	backingUp    atomic.Bool
	tempDir      string
	exports      chan struct{} // a place for each export
	polls        chan struct{} // a place for each request that waits
	ending       chan struct{} // closed when the server stops
	labClock     *lab.Clock    // nil unless this is a lab
	rejected     func(configurationID, configurationName, reason, source string)

	public, admin http.Handler
}

// New returns a server. It listens nowhere: see Serve.
func New(c Config) (*Server, error) {
	switch {
	case c.Enroll == nil || c.Configurations == nil || c.Depot == nil || c.Authority == nil || c.Clock == nil || c.Log == nil:
		return nil, errors.New("make server: a part of its configuration is missing")
	case c.AdminToken == "":
		return nil, errors.New("make server: the admin token is empty")
	case c.MaxInFlight < 0:
		return nil, fmt.Errorf("make server: %d messages at once are not possible", c.MaxInFlight)
	case c.MaxInFlight == 0:
		c.MaxInFlight = 2 * runtime.GOMAXPROCS(0)
	}
	limits, err := newLimiter(c.RateLimitPerMinute)
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	known, err := newTokens(c.AdminToken, c.Depot)
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	s := &Server{
		enroll:         c.Enroll,
		configurations: c.Configurations,
		depot:          c.Depot,
		authority:      c.Authority,
		clock:          c.Clock,
		log:            c.Log,
		baseURL:        c.BaseURL,
		adminHosts:     c.AdminHosts,
		tokens:         known,
		version:        c.Version,
		revocation:     c.Revocation,
		deviceFiles:    c.DeviceFiles,
		windows:        c.Redistribution,
		webhooks:       c.Webhooks,
		upkeep:         c.Upkeep,
		labClock:       c.LabClock,
		proxies:        proxies(c.TrustedProxies),
		limiter:        limits,
		gate:           newGate(c.MaxInFlight),
		delegated:      newGate(maxDelegated),
		largeBodies:    make(chan struct{}, maxLargeBodies),
		transactions:   newTransactionLog(c.Log),
		tempDir:        c.TempDir,
		exports:        make(chan struct{}, maxExports),
		polls:          make(chan struct{}, maxPolls),
		ending:         make(chan struct{}),
		rejected:       c.Rejected,
	}
	s.metrics = newMetrics(c.Version, s.gate)
	s.addMetrics(c)
	s.public = http.HandlerFunc(s.servePublic)
	s.admin = s.adminHandler()
	return s, nil
}

// Public returns the handler of the public listener: SCEP and the authority's
// certificates.
func (s *Server) Public() http.Handler { return s.public }

// Admin returns the handler of the admin listener.
func (s *Server) Admin() http.Handler { return s.admin }

// SCEPURL returns the URL that a device is given for a configuration.
func (s *Server) SCEPURL(c depot.Configuration) string {
	return s.baseURL + pkiPrefix + s.authority.ID() + scepPath + "/" + c.ID
}

// SCEPAliasURL returns the same endpoint's URL by the configuration's name.
func (s *Server) SCEPAliasURL(c depot.Configuration) string {
	return s.baseURL + "/scep/" + c.Name
}

// typeName is the type of a value, which is all that may be said about a
// panic's.
func typeName(v any) string { return fmt.Sprintf("%T", v) }
