package main

// deviceCmd groups the verbs on devices.
type deviceCmd struct {
	List deviceListCmd `cmd:"" help:"List devices."`
	Show deviceShowCmd `cmd:"" help:"Show one device and its certificates."`
}
