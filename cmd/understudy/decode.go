package main

import (
	"fmt"
	"io"
	"os"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/explain"
)

type decodeCmd struct {
	Files         []string `arg:"" name:"file" help:"What to explain: a file, or - for stdin."`
	Key           []string `from:"flag" placeholder:"FILE" help:"Open envelopes with this private key: the RA's for a request, the client's for a reply."`
	Cert          []string `from:"flag" placeholder:"FILE" help:"Certificates to verify with: the CA's, the RA's, an answer to GetCACert."`
	Compare       bool     `from:"flag" help:"Show only what is different between two files."`
	Strict        bool     `from:"flag" help:"Exit with 5 if a strict client would object, or if two files differ."`
	ShowChallenge bool     `from:"flag" help:"Print challenge passwords instead of [secret]."`
}

// Help shows what to type.
func (decodeCmd) Help() string {
	return `
Explains SCEP requests and replies, certificate requests, certificates, bundles (answers to GetCACert and GetNextCACert),
CRLs, OCSP requests and responses, and answers to GetCACaps, and says what strict or well-known clients object to. They may
be DER, PEM, base64, hex or the URL of a GET request. Nothing is sent anywhere.

    understudy decode request.der
    understudy decode request.der --key understudy-data/authority/ra-019a3f….key.pem
    understudy decode reply.der --key mac1/key.pem --cert mac1/chain.pem -o json
    understudy decode --strict reply.der
    understudy decode --compare ours.der theirs.der`
}

// Run explains.
func (c *decodeCmd) Run(a *app) error {
	if want := map[bool]int{false: 1, true: 2}[c.Compare]; len(c.Files) != want {
		return usagef("decode takes one file, and --compare two")
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	var documents []explain.Document
	for _, name := range c.Files {
		input, err := readInput(a, name)
		if err != nil {
			return usagef("read %s: %w", name, err)
		}
		documents = append(documents, explain.Explain(input, o))
	}
	if c.Compare {
		comparison := explain.Compare(documents[0], documents[1])
		return c.print(a, comparison, comparison.Text(), comparison.Strict(), true)
	}
	return c.print(a, documents[0], documents[0].Text(), documents[0].Strict(), documents[0].Known())
}

// print prints and decides the exit code.
func (c *decodeCmd) print(a *app, value any, text string, objected, known bool) error {
	var err error
	if a.json {
		err = output.JSON(a.stdout, value)
	} else {
		_, err = io.WriteString(a.stdout, text)
	}
	switch {
	case err != nil:
		return err
	case !known:
		return &quietError{code: exitFailed}
	case c.Strict && objected:
		return &quietError{code: exitFindings}
	default:
		return nil
	}
}

func (c *decodeCmd) options() (explain.Options, error) {
	o := explain.Options{Now: clock.System{}.Now(), ShowChallenge: c.ShowChallenge}
	for _, name := range c.Key {
		if err := addFrom(&o.Keys, name, explain.ReadKeys); err != nil {
			return o, usagef("--key %s: %w", name, err)
		}
	}
	for _, name := range c.Cert {
		if err := addFrom(&o.Certificates, name, explain.ReadCertificates); err != nil {
			return o, usagef("--cert %s: %w", name, err)
		}
	}
	return o, nil
}

// addFrom adds what read finds in a file.
func addFrom[T any](all *[]T, name string, read func([]byte) ([]T, error)) error {
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	found, err := read(file)
	*all = append(*all, found...)
	return err
}

// readInput reads a file or stdin, and not more of it than is explained.
func readInput(a *app, name string) ([]byte, error) {
	in := a.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	input, err := io.ReadAll(io.LimitReader(in, explain.MaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	return input, nil
}
