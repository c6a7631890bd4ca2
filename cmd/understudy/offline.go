package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"understudy.example/understudy/backup"
	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/depot/bolt"
)

// storeFlag says where the store is, for verbs that work on its files.
type storeFlag struct {
	Store string `default:"bolt:" placeholder:"URL" help:"Where the server keeps its records: bolt: (in the data directory) or bolt:DIR."`
}

// files finds the data directory and the store in it. Neither is made.
func (f storeFlag) files(data string) (datadir.Dir, string, error) {
	where, err := parseStore(f.Store)
	if err != nil {
		return "", "", &exitError{code: exitUsage, err: err}
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return "", "", &exitError{code: exitNotFound, err: fmt.Errorf("there is no data directory %s: name it with --data", data)}
	}
	dir, err := datadir.Open(data)
	if err != nil {
		return "", "", err
	}
	if where == "" {
		where = dir.Store()
	}
	if _, err := os.Stat(where); errors.Is(err, fs.ErrNotExist) {
		return "", "", &exitError{code: exitNotFound, err: fmt.Errorf("there is no store in %s", where)}
	}
	return dir, where, nil
}

// offline gives an error of work on files its exit code: a store that a server
// holds is refused, a ledger or a backup that is not whole does not hold.
func offline(err error) error {
	var (
		inUse   *bolt.InUseError
		damaged *bolt.LedgerError
		cut     *bolt.CutError
		invalid *backup.InvalidError
	)
	switch {
	case errors.As(err, &inUse):
		return &exitError{code: exitRefused, err: err}
	case errors.As(err, &damaged), errors.As(err, &cut), errors.As(err, &invalid):
		return &exitError{code: exitFindings, err: err}
	}
	return err
}

// noServer says whether an error means that no server runs on the data
// directory. One that was killed leaves its discovery file behind.
func noServer(err error) bool {
	var notRunning *api.NotRunning
	var unreachable *api.Unreachable
	return errors.As(err, &notRunning) || errors.As(err, &unreachable)
}

// interruptible ends with the first SIGINT or SIGTERM, so that what is half
// made can be removed.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// quietLog shows warnings and errors of offline work.
func (a *app) quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
