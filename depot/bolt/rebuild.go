package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// rebuiltSuffix is that of the new database until it takes the old one's
// place, damagedSuffix that of what it replaced, with a number behind it.
const (
	rebuiltSuffix = ".rebuilt"
	damagedSuffix = ".damaged-"
)

// RebuildOptions are what Rebuild can be given.
type RebuildOptions struct {
	Log *slog.Logger // discarded
	// Certificate and Authority look at each certificate and each generation
	// of the authority before it is taken; their error ends the work.
	Certificate func(depot.Identity) error
	Authority   func(depot.AuthorityGeneration) error
	// Last has the last word before the new database takes its place.
	Last func() error
	// AcceptLoss makes the store from the good beginning of a ledger that does
	// not hold, or from one that ends before the database does. Without it
	// such a ledger is refused.
	AcceptLoss bool
}

// Rebuilt says what Rebuild made.
type Rebuilt struct {
	Store          string // identity
	Records        uint64 // of the ledger
	Certificates   int
	Devices        int
	Configurations int    // removed ones too
	OldDatabase    string // where the database that was there lies now, if there was one
	OldLedger      string // the same of the ledger, if it had to be cut
	LostBytes      int64  // of the ledger, when a loss was accepted
}

// Rebuild makes the database of a store anew from its ledger alone. The
// database that was there is not changed: it keeps its content under another
// name. Until the new one is whole and was looked through, everything stays
// where it was. A store in use is an *InUseError, a ledger that does not hold
// a *LedgerError, one that ends too early a *CutError.
func Rebuild(ctx context.Context, dir string, o RebuildOptions) (Rebuilt, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	old, err := look(dir)
	if err != nil {
		return Rebuilt{}, err
	}
	defer old.close()
	r := &rebuilder{ctx: ctx, dir: dir, options: o, old: old, path: filepath.Join(dir, databaseFile+rebuiltSuffix)}
	if err := r.make(); err != nil {
		return Rebuilt{}, errors.Join(err, r.discard())
	}
	if err := r.swap(); err != nil {
		return Rebuilt{}, fmt.Errorf("put the rebuilt database in its place: %w", err)
	}
	return r.made, nil
}

// CutError: a ledger ends before the database does, so that acknowledged
// records are missing from it.
type CutError struct {
	Path    string
	Records uint64 // that the ledger has
	Known   uint64 // that the database knows of
	Bytes   int64
}

func (e *CutError) Error() string {
	return fmt.Sprintf("ledger %s ends at byte %d after record %d, but the database knows %d records: the end was cut off",
		e.Path, e.Bytes, e.Records, e.Known)
}

type rebuilder struct {
	ctx     context.Context
	dir     string
	path    string // of the new database
	options RebuildOptions
	old     *known
	db      *bbolt.DB
	replay  *replayer
	ledger  Report // what was read of it
	made    Rebuilt
}

func (r *rebuilder) ledgerPath() string { return filepath.Join(r.dir, ledgerFile) }

// make makes the new database and looks through it.
func (r *rebuilder) make() (err error) {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier rebuild left: %w", err)
	}
	r.db, err = bbolt.Open(r.path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	r.replay = &replayer{db: r.db}
	defer r.replay.stop()
	if err := r.read(); err != nil {
		return err
	}
	if err := r.replay.flush(); err != nil {
		return err
	}
	if err := r.examine(); err != nil {
		return err
	}
	if r.options.Last != nil {
		if err := r.options.Last(); err != nil {
			return err
		}
	}
	err = errors.Join(r.db.Sync(), r.db.Close())
	r.db = nil
	return err
}

// read replays the ledger as far as it is good.
func (r *rebuilder) read() error {
	f, err := os.Open(r.ledgerPath())
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	r.ledger, err = readLedger(r.ledgerPath(), contextReader{r.ctx, f}, r.take)
	var damaged *LedgerError
	switch {
	case err == nil || errors.Is(err, errTorn): // a torn one was never acknowledged, or the database knows
	case errors.As(err, &damaged) && r.options.AcceptLoss && r.ledger.Records > 0:
		r.options.Log.Warn("ledger is taken up to its damage", "reason", err.Error())
	default:
		return err
	}
	if r.ledger.Records == 0 {
		return fmt.Errorf("ledger %s holds no record", r.ledgerPath())
	}
	return r.compare()
}

// compare holds the ledger against what the old database still says.
func (r *rebuilder) compare() error {
	switch k := r.old; {
	case k.err != nil:
		r.options.Log.Warn("the old database does not say how long the ledger should be", "reason", k.err.Error())
	case k.store != r.ledger.Store:
		return fmt.Errorf("ledger %s belongs to store %s and the database to store %s: files of two stores were mixed; put the right ledger back, or move the database away",
			r.ledgerPath(), r.ledger.Store, k.store)
	case r.ledger.Bytes < k.synced && !r.options.AcceptLoss:
		return &CutError{r.ledgerPath(), r.ledger.Records, k.head.number, r.ledger.Bytes}
	}
	return nil
}

// take replays one record.
func (r *rebuilder) take(e Entry) error {
	if k := r.old; k.err == nil && e.Number == k.head.number && e.after.hash != k.head.hash && !r.options.AcceptLoss {
		return &LedgerError{Path: r.ledgerPath(), Offset: e.Offset, Number: e.Number, Err: errDiffers}
	}
	switch depot.EventType(e.Type) {
	case EntryStore:
		return r.begin(e)
	case EntryAuthority:
		if a, err := e.Authority(); err != nil {
			return err
		} else if r.options.Authority != nil {
			if err := r.options.Authority(a); err != nil {
				return fmt.Errorf("ledger record %d: %w", e.Number, err)
			}
		}
	case depot.EventCertificateIssued:
		if i, err := e.Issuance(); err != nil {
			return err
		} else if r.options.Certificate != nil {
			if err := r.options.Certificate(i.Identity); err != nil {
				return fmt.Errorf("ledger record %d: certificate %s: %w", e.Number, i.Identity.CertificateSerial, err)
			}
		}
	}
	return r.replay.apply(e)
}

// begin makes the buckets, from the first record.
func (r *rebuilder) begin(e Entry) error {
	if e.Number != 1 {
		return &LedgerError{Path: r.ledgerPath(), Offset: e.Offset, Number: e.Number, Err: errors.New("a second beginning")}
	}
	r.made.Store = e.payload.Store
	return r.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return fmt.Errorf("make database: %w", err)
			}
		}
		b := &batch{tx: tx}
		return errors.Join(
			b.put(bucketMeta, []byte(metaFormat), number(format)),
			b.put(bucketMeta, []byte(metaStore), []byte(e.payload.Store)),
			b.put(bucketMeta, []byte(metaHead), e.after.bytes()),
		)
	})
}

// examine looks through the new database and counts what it holds.
func (r *rebuilder) examine() error {
	return r.db.View(func(tx *bbolt.Tx) error {
		end, err := readHead(tx)
		if err != nil {
			return err
		}
		if end != r.ledger.last {
			return fmt.Errorf("the rebuilt database ends with record %d, the ledger with %d", end.number, r.ledger.last.number)
		}
		c := &checker{ctx: r.ctx, tx: tx}
		if err := c.all(); err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if len(c.findings) > 0 {
			return fmt.Errorf("the rebuilt database is not sound: %s", c.findings[0])
		}
		r.made.Records = end.number
		for bucket, count := range map[string]*int{
			bucketIdentities: &r.made.Certificates, bucketDevices: &r.made.Devices, bucketConfigurations: &r.made.Configurations,
		} {
			*count = tx.Bucket([]byte(bucket)).Stats().KeyN
		}
		return nil
	})
}

// discard removes a new database that will not be used.
func (r *rebuilder) discard() error {
	if r.db != nil {
		r.replay.stop()
		r.db.Close()
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove half a database: %w", err)
	}
	return nil
}

// swap puts the new database where the old one is, and a ledger that had to be
// cut likewise. The ledger comes first: with a short ledger and the old
// database rebuilding can begin again.
func (r *rebuilder) swap() error {
	if err := r.cutLedger(); err != nil {
		return err
	}
	path := filepath.Join(r.dir, databaseFile)
	kept, err := keepBeside(path)
	if err != nil {
		return err
	}
	r.made.OldDatabase = kept
	if err := os.Rename(r.path, path); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// cutLedger cuts off what follows the good records, when losing it was
// accepted. A record that is only torn is left to Open.
func (r *rebuilder) cutLedger() error {
	path := r.ledgerPath()
	info, err := os.Stat(path)
	if err != nil || info.Size() == r.ledger.Bytes || !r.options.AcceptLoss {
		return err
	}
	r.made.LostBytes = info.Size() - r.ledger.Bytes
	next := path + rebuiltSuffix
	if err := copyFile(next, path, r.ledger.Bytes); err != nil {
		return err
	}
	if r.made.OldLedger, err = keepBeside(path); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// keepBeside gives a file a second name, the first .damaged-N that is free,
// under which it stays when another takes its place, and returns when that name
// is durable. It returns "" when there is no file.
func keepBeside(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for n := 1; ; n++ {
		kept := fmt.Sprintf("%s%s%d", path, damagedSuffix, n)
		if _, err := os.Lstat(kept); err == nil {
			continue
		}
		if err := os.Link(path, kept); err == nil {
			return kept, syncDir(filepath.Dir(path))
		}
		return kept, os.Rename(path, kept) // a file system without links
	}
}

// copyFile copies the first bytes of a file, all of them for -1, to a new one
// and returns when it is on the disk. A copy that does not succeed is removed:
// the disk may be full of it.
func copyFile(to, from string, bytes int64) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	if bytes < 0 {
		_, err = io.Copy(out, in)
	} else {
		_, err = io.CopyN(out, in, bytes)
	}
	if err != nil {
		return err
	}
	return out.Sync()
}
