// Command compare runs Understudy beside two other SCEP servers, micromdm's
// scepserver and step-ca, and writes what it measured into docs/performance.md:
//
//	go run ./test/compare
//
// It is a command and not a verb of understudy, because it installs and runs
// programs of others, which a server's binary must not be able to do, and a
// command and not a test, because it takes minutes and needs the network once.
//
// All servers get the same CA key and certificate and the same saved messages,
// on loopback, one at a time, each cell on a fresh store. The server is pinned
// to one core and the generator to another. Costs are in R: the CPU time of
// one RSA-2048 signature in pure Go on the server's core, measured while each
// cell runs, since a busy neighbour doubles every CPU time.
//
// It ends within its budget of time and writes what it has. What it measured
// and made is kept, so that the next run goes on where this one ended; the run
// that measures the last cell clears it away.
//
// The package must not know how a certificate is issued.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plan is what the command line asks for.
type plan struct {
	count, rounds    int
	concurrency      []int
	growth           []int
	growthRounds     int
	budget           time.Duration
	fresh            bool
	serverCore, core int
	peers            string
	document         string
}

// messages is how many a server's file holds: a slice for each growth round,
// because those rounds share a store.
func (p plan) messages() int { return p.slice() * max(p.growthRounds, 1) }

// slice is how many messages a cell sends.
func (p plan) slice() int { return p.count + warmUp }

// warmUp is how many messages a cell sends before its clock starts.
const warmUp = 20

func main() {
	var p plan
	var err error
	if len(os.Args) == 2 && os.Args[1] == measureVerb {
		err = measureR()
	} else if p, err = parse(os.Args[1:]); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, p)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string) (plan, error) {
	p := plan{}
	cache, err := os.UserCacheDir()
	if err != nil {
		return p, err
	}
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	flags.IntVar(&p.count, "count", 200, "messages in a cell")
	flags.IntVar(&p.rounds, "rounds", 5, "rounds over all servers and concurrencies")
	flags.IntVar(&p.growthRounds, "growth-rounds", 3, "rounds over all servers at each fill")
	flags.DurationVar(&p.budget, "budget", 20*time.Minute, "end after this time; the next run goes on")
	flags.BoolVar(&p.fresh, "fresh", false, "forget what earlier runs measured")
	flags.IntVar(&p.serverCore, "server-core", 0, "core of the servers")
	flags.IntVar(&p.core, "generator-core", 1, "core of the generator")
	flags.StringVar(&p.peers, "peers", filepath.Join(cache, "understudy-compare"), "where the other servers are, or are installed to")
	flags.StringVar(&p.document, "document", "docs/performance.md", "where the tables go, between their markers")
	concurrency := flags.String("concurrency", "1,8,32", "requests in flight")
	growth := flags.String("growth", "1000,10000,100000,1000000", "stored certificates; above 100000 Understudy only")
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	if p.concurrency, err = numbers(*concurrency); err == nil {
		p.growth, err = numbers(*growth)
	}
	if err == nil && (p.count < 1 || p.rounds < 1 || slices.Min(append(p.concurrency, 1)) < 1) {
		err = fmt.Errorf("count, rounds and concurrency begin at 1")
	}
	return p, err
}

func numbers(list string) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}

func run(ctx context.Context, p plan) error {
	ctx, cancel := context.WithTimeout(ctx, p.budget)
	defer cancel()
	h, err := newHouse(ctx, p)
	if err != nil {
		return err
	}
	j, err := openJournal(filepath.Join(h.dir, "cells.jsonl"))
	if err != nil {
		return err
	}
	defer j.close()
	missing := 0
	for _, w := range h.work() {
		if j.has(w) {
			continue
		}
		if ctx.Err() != nil {
			missing++
			continue
		}
		one := h.measure(ctx, w)
		if ctx.Err() != nil { // cut short: it counts for nothing
			missing++
			continue
		}
		fmt.Fprintf(os.Stderr, "round %d: %s\n", w.round+1, one)
		if err := j.add(one); err != nil {
			return err
		}
	}
	if err := write(p, h, j.cells, missing); err != nil {
		return err
	}
	if missing > 0 {
		fmt.Fprintf(os.Stderr, "%d cells are missing: run the same command again\n", missing)
		return nil
	}
	return os.RemoveAll(h.dir)
}

// task is a cell that is to be measured.
type task struct {
	server        server
	concurrency   int
	stored, round int
}

// work is all of it, in the order in which it is done: servers within
// concurrencies within rounds, first on empty stores and then at each fill.
func (h *house) work() (all []task) {
	for round := range h.plan.rounds {
		for _, c := range h.plan.concurrency {
			for _, s := range h.servers {
				all = append(all, task{s, c, 0, round})
			}
		}
	}
	for _, stored := range h.plan.growth {
		for round := range h.plan.growthRounds {
			for _, s := range h.servers {
				if s.seed != nil && stored <= s.most {
					all = append(all, task{s, 8, stored, round})
				}
			}
		}
	}
	return all
}
