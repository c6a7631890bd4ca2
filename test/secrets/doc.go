// Package secrets holds the test that greps: secret keys, challenges, the
// admin token and private keys are looked for in everything that the built
// server shows or writes. It knows the command line and the HTTP interfaces,
// and nothing of the code behind them.
package secrets
