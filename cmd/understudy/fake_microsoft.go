package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/challenge/intune/fake"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type fakeMSCmd struct {
	Listen           string `from:"flag" default:"127.0.0.1:8443" placeholder:"ADDR" help:"Loopback address to answer at (default: ${default}). Port 0 takes a free one."`
	Tenant           string `from:"flag" default:"contoso.onmicrosoft.com" placeholder:"DOMAIN" help:"Domain of its one tenant (default: ${default})."`
	ClientID         string `from:"flag" placeholder:"UUID" help:"Id of the one registered application. Default: a new one."`
	ClientSecretFile string `from:"flag" placeholder:"FILE" help:"File with the application's client secret. Default: a new one, which is printed."`
	ClientCert       string `name:"client-cert" from:"flag" placeholder:"FILE" help:"File with a certificate (PEM) that the application may prove itself by as well."`
	CAOut            string `name:"ca-out" from:"flag" default:"./fake-microsoft-ca.pem" placeholder:"FILE" help:"Where to write the certificate that clients must trust (default: ${default})."`
	JSON             bool   `name:"json" from:"flag" help:"When ready, print one line of JSON instead of text."`
}

// Help shows what to type.
func (fakeMSCmd) Help() string {
	return `
Entra, Graph and Intune for a lab, over TLS on loopback: tokens for the one application that it prints, Intune's
validation of real requests with all of its 25 codes, and its revocation connector. Nothing leaves this machine.
POST /lab/intune/challenges gives out what Intune would send to a device, GET /lab/calls shows every call,
POST /lab/faults makes a service fail. Stop with Ctrl-C or SIGTERM.

    understudy fake-microsoft
    curl --cacert fake-microsoft-ca.pem -d '{"subject":"CN=C02XL0GTJGH5"}' https://127.0.0.1:8443/lab/intune/challenges`
}

// fakeReady is what whoever set the cloud up has to know.
type fakeReady struct {
	Authority      string `json:"authority_url"`
	GraphURL       string `json:"graph_url"`
	IntuneResource string `json:"intune_resource"`
	CAFile         string `json:"ca_file"`
	Tenant         string `json:"tenant"`
	TenantID       string `json:"tenant_id"`
	ClientID       string `json:"client_id"`
	ClientSecret   string `json:"client_secret"`
	LabURL         string `json:"lab_url"`
}

// stopTime is how long calls in flight have when the cloud is stopped.
const stopTime = 5 * time.Second

// Run serves the cloud until a signal.
func (c *fakeMSCmd) Run(a *app) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cloud, err := fake.New(fake.Options{})
	if err != nil {
		return err
	}
	ready, err := c.register(a, cloud)
	if err != nil {
		return err
	}
	server, err := cloud.Start(c.Listen, a.logger("text"))
	if err != nil {
		return fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	ready.Authority, ready.GraphURL, ready.LabURL = cloud.Authority(), cloud.GraphURL(), server.URL+"/lab"
	if ready.CAFile, err = filepath.Abs(c.CAOut); err == nil {
		err = os.WriteFile(ready.CAFile, server.RootPEM, 0o644) //nolint:gosec // a certificate is for everybody
	}
	if err == nil {
		err = c.announce(a, ready)
	}
	if err == nil {
		err = untilEither(ctx, server)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, server.Close(ending))
}

// untilEither returns when it is told to stop, or when the server ended.
func untilEither(ctx context.Context, server *fake.Server) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// register makes the tenant and its application.
func (c *fakeMSCmd) register(a *app, cloud *fake.Cloud) (fakeReady, error) {
	ready := fakeReady{IntuneResource: fake.IntuneResource, Tenant: c.Tenant, TenantID: uuid.NewString(), ClientID: c.ClientID}
	if ready.ClientID == "" {
		ready.ClientID = uuid.NewString()
	}
	secret, err := c.secret(a)
	if err != nil {
		return fakeReady{}, err
	}
	ready.ClientSecret = secret
	certificates, err := c.certificates()
	if err != nil {
		return fakeReady{}, err
	}
	if err := cloud.AddTenant(fake.Tenant{ID: ready.TenantID, Domain: ready.Tenant}); err != nil {
		return fakeReady{}, err
	}
	return ready, cloud.SetApplication(ready.TenantID, fake.Application{
		ClientID: ready.ClientID, Secrets: []fake.ClientSecret{{Value: secret}}, Certificates: certificates,
	})
}

// certificates are what the application may prove itself by, besides its
// secret.
func (c *fakeMSCmd) certificates() ([]*x509.Certificate, error) {
	if c.ClientCert == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.ClientCert)
	if err != nil {
		return nil, usagef("--client-cert: %w", err)
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, usagef("--client-cert %s: %w", c.ClientCert, err)
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, usagef("--client-cert %s: it holds no certificate in PEM", c.ClientCert)
	}
	return all, nil
}

// secret is the one in the file, or a new one.
func (c *fakeMSCmd) secret(a *app) (string, error) {
	if c.ClientSecretFile != "" {
		return a.readSecret(c.ClientSecretFile)
	}
	made, err := challenge.GenerateSecretKey(nil)
	if err != nil {
		return "", err
	}
	return made.Reveal(), nil
}

// announce says that the cloud answers.
func (c *fakeMSCmd) announce(a *app, r fakeReady) error {
	if c.JSON || a.json {
		return output.Line(a.stdout, r)
	}
	a.note("A fake Microsoft cloud answers. It is a lab: whoever reaches it may do anything.")
	return output.Facts(a.stdout, "authority", r.Authority, "Graph URL", r.GraphURL, "Intune resource", r.IntuneResource,
		"CA file", r.CAFile, "tenant", r.Tenant, "tenant id", r.TenantID, "client id", r.ClientID, "client secret", r.ClientSecret,
		"lab controls", r.LabURL)
}
