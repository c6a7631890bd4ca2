package main

// caCmd groups the verbs on the authority.
type caCmd struct {
	Show   caShowCmd   `cmd:"" help:"Show the authority's certificates and fingerprints."`
	Export caExportCmd `cmd:"" help:"Write the authority's certificates."`

	Rollover caRolloverCmd `cmd:"" help:"Replace issuer and RA in steps that devices can follow."`
}
