package redistribution

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"understudy.example/understudy/depot"
)

// A place is where in a list a page begins: what a cursor says.
type place struct {
	moment
	Policy *Policy `json:",omitempty"` // that the list was asked for with
	Depot  string  // its own cursor
}

// cursor is the place as text for callers, who must not look into it.
func (p place) cursor() string {
	b, err := json.Marshal(p)
	if err != nil {
		return "" // a time beyond the year 9999: the list ends here
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin returns where the page begins that q asks for.
func (s *Service) begin(ctx context.Context, q Query) (place, error) {
	if err := validOverride(q.Policy); err != nil {
		return place{}, err
	}
	if q.Cursor == "" {
		when, err := s.moment(ctx, q.AsOf)
		return place{moment: when, Policy: q.Policy}, err
	}
	var p place
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	switch {
	case err != nil || p.cursor() != q.Cursor || p.Depot == "" || validOverride(p.Policy) != nil:
		return place{}, fmt.Errorf("read %q: %w", q.Cursor, depot.ErrCursor)
	case !q.AsOf.IsZero() && !seconds(q.AsOf).Equal(seconds(p.At)):
		return place{}, fmt.Errorf("%w: it belongs to a list as of another time", depot.ErrCursor)
	case q.Policy != nil && (p.Policy == nil || q.Policy.String() != p.Policy.String()):
		return place{}, fmt.Errorf("%w: it belongs to a list with another window policy", depot.ErrCursor)
	}
	return p, nil
}
