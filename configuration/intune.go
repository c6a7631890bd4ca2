package configuration

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/depot"
)

// intune is the settings of mode intune as they are stored.
func (s Settings) intune() depot.IntuneSettings {
	return depot.IntuneSettings{
		Cloud: s.Cloud, Tenant: s.Tenant, ClientID: s.ClientID,
		SecretFile: s.ClientSecretFile, CertificateFile: s.ClientCertificateFile, CAFile: s.CAFile,
		Authority: s.Authority, GraphURL: s.GraphURL, IntuneResource: s.IntuneResource, IntuneHosts: append([]string(nil), s.IntuneHosts...),
	}
}

// validateIntune checks whom a configuration of mode intune asks, and that no
// other one asks anybody.
func (s Settings) validateIntune(wrong *problems) {
	if s.Mode != depot.ModeIntune {
		s.validateNoIntune(wrong)
		return
	}
	for _, must := range []textSetting{{"tenant", s.Tenant}, {"client_id", s.ClientID}} {
		if must.value == "" {
			wrong.add(must.field, "must be given in mode intune")
		}
	}
	if strings.ContainsAny(s.Tenant, "/?#") {
		wrong.add("tenant", "must be an id or a domain")
	}
	if (s.ClientSecretFile == "") == (s.ClientCertificateFile == "") {
		wrong.add("client_secret_file", "must be given in mode intune, or client_certificate_file, and not both")
	}
	aPath(wrong, "client_secret_file", s.ClientSecretFile)
	aPath(wrong, "client_certificate_file", s.ClientCertificateFile)
	aPath(wrong, "ca_file", s.CAFile)
	if s.Approval != ApprovalAuto {
		wrong.add("approval", "must be auto in mode intune: its challenges do not live long enough to wait for somebody")
	}
	s.validateCloud(wrong)
}

// validateCloud wants a preset, or URLs.
func (s Settings) validateCloud(wrong *problems) {
	_, preset := intune.Clouds()[s.Cloud]
	switch {
	case s.Cloud != "" && !preset:
		wrong.add("cloud", "must be %s, or empty when the URLs are given", strings.Join(slices.Sorted(maps.Keys(intune.Clouds())), ", "))
	case s.Cloud == "" && (s.Authority == "" || s.GraphURL == ""):
		wrong.add("cloud", "must be given in mode intune, or authority and graph_url")
	}
	for _, given := range []textSetting{{"authority", s.Authority}, {"graph_url", s.GraphURL}, {"intune_resource", s.IntuneResource}} {
		u, err := url.Parse(given.value)
		if given.value != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil) {
			wrong.add(given.field, "must be an https URL without query")
		}
	}
}

// validateNoIntune refuses what would mean nothing.
func (s Settings) validateNoIntune(wrong *problems) {
	for _, given := range []textSetting{
		{"cloud", s.Cloud}, {"tenant", s.Tenant}, {"client_id", s.ClientID}, {"client_secret_file", s.ClientSecretFile},
		{"client_certificate_file", s.ClientCertificateFile}, {"ca_file", s.CAFile}, {"authority", s.Authority}, {"graph_url", s.GraphURL},
		{"intune_resource", s.IntuneResource}, {"intune_hosts", strings.Join(s.IntuneHosts, ",")},
	} {
		if given.value != "" {
			wrong.add(given.field, "means something in mode intune only")
		}
	}
}

// textSetting is a setting with its name in JSON. Problems are listed in the
// order of these, so that one mistake always reads the same.
type textSetting struct{ field, value string }
