package server

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/inspect"
)

// A selection is which certificates a request asks for, and as of when.
type selection struct {
	query depot.IdentityQuery
	at    time.Time // of the states: as_of, or now
	none  bool      // no certificate fits: the filters exclude each other
}

// selectionParameters are the names of the filters, and others.
func selectionParameters(others ...string) []string {
	return append([]string{"q", "as_of", "configuration", "device", "transaction", "public_key",
		"not_after_from", "not_after_to", "order"}, others...)
}

// at reads the parameter as_of into a selection of everything.
func (s *Server) at(p parameters) (selection, error) {
	asOf, err := p.time("as_of")
	return selection{query: depot.IdentityQuery{AsOf: asOf}, at: s.orNow(asOf)}, err
}

// selection reads which certificates are wanted: those that fit the search in
// the parameter q and every other filter as well.
func (s *Server) selection(ctx context.Context, p parameters) (wanted selection, err error) {
	if wanted, err = s.at(p); err != nil {
		return wanted, err
	}
	if err := s.search(ctx, p.text("q"), &wanted); err != nil {
		return wanted, err
	}
	q := &wanted.query
	configurationID, err := s.configurationFilter(ctx, p)
	if err != nil {
		return wanted, err
	}
	publicKey, err := p.sha256("public_key")
	if err != nil {
		return wanted, err
	}
	wanted.none = !narrow(&q.ConfigurationID, configurationID) || wanted.none
	wanted.none = !narrow(&q.DeviceKey, p.text("device")) || wanted.none
	wanted.none = !narrow(&q.TransactionID, p.text("transaction")) || wanted.none
	wanted.none = !narrow(&q.PublicKeySHA256, publicKey) || wanted.none
	for _, name := range []string{"device", "transaction"} {
		if p.text(name) != "" && q.ConfigurationID == "" {
			return wanted, badParameter(name, "needs the parameter configuration as well")
		}
	}
	return wanted, narrowTimes(p, q)
}

// narrow makes a filter ask for what is wanted too; zero: anything. It returns
// false when it asks for something else already.
func narrow[T comparable](have *T, want T) bool {
	var anything T
	if want == anything || *have == want {
		return true
	}
	if *have != anything {
		return false
	}
	*have = want
	return true
}

// narrowTimes reads the bounds of notAfter, and the order.
func narrowTimes(p parameters, q *depot.IdentityQuery) error {
	from, err := p.time("not_after_from")
	if err != nil {
		return err
	}
	to, err := p.time("not_after_to")
	if err != nil {
		return err
	}
	if from.After(q.NotAfterFrom) {
		q.NotAfterFrom = from
	}
	if !to.IsZero() && (q.NotAfterTo.IsZero() || to.Before(q.NotAfterTo)) {
		q.NotAfterTo = to
	}
	switch order := depot.Order(p.text("order")); order {
	case "":
	case depot.NewestFirst, depot.ByNotAfter:
		q.Order = order
	default:
		return badParameter("order", "must be issued or not_after")
	}
	return nil
}

// search puts what somebody looks for into a selection.
func (s *Server) search(ctx context.Context, text string, wanted *selection) error {
	search, err := inspect.Parse(text)
	if err != nil {
		return badSearch(err)
	}
	asOf := wanted.query.AsOf
	wanted.query, err = search.Query(wanted.at, func(name string) (string, bool) {
		id, err := s.configurationID(ctx, name)
		return id, err == nil
	})
	if err != nil {
		return badSearch(err)
	}
	wanted.query.AsOf = asOf
	serial, sum, ok := search.Single()
	if !ok {
		return nil
	}
	return s.searchOne(ctx, wanted, serial, sum)
}

// searchOne narrows a selection to the device of the only certificate that can
// fit: few others are looked at for it.
func (s *Server) searchOne(ctx context.Context, wanted *selection, serial string, sum [32]byte) error {
	var only depot.Identity
	var err error
	if serial != "" {
		only, err = s.depot.Identity(ctx, serial)
	} else {
		only, err = s.depot.IdentityBySHA256(ctx, sum)
	}
	if errors.Is(err, depot.ErrNotFound) {
		wanted.none = true
		return nil
	}
	if err != nil {
		return err
	}
	wanted.none = !narrow(&wanted.query.ConfigurationID, only.ConfigurationID)
	wanted.none = !narrow(&wanted.query.DeviceKey, only.Device.Key) || wanted.none
	return nil
}

// badSearch translates what is wrong with a search.
func badSearch(err error) error {
	var syntax *inspect.SyntaxError
	var configuration *inspect.ConfigurationError
	if errors.As(err, &syntax) || errors.As(err, &configuration) {
		return badParameter("q", printable(err.Error(), maxLogText))
	}
	return err
}
