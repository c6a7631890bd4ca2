package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// A server is one contestant.
type server struct {
	name string
	set  string // of messages; the same set is the same bytes
	path string // of its SCEP URL
	most int    // stored certificates that it is tried with

	make    func(dir string) error // fills a directory, once
	command func(dir string, port int) ([]string, error)
	seed    func(ctx context.Context, dir string, n int) error // stores n certificates; nil: cannot

	template, messages string
}

const (
	nameUnderstudy = "understudy"
	nameP256       = "understudy-p256"
	nameMicromdm   = "micromdm"
	nameStep       = "step-ca"
)

// contestants are the servers in the order of a round. Those of the set
// "single" share one CA and one set of messages; P-256 needs an RA of its own,
// and so messages that are encrypted to it.
func (h *house) contestants() []server {
	return []server{
		h.own(nameUnderstudy, "single", h.understudy, "--authority", "single"),
		{name: nameMicromdm, set: "single", path: "/scep", most: 100_000, make: h.makeMicromdm, seed: seedMicromdm,
			command: func(dir string, port int) ([]string, error) {
				return []string{filepath.Join(h.plan.peers, "scepserver"), "-depot", dir, "-http-addr", fmt.Sprintf("127.0.0.1:%d", port),
					"-challenge", challenge}, nil
			}},
		{name: nameStep, set: "single", path: "/scep/scep", most: 100_000, make: h.makeStep, seed: h.seedStep, command: h.stepCommand},
		h.p256(),
	}
}

// p256 is not tried with a million: its store is that of the other.
func (h *house) p256() server {
	s := h.own(nameP256, "p256", h.understudy, "--authority", "chain", "--issuer-key", "p256")
	s.most = 100_000
	return s
}

// boring are ours with BoringCrypto.
func (h *house) boring(binary string) []server {
	shared := h.own("understudy-boring", "single", binary, "--authority", "single")
	shared.make = copyOf(filepath.Join(h.dir, nameUnderstudy))
	p256 := h.own("understudy-p256-boring", "p256", binary, "--authority", "chain", "--issuer-key", "p256")
	p256.make = copyOf(filepath.Join(h.dir, nameP256))
	shared.seed, p256.seed = nil, nil
	return []server{shared, p256}
}

func copyOf(template string) func(string) error {
	return func(dir string) error {
		return copyDir(filepath.Join(dir, "data"), filepath.Join(template, "data"))
	}
}

func (h *house) own(name, set, binary string, more ...string) server {
	return server{name: name, set: set, path: "/scep", most: 1_000_000, seed: seedUnderstudy,
		make: func(string) error { return nil }, // its first start does
		command: func(dir string, port int) ([]string, error) {
			return append([]string{binary, "serve", "--data", filepath.Join(dir, "data"),
				"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--admin-listen", "127.0.0.1:0"}, more...), nil
		}}
}

func (h *house) makeMicromdm(dir string) error {
	certificate, key, err := h.authority()
	if err != nil {
		return err
	}
	return writeFiles(dir, map[string][]byte{"ca.pem": certificate, "ca.key": key, "serial": []byte("02"), "index.txt": nil})
}

func (h *house) makeStep(dir string) error {
	certificate, key, err := h.authority()
	if err != nil {
		return err
	}
	return writeFiles(dir, map[string][]byte{"ca.pem": certificate, "ca.key": key})
}

// seedStep fills step-ca's database with a program that has its library.
func (h *house) seedStep(ctx context.Context, dir string, n int) error {
	return command(ctx, nil, h.stepseed(), filepath.Join(dir, "db"), strconv.Itoa(n))
}

// stepCommand writes the settings of step-ca: SCEP over http, AES-128, the
// database that `step ca init` chooses.
func (h *house) stepCommand(dir string, port int) ([]string, error) {
	tls, err := freePort()
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	settings, err := json.Marshal(object{
		"root": filepath.Join(dir, "ca.pem"), "crt": filepath.Join(dir, "ca.pem"), "key": filepath.Join(dir, "ca.key"),
		"address": fmt.Sprintf("127.0.0.1:%d", tls), "insecureAddress": fmt.Sprintf("127.0.0.1:%d", port),
		"dnsNames": []string{"localhost"}, "logger": object{"format": "text"},
		"db": object{"type": "badgerv2", "dataSource": filepath.Join(dir, "db")},
		"authority": object{"provisioners": []object{{
			"type": "SCEP", "name": "scep", "challenge": challenge, "minimumPublicKeyLength": 2048, "encryptionAlgorithmIdentifier": 1,
			"claims": object{"maxTLSCertDuration": "8760h", "defaultTLSCertDuration": "8760h"},
		}}},
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ca.json")
	return []string{filepath.Join(h.plan.peers, "step-ca"), path}, os.WriteFile(path, settings, 0o600)
}

func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
