// Command scale shows that asking costs what the answer holds and not what is stored:
// it seeds stores of several sizes, runs a server on each, asks all of them the
// same questions in turn, and prints what an answer took beside the ratio
// between the biggest store and the smallest.
//
//	go run ./test/scale -sizes 10000,100000,1000000
//	go run ./test/scale -sizes 3000,30000 -quick -limit 2    # fails above
//
// It builds the binary and uses nothing of it but the command line and the
// admin API. Times are the medians of rounds in which the servers take turns, so
// that whatever else the machine does falls on all of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
)

// options are the flags.
type options struct {
	sizes  []int
	rounds int
	each   int
	limit  float64
	dir    string
	quick  bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	o, err := readFlags()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "understudy-scale-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	binary, err := build(ctx, o.dir)
	if err != nil {
		return err
	}
	var stores []*store
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, n := range o.sizes {
		s, err := open(ctx, binary, o.dir, n)
		if err != nil {
			return err
		}
		stores = append(stores, s)
	}
	return measure(ctx, os.Stdout, stores, o)
}

func readFlags() (o options, err error) {
	sizes := flag.String("sizes", "10000,100000", "certificates in each store, rising")
	flag.IntVar(&o.rounds, "rounds", 15, "rounds that are measured")
	flag.IntVar(&o.each, "each", 20, "questions of a kind in a round")
	flag.Float64Var(&o.limit, "limit", 0, "fail when the biggest store takes more than so many times what the smallest does; 0: never")
	flag.StringVar(&o.dir, "dir", "", "keep the stores here, and use those that are there")
	flag.BoolVar(&o.quick, "quick", false, "no exports")
	flag.Parse()
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1000 {
			return o, fmt.Errorf("-sizes %s: numbers from 1000 on, with commas between them", *sizes)
		}
		o.sizes = append(o.sizes, n)
	}
	return o, nil
}
