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
// cell runs, since a busy neighbour doubles every CPU time. The package must not know how a certificate is issued.
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
	limit            time.Duration
	serverCore, core int
	peers            string
	document         string
}

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
	flags.DurationVar(&p.limit, "limit", 40*time.Minute, "begin nothing after this time")
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
	deadline := time.Now().Add(p.limit)
	h, err := newHouse(ctx, p)
	if err != nil {
		return err
	}
	defer os.RemoveAll(h.dir)
	var cells []cell
	for round := range p.rounds {
		for _, c := range p.concurrency {
			for _, s := range h.servers {
				if ctx.Err() != nil || time.Now().After(deadline) {
					continue
				}
				one := h.measure(ctx, s, c, 0)
				fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, one)
				cells = append(cells, one)
			}
		}
	}
	for _, stored := range p.growth {
		for _, s := range h.servers {
			for range 3 {
				if s.seed == nil || stored > s.most || ctx.Err() != nil || time.Now().After(deadline) {
					continue
				}
				one := h.measure(ctx, s, 8, stored)
				fmt.Fprintln(os.Stderr, one)
				cells = append(cells, one)
			}
		}
	}
	return write(p, h, cells)
}
