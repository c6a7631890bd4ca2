package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files that a server keeps in its data directory for its clients. Both
// are readable by their owner only.
const (
	DiscoveryFile = "server.json" // there while the server runs
	TokenFile     = "admin.token"
)

// Discovery is what a running server says about itself in DiscoveryFile.
type Discovery struct {
	PID            int    `json:"pid"`
	AdminURL       string `json:"admin_url"`
	AdminTokenFile string `json:"admin_token_file"`
	SCEPURL        string `json:"scep_url"`
	Version        string `json:"version"`
	StartedAt      string `json:"started_at"` // RFC 3339
}

// NotRunning is the error when a data directory has no running server.
type NotRunning struct{ Data string }

// Error says what to do.
func (e *NotRunning) Error() string {
	return fmt.Sprintf("no server is running on %s: start one with \"understudy serve --data %s\", or name another with --data or --server", e.Data, e.Data)
}

// ReadDiscovery reads the discovery file of a data directory. The error is a
// *NotRunning if there is none.
func ReadDiscovery(data string) (Discovery, error) {
	var d Discovery
	text, err := os.ReadFile(filepath.Join(data, DiscoveryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d, &NotRunning{Data: data}
	}
	if err != nil {
		return d, fmt.Errorf("find the server: %w", err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("find the server: read %s: %w", filepath.Join(data, DiscoveryFile), err)
	}
	return d, nil
}

// Find returns a client of the server at the URL server, or, when that is
// empty, of the one that runs on the directory data. The token is read from
// tokenFile or, when that is empty, from where the server keeps it.
func Find(data, server, tokenFile string) (*Client, error) {
	if server == "" {
		d, err := ReadDiscovery(data)
		if err != nil {
			return nil, err
		}
		server = d.AdminURL
		if tokenFile == "" {
			tokenFile = d.AdminTokenFile
		}
	}
	if tokenFile == "" {
		tokenFile = filepath.Join(data, TokenFile)
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, fmt.Errorf("read admin token: %w; name its file with --token-file", err)
	}
	text := strings.TrimSpace(string(token))
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%s holds no token, which is one word; name its file with --token-file", tokenFile)
	}
	return New(server, text)
}
