package configuration

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Set is the live configurations of a server. Reading takes no lock; changes
// wait for each other. A change is in the depot before a request sees it, and
// requests in flight keep the Live that they have.
type Set struct {
	depot  depot.Depot
	clock  clock.Clock
	random io.Reader
	// challenges are those of every dynamic configuration.
	challenges *challenge.Dynamic
	delegate   Delegate

	writing sync.Mutex
	now     atomic.Pointer[index]
}

// index is one state of the set; it never changes.
type index struct {
	byID   map[string]*Live
	byName map[string]*Live
	list   []*Live // by name
}

func newIndex(lives []*Live) *index {
	x := &index{byID: make(map[string]*Live, len(lives)), byName: make(map[string]*Live, len(lives)), list: slices.Clone(lives)}
	slices.SortFunc(x.list, func(a, b *Live) int { return strings.Compare(a.Record.Name, b.Record.Name) })
	for _, l := range x.list {
		x.byID[l.Record.ID], x.byName[l.Record.Name] = l, l
	}
	return x
}

// A Delegate makes the validator of a configuration of mode intune.
type Delegate func(depot.IntuneSettings) (challenge.Validator, error)

// noDelegate is for a set that was not given one.
func noDelegate(depot.IntuneSettings) (challenge.Validator, error) {
	return nil, errors.New("this server was started without Intune")
}

// Option is what Load can do without.
type Option func(*Set)

// WithDelegate says who makes validators of mode intune. Without it there can
// be no such configuration.
func WithDelegate(d Delegate) Option { return func(s *Set) { s.delegate = d } }

// Load reads the configurations of a depot and makes them live. One that
// cannot be, because it has no challenge or a policy that this version does
// not know, is an error: a server must not start with it. One that lacks only
// its delegate, which lives in files that come and go, refuses everybody: see
// Live.Unavailable. A nil random means crypto/rand.
func Load(ctx context.Context, d depot.Depot, c clock.Clock, random io.Reader, options ...Option) (*Set, error) {
	if random == nil {
		random = rand.Reader
	}
	s := &Set{depot: d, clock: c, random: random, challenges: challenge.NewDynamic(d, random), delegate: noDelegate}
	for _, o := range options {
		o(s)
	}
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("load configurations: %w", err)
	}
	return s, nil
}

func (s *Set) load(ctx context.Context) error {
	records, err := s.depot.Configurations(ctx)
	if err != nil {
		return err
	}
	var lives []*Live
	var wrong []error
	for _, r := range records {
		l, err := s.stored(r)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		lives = append(lives, l)
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	s.now.Store(newIndex(lives))
	return nil
}

// stored makes a stored configuration live: as it is already when it did not
// change, since the files that it was made with may be gone by now.
func (s *Set) stored(c depot.Configuration) (*Live, error) {
	if x := s.now.Load(); x != nil {
		if l, ok := x.byID[c.ID]; ok && reflect.DeepEqual(l.Record, SettingsOf(c).apply(c)) {
			return l, nil
		}
	}
	l, err := s.newLive(c)
	if no := new(delegateError); errors.As(err, &no) {
		l.Validator, err = unavailable{no.err}, nil
	}
	return l, err
}

// ByID returns the configuration with this id.
func (s *Set) ByID(id string) (*Live, bool) {
	l, ok := s.now.Load().byID[id]
	return l, ok
}

// ByName returns the configuration with this name.
func (s *Set) ByName(name string) (*Live, bool) {
	l, ok := s.now.Load().byName[name]
	return l, ok
}

// Find returns the configuration with this id or, failing that, this name.
// The error wraps depot.ErrNotFound.
func (s *Set) Find(idOrName string) (*Live, error) {
	x := s.now.Load()
	if l, ok := x.byID[idOrName]; ok {
		return l, nil
	}
	if l, ok := x.byName[idOrName]; ok {
		return l, nil
	}
	return nil, errNoSuch(idOrName)
}

// List returns all configurations, by name.
func (s *Set) List() []*Live { return slices.Clone(s.now.Load().list) }

// Add stores a new configuration with the given secret key, or a new one when
// secret is nil, and makes it live. For a dynamic one it is the password of
// the challenge page. The secret key is returned this once and
// nowhere else. Errors: *InvalidError (also for the secret key, as field
// secret_key), depot.ErrExists when the name is in use, and those of the depot.
func (s *Set) Add(ctx context.Context, settings Settings, secret *challenge.Secret) (*Live, challenge.Secret, error) {
	if err := checkAll(settings, secret); err != nil {
		return nil, challenge.Secret{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	id, err := NewID(s.random)
	if err != nil {
		return nil, challenge.Secret{}, fmt.Errorf("add configuration: %w", err)
	}
	at := s.clock.Now()
	record := settings.apply(depot.Configuration{ID: id, Revision: 1, CreatedAt: at, ChangedAt: at})
	key, err := s.setSecret(&record, secret)
	if err != nil {
		return nil, challenge.Secret{}, fmt.Errorf("add configuration: %w", err)
	}
	l, err := s.newLive(record)
	if err != nil {
		return nil, challenge.Secret{}, fmt.Errorf("add configuration: %w", invalid(err))
	}
	if err := s.depot.AddConfiguration(ctx, record); err != nil {
		return nil, challenge.Secret{}, s.failed(ctx, "add configuration", err)
	}
	s.replace(nil, l)
	return l, key, nil
}

// checkAll lists the problems of settings and secret key together.
func checkAll(settings Settings, secret *challenge.Secret) error {
	var wrong problems
	if invalid := new(InvalidError); errors.As(settings.Validate(), &invalid) {
		wrong = invalid.Problems
	}
	if secret != nil && settings.Mode == depot.ModeIntune {
		wrong.add("secret_key", "means nothing in mode intune")
	} else if secret != nil {
		if err := challenge.CheckSecretKey(secret.Reveal()); err != nil {
			wrong.add("secret_key", "%s", strings.TrimPrefix(err.Error(), "secret key "))
		}
	}
	return wrong.err()
}

// setSecret puts the hash of secret, or of a new secret key, into the record
// and returns the key. What is secret about a dynamic configuration is the
// password of its challenge page; one of mode intune has its secret in files,
// which are read anew.
func (s *Set) setSecret(record *depot.Configuration, secret *challenge.Secret) (challenge.Secret, error) {
	if record.Mode == depot.ModeIntune {
		return challenge.Secret{}, nil
	}
	var key challenge.Secret
	var err error
	if secret != nil {
		key = *secret
	} else if key, err = challenge.GenerateSecretKey(s.random); err != nil {
		return challenge.Secret{}, err
	}
	hash, err := challenge.HashSecretKey(s.random, key)
	if record.Mode == depot.ModeDynamic {
		record.ChallengePassword = hash
		record.ChallengeUser = cmp.Or(record.ChallengeUser, record.Name)
	} else {
		record.Secret = hash
	}
	return key, err
}

// Change puts the fields of a JSON object over the settings of a
// configuration. A change to what is already so is no change and writes
// nothing. Errors: *InvalidError, depot.ErrNotFound, depot.ErrExists when the
// new name is in use, and those of the depot.
func (s *Set) Change(ctx context.Context, idOrName string, patch []byte) (*Live, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old, err := s.Find(idOrName)
	if err != nil {
		return nil, err
	}
	settings, err := SettingsOf(old.Record).Merge(patch)
	if err != nil {
		return nil, err
	}
	if err := settings.Validate(); err != nil { // before seconds become durations, which could overflow
		return nil, err
	}
	if settings.Mode != old.Record.Mode {
		return nil, problems{{Field: "mode", Detail: "cannot be changed: devices know the URL as one of this mode; add another configuration"}}.err()
	}
	record := settings.apply(old.Record)
	if reflect.DeepEqual(record, old.Record) {
		return s.readAgain(old)
	}
	return s.store(ctx, "change configuration", old, record, depot.EventConfigurationChanged)
}

// readAgain makes a configuration live anew whose files may have changed since:
// those of mode intune. Nothing is stored.
func (s *Set) readAgain(old *Live) (*Live, error) {
	if old.Record.Mode != depot.ModeIntune {
		return old, nil
	}
	l, err := s.newLive(old.Record)
	if err != nil {
		return nil, invalid(err)
	}
	s.replace(old, l)
	return l, nil
}

// ResetSecret replaces the secret key of a configuration with the given one,
// or with a new one when secret is nil, and returns it this once. Requests
// that begin afterwards are judged by the new one. Errors: *InvalidError (field
// secret_key), depot.ErrNotFound, and those of the depot.
func (s *Set) ResetSecret(ctx context.Context, idOrName string, secret *challenge.Secret) (*Live, challenge.Secret, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old, err := s.Find(idOrName)
	if err != nil {
		return nil, challenge.Secret{}, err
	}
	if err := checkAll(SettingsOf(old.Record), secret); err != nil {
		return nil, challenge.Secret{}, err
	}
	record := old.Record
	key, err := s.setSecret(&record, secret)
	if err != nil {
		return nil, challenge.Secret{}, fmt.Errorf("reset secret key: %w", err)
	}
	record.SecretResetAt = s.clock.Now()
	l, err := s.store(ctx, "reset secret key", old, record, depot.EventSecretReset)
	if err != nil {
		return nil, challenge.Secret{}, err
	}
	return l, key, nil
}

// Remove ends a configuration. Its certificates stay valid and listed, its
// name may be used again, its id never. What was kept of its secret key is
// forgotten. Errors: depot.ErrNotFound and those of the depot.
func (s *Set) Remove(ctx context.Context, idOrName string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	old, err := s.Find(idOrName)
	if err != nil {
		return err
	}
	record := old.Record
	at := s.clock.Now()
	record.Revision++
	record.ChangedAt, record.RemovedAt = at, at
	record.Secret, record.ChallengePassword = depot.SecretHash{}, depot.SecretHash{}
	if err := s.depot.SetConfiguration(ctx, record, depot.EventConfigurationRemoved); err != nil {
		return s.failed(ctx, "remove configuration", err)
	}
	s.replace(old, nil)
	return nil
}

// store writes the next revision of old and makes it live.
func (s *Set) store(ctx context.Context, verb string, old *Live, record depot.Configuration, cause depot.EventType) (*Live, error) {
	record.Revision++
	record.ChangedAt = s.clock.Now()
	l, err := s.newLive(record)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, invalid(err))
	}
	if err := s.depot.SetConfiguration(ctx, record, cause); err != nil {
		return nil, s.failed(ctx, verb, err)
	}
	s.replace(old, l)
	return l, nil
}

// replace swaps old for its successor; nil means that there is none.
func (s *Set) replace(old, successor *Live) {
	var lives []*Live
	for _, l := range s.now.Load().list {
		if l != old {
			lives = append(lives, l)
		}
	}
	if successor != nil {
		lives = append(lives, successor)
	}
	s.now.Store(newIndex(lives))
}

// failed wraps the error of a write. Unless a name was taken, the write may
// have happened all the same, or somebody else may have written before: what
// the depot holds now becomes live, if it can be read.
func (s *Set) failed(ctx context.Context, verb string, err error) error {
	if errors.Is(err, depot.ErrExists) {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if loadErr := s.load(context.WithoutCancel(ctx)); loadErr != nil {
		err = errors.Join(err, fmt.Errorf("read back: %w", loadErr))
	}
	return fmt.Errorf("%s: %w", verb, err)
}
