// Package operator does for the conformance list what only the operator of a
// SCEP server can: with commands that the user gives, or through the admin API
// of a server of ours.
//
// It must not know the list, only what is asked of an operator.
package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"understudy.example/understudy/conformance"
	"understudy.example/understudy/scep/client"
)

// Commands are shell commands, each empty or run with sh -c. What they are
// about comes as arguments ($1, $2) and in variables:
//
//	NewChallenge, ExpiredChallenge   print a challenge, on one line
//	Approve, Deny                    $1 SCEP_TRANSACTION_ID, $2 SCEP_SUBJECT
//	Revoke                           $1 SCEP_CERTIFICATE_SERIAL, $2 SCEP_SUBJECT, SCEP_CERTIFICATE_SHA256
//	PrepareNextCA, CancelNextCA      nothing
//
// All have SCEP_URL. A command that ends with another status than 0 fails the
// case that ran it.
type Commands struct {
	NewChallenge, ExpiredChallenge string
	Approve, Deny, Revoke          string
	PrepareNextCA, CancelNextCA    string
	URL                            string    // of the SCEP server
	Stderr                         io.Writer // of the commands
}

// Fill sets what there is a command for.
func (c Commands) Fill(o *conformance.Operator) {
	printed := func(command string) func(context.Context) (client.Password, error) {
		return func(ctx context.Context) (client.Password, error) {
			out, err := c.run(ctx, command, nil)
			if err == nil && out == "" {
				err = errors.New("the command printed no challenge")
			}
			return client.Password(out), err
		}
	}
	decided := func(command string) func(context.Context, conformance.Waiting) error {
		return func(ctx context.Context, w conformance.Waiting) error {
			_, err := c.run(ctx, command, []string{"SCEP_TRANSACTION_ID=" + w.TransactionID, "SCEP_SUBJECT=" + w.Subject}, w.TransactionID, w.Subject)
			return err
		}
	}
	done := func(command string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.run(ctx, command, nil)
			return err
		}
	}
	set(&o.NewChallenge, c.NewChallenge, printed)
	set(&o.ExpiredChallenge, c.ExpiredChallenge, printed)
	set(&o.Approve, c.Approve, decided)
	set(&o.Deny, c.Deny, decided)
	set(&o.PrepareNextCA, c.PrepareNextCA, done)
	set(&o.CancelNextCA, c.CancelNextCA, done)
	set(&o.Revoke, c.Revoke, c.revoke)
}

// set makes a function of a command that there is.
func set[F any](to *F, command string, with func(string) F) {
	if command != "" {
		*to = with(command)
	}
}

func (c Commands) revoke(command string) func(context.Context, *x509.Certificate) error {
	return func(ctx context.Context, certificate *x509.Certificate) error {
		sum := sha256.Sum256(certificate.Raw)
		serial, subject := serialText(certificate), certificate.Subject.String()
		_, err := c.run(ctx, command, []string{
			"SCEP_CERTIFICATE_SERIAL=" + serial, "SCEP_CERTIFICATE_SHA256=" + hex.EncodeToString(sum[:]), "SCEP_SUBJECT=" + subject,
		}, serial, subject)
		return err
	}
}

// serialText is lower-case hex of an even length.
func serialText(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// run runs a command and returns what it printed, without the line end.
func (c Commands) run(ctx context.Context, command string, env []string, arguments ...string) (string, error) {
	shell := exec.CommandContext(ctx, "sh", append([]string{"-c", command, "conformance"}, arguments...)...)
	shell.Env = append(append(os.Environ(), "SCEP_URL="+c.URL), env...)
	shell.Stderr = c.Stderr
	var out bytes.Buffer
	shell.Stdout = &out
	if err := shell.Run(); err != nil {
		return "", fmt.Errorf("run %q: %w", command, err)
	}
	return strings.TrimRight(out.String(), "\r\n"), nil
}
