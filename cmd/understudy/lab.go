package main

// labCmd groups what only a server that was started with --lab does.
type labCmd struct {
	Clock labClockCmd `cmd:"" help:"Move the server's time."`
}
