package main

// macCmd groups what a Mac does.
type macCmd struct {
	Enroll macEnrollCmd `cmd:"" help:"Enrol at any SCEP server and keep key and certificate."`
}
