package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// cli is the grammar of the command line. A flag without a from tag is also a
// setting: see package setting.
type cli struct {
	Config string `placeholder:"FILE" help:"Read settings from this YAML file, one \"name: value\" to a line."`
	Output string `short:"o" enum:"text,json,junit" default:"text" help:"Print data as text or json; conformance also as junit."`

	Serve   serveCmd   `cmd:"" help:"Serve SCEP. The first start makes the authority, a configuration and its secret key."`
	Conf    configCmd  `cmd:"" name:"config" help:"Configurations: one SCEP endpoint each."`
	Cert    certCmd    `cmd:"" help:"Certificates that were issued."`
	Device  deviceCmd  `cmd:"" help:"Devices that hold certificates."`
	Window  windowCmd  `cmd:"" help:"The redistribution window: which profiles to push again."`
	Invent  inventCmd  `cmd:"" name:"inventory" help:"Count the certificates of each configuration by state."`
	Events  eventsCmd  `cmd:"" help:"What happened, oldest first; or what happens."`
	Webhook webhookCmd `cmd:"" help:"Who is told of events over HTTP."`
	Token   tokenCmd   `cmd:"" help:"Further tokens of the admin API, with scopes."`
	Chal    chalCmd    `cmd:"" name:"challenge" help:"One-time challenges."`
	Request requestCmd `cmd:"" help:"Requests that wait for an operator."`
	CA      caCmd      `cmd:"" name:"ca" help:"The authority's own certificates."`
	CRL     crlCmd     `cmd:"" name:"crl" help:"Show or write what is revoked."`
	Backup  backupCmd  `cmd:"" help:"Back up the data directory, while the server runs or not."`
	Restore restoreCmd `cmd:"" help:"Make a data directory from a backup."`
	Rebuild rebuildCmd `cmd:"" help:"Make the database anew from its ledger."`
	Audit   auditCmd   `cmd:"" help:"The ledger, in which every record vouches for those before it."`
	Decode  decodeCmd  `cmd:"" help:"Explain a SCEP message, certificate request, certificate or CRL."`
	Lab     labCmd     `cmd:"" help:"What only a server that was started with --lab does."`
	Mac     macCmd     `cmd:"" help:"Act as a Mac."`
	Load    loadCmd    `cmd:"" help:"Put any SCEP server under load and measure it."`
	FakeMS  fakeMSCmd  `cmd:"" name:"fake-microsoft" help:"Stand in for Entra, Graph and Intune."`
	Conform conformCmd `cmd:"" name:"conformance" help:"Put any SCEP server to the test of RFC 8894, case by case."`
	Seed    seedCmd    `cmd:"" help:"Fill a store with made-up certificates, for trials at scale."`
	Setting settingCmd `cmd:"" name:"settings" help:"Show every setting and where its value comes from."`
	Version versionCmd `cmd:"" help:"Show the version."`
}

// BeforeResolve reads the settings file and checks it and the environment, so
// that all mistakes are reported at once.
func (c *cli) BeforeResolve(ctx *kong.Context, a *app) error {
	path, _ := a.settings.Env("config")
	for _, flag := range ctx.Model.Flags {
		if given, ok := ctx.FlagValue(flag).(string); flag.Name == "config" && ok && given != "" {
			path = given
		}
	}
	var file error
	if path != "" {
		file = a.settings.Load(path, ctx.Model)
	}
	ctx.AddResolver(a.settings)
	return errors.Join(file, a.settings.CheckEnvironment(ctx))
}

// dataFlag is the data directory, for serve and for finding its server.
type dataFlag struct {
	Data string `default:"./understudy-data" placeholder:"DIR" help:"Data directory of the server (default: ${default})."`
}

// clientFlags name the server that a verb talks to.
type clientFlags struct {
	dataFlag  `embed:""`
	Server    string `placeholder:"URL" help:"Admin URL of the server. Default: the one that runs on the data directory."`
	TokenFile string `placeholder:"FILE" help:"File with the admin token, or with one that \"token add\" made. Default: where that server keeps the admin token."`
}

func (f clientFlags) client() (*api.Client, error) {
	client, err := api.Find(f.Data, f.Server, f.TokenFile)
	if err != nil && (f.Server != "" || f.TokenFile != "") && !noServer(err) {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return client, err
}

// call asks the server and keeps the answer as it came.
func (f clientFlags) call(method, path string, query map[string][]string, in any) (json.RawMessage, error) {
	return f.callWith(nil, method, path, query, in)
}

// callWith is call with fields of the request's header.
func (f clientFlags) callWith(header http.Header, method, path string, query map[string][]string, in any) (json.RawMessage, error) {
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	client.Header = header
	if in == nil && method != http.MethodGet && method != http.MethodDelete {
		in = struct{}{}
	}
	var answer json.RawMessage
	if method == http.MethodDelete {
		err = client.Call(context.Background(), method, path, query, nil, nil)
	} else {
		err = client.Call(context.Background(), method, path, query, in, &answer)
	}
	return answer, notFound(path, err)
}

// notFound names what was looked for.
func notFound(path string, err error) error {
	var problem *api.Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusNotFound {
		return err
	}
	rest, ofTheAPI := strings.CutPrefix(path, "/api/v1/")
	if !ofTheAPI {
		return err
	}
	_, name, _ := strings.Cut(rest, "/") // after the collection
	name, _, _ = strings.Cut(name, "/")
	if name, unescaped := url.PathUnescape(name); unescaped == nil && name != "" {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// show prints an answer: as it came with --output json, else by text.
func show[T any](a *app, answer json.RawMessage, text func(T) error) error {
	if a.json {
		return output.JSON(a.stdout, answer)
	}
	var value T
	if err := json.Unmarshal(answer, &value); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return text(value)
}

// pageFlags walk through a list.
type pageFlags struct {
	Limit  int    `from:"flag" default:"100" placeholder:"N" help:"Print at most N, up to 500 (default: ${default})."`
	Cursor string `from:"flag" placeholder:"C" help:"Go on where an earlier list ended."`
	All    bool   `from:"flag" help:"Print everything, however long it is."`
}

// list asks for pages as if they were one, until it has what was asked for: a
// page of a search can be short, or empty, and yet have a next one.
func (p pageFlags) list(f clientFlags, path string, query map[string][]string) (json.RawMessage, error) {
	query["limit"] = []string{fmt.Sprint(p.Limit)}
	if p.Cursor != "" {
		query["cursor"] = []string{p.Cursor}
	}
	var whole map[string]json.RawMessage // the first page, whatever else it tells
	items := []json.RawMessage{}
	for {
		answer, err := f.call(http.MethodGet, path, query, nil)
		if err != nil {
			return nil, err
		}
		var page api.List[json.RawMessage]
		if err := json.Unmarshal(answer, &page); err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		items = append(items, page.Items...)
		over := page.NextCursor == nil || !p.All && len(items) >= p.Limit
		if whole == nil {
			if over {
				return answer, nil
			}
			if err := json.Unmarshal(answer, &whole); err != nil {
				return nil, fmt.Errorf("read the server's answer: %w", err)
			}
		}
		if over {
			return joined(whole, items, page.NextCursor)
		}
		query["cursor"] = []string{*page.NextCursor}
		if !p.All {
			query["limit"] = []string{fmt.Sprint(p.Limit - len(items))}
		}
	}
}

// joined is a list with all items in one page, which goes on at the cursor.
func joined(whole map[string]json.RawMessage, items []json.RawMessage, next *string) (json.RawMessage, error) {
	text, err := json.Marshal(items)
	if err != nil {
		return nil, fmt.Errorf("join pages: %w", err)
	}
	cursor, err := json.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("join pages: %w", err)
	}
	whole["items"], whole["next_cursor"] = text, cursor
	return json.Marshal(whole)
}

// more tells people that a list goes on.
func (a *app) more(cursor *string) {
	if cursor != nil {
		a.note("There are more: --cursor %s, or --all.", *cursor)
	}
}

// duration is a flag in Go's form plus days: 365d, 12h, 10m.
type duration time.Duration

// UnmarshalText reads the flag.
func (d *duration) UnmarshalText(text []byte) error {
	value, err := output.ParseDuration(string(text))
	*d = duration(value)
	return err
}

// String writes it the same way.
func (d duration) String() string { return output.Duration(time.Duration(d)) }

// seconds is what the admin API takes: whole ones.
func (d duration) seconds() (int64, error) {
	if rest := time.Duration(d) % time.Second; rest != 0 {
		return 0, usagef("%s: give whole seconds", d)
	}
	return int64(time.Duration(d) / time.Second), nil
}
