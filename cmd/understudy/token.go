package main

// tokenCmd groups the verbs on tokens.
type tokenCmd struct {
	Add  tokenAddCmd  `cmd:"" help:"Make a token."`
	List tokenListCmd `cmd:"" help:"List tokens."`
	Rm   tokenRmCmd   `cmd:"" help:"Remove a token; it is refused from now on."`
}
