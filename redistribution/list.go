package redistribution

import (
	"context"
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// A Query selects items. Zero fields do not select.
type Query struct {
	ConfigurationIDs []string // empty: all that are not removed
	States           []State  // empty: Due and Stalled
	Policy           *Policy  // instead of the configurations' own; its AckTimeout is not looked at
	AsOf             time.Time
	DeviceKey        string
	ProfileUUID      string
	Limit            int // see depot.PageLimit
	// Cursor of a page before. The rest of the query must be as it was; AsOf
	// and Policy may be left out.
	Cursor string
	// Counts asks for Page.Counts, of the same moment. They are of whole
	// configurations: devices and profiles do not select.
	Counts bool
}

// A Page is a page of items, ordered by when they close, ties by certificate
// serial.
type Page struct {
	Items      []Item
	NextCursor string    // empty on the last page
	AsOf       time.Time // of all pages of a list
	Policy     *Policy   // of all that were asked about; nil when they differ
	Counts     map[State]int
}

// List returns a page. A list keeps the time of its first page, however slowly
// it is read. depot.ErrCursor, also when the query contradicts its cursor;
// depot.ErrNotFound of a configuration; ErrPolicy; depot.ErrInvalid of a
// state.
func (s *Service) List(ctx context.Context, q Query) (Page, error) {
	if len(q.States) == 0 {
		q.States = []State{Due, Stalled}
	}
	for _, state := range q.States {
		if !slices.Contains(States(), state) {
			return Page{}, fmt.Errorf("%w: there is no state %q", depot.ErrInvalid, state)
		}
	}
	place, err := s.begin(ctx, q)
	if err != nil {
		return Page{}, fmt.Errorf("list redistribution: %w", err)
	}
	view, err := s.view(ctx, q.ConfigurationIDs, place.Policy, place.moment)
	if err != nil {
		return Page{}, fmt.Errorf("list redistribution: %w", err)
	}
	var found depot.Page[depot.WindowItem]
	switch {
	case len(view.configurations) == 0:
	case view.Past:
		found, err = view.past(ctx, q, place.Depot)
	default:
		found, err = view.present(ctx, q, place.Depot)
	}
	if err != nil {
		return Page{}, fmt.Errorf("list redistribution: %w", err)
	}
	page := Page{AsOf: view.At, Policy: view.common()}
	for _, item := range found.Items {
		page.Items = append(page.Items, newItem(item, view.policies[item.Identity.ConfigurationID], view.At))
	}
	if place.Depot = found.NextCursor; place.Depot != "" {
		page.NextCursor = place.cursor()
	}
	if q.Counts {
		page.Counts, err = view.counts(ctx)
	}
	return page, err
}

// Counts returns how many items are in which state; all states are there.
// depot.ErrNotFound of a configuration, ErrPolicy. An asOf before the latest
// change walks all that is stored.
func (s *Service) Counts(ctx context.Context, configurationIDs []string, override *Policy, asOf time.Time) (map[State]int, error) {
	if err := validOverride(override); err != nil {
		return nil, err
	}
	when, err := s.moment(ctx, asOf)
	if err != nil {
		return nil, err
	}
	view, err := s.view(ctx, configurationIDs, override, when)
	if err != nil {
		return nil, fmt.Errorf("count redistribution: %w", err)
	}
	return view.counts(ctx)
}

func validOverride(p *Policy) error {
	if p == nil {
		return nil
	}
	return p.validateWindow()
}

// openingBy is p with the windows of another policy, if there is one.
func (p Policy) openingBy(override *Policy) Policy {
	if override != nil {
		p.Kind, p.Value, p.Strict = override.Kind, override.Value, override.Strict
	}
	return p
}

// A view is some configurations with their policies, at a moment.
type view struct {
	moment
	depot          depot.Depot
	configurations []string
	policies       map[string]Policy
}

func (s *Service) view(ctx context.Context, ids []string, override *Policy, when moment) (*view, error) {
	v := &view{moment: when, depot: s.depot, policies: map[string]Policy{}}
	if len(ids) == 0 {
		all, err := s.depot.Configurations(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			ids = append(ids, c.ID)
		}
	}
	for _, id := range ids {
		if _, twice := v.policies[id]; twice {
			continue
		}
		p, err := s.policies.of(ctx, id)
		if err != nil {
			return nil, err
		}
		v.configurations, v.policies[id] = append(v.configurations, id), p.openingBy(override)
	}
	return v, nil
}

// common returns the policy of all, nil when they differ.
func (v *view) common() *Policy {
	var common *Policy
	for _, id := range v.configurations {
		p := v.policies[id]
		if common != nil && common.String() != p.String() {
			return nil
		}
		common = &p
	}
	return common
}

// present lists by index.
func (v *view) present(ctx context.Context, q Query, cursor string) (depot.Page[depot.WindowItem], error) {
	var ranges []depot.WindowRange
	for _, id := range v.configurations {
		more, err := v.ranges(ctx, id, q.States)
		if err != nil {
			return depot.Page[depot.WindowItem]{}, err
		}
		ranges = append(ranges, more...)
	}
	if len(ranges) == 0 {
		return depot.Page[depot.WindowItem]{}, nil
	}
	return v.depot.WindowItems(ctx, depot.WindowQuery{
		Ranges: ranges, DeviceKey: q.DeviceKey, ProfileUUID: q.ProfileUUID, Limit: q.Limit, Cursor: cursor,
	})
}

// ranges returns where the items of these states are, of one configuration.
// They do not overlap.
func (v *view) ranges(ctx context.Context, id string, states []State) (all []depot.WindowRange, err error) {
	wanted := func(s State) bool { return slices.Contains(states, s) }
	add := func(r depot.WindowRange) {
		r.ConfigurationID = id
		all = append(all, r)
	}
	if wanted(Revoked) {
		add(depot.WindowRange{Standing: depot.StandingRevoked})
	}
	if wanted(Superseded) {
		add(depot.WindowRange{Standing: depot.StandingSuperseded})
	}
	if wanted(Expired) {
		add(depot.WindowRange{Standing: depot.StandingCurrent, Until: v.At})
		add(depot.WindowRange{Standing: depot.StandingAcknowledged, Until: v.At})
	}
	pushed := depot.WindowRange{Standing: depot.StandingAcknowledged, After: v.At}
	switch {
	case wanted(Acknowledged) && wanted(Stalled):
		add(pushed)
	case wanted(Acknowledged):
		pushed.Stall, pushed.At = depot.StallWaiting, v.At
		add(pushed)
	case wanted(Stalled):
		pushed.Stall, pushed.At = depot.StallPassed, v.At
		add(pushed)
	}
	switch {
	case wanted(Due) && wanted(Valid):
		add(depot.WindowRange{Standing: depot.StandingCurrent, After: v.At})
	case wanted(Due) || wanted(Valid):
		err = v.windows(ctx, id, wanted(Due), add)
	}
	return all, err
}

// windows adds where the open windows are, or those that have not opened: for
// certificates that live equally long, one line in the order of their ends
// parts the two.
func (v *view) windows(ctx context.Context, id string, open bool, add func(depot.WindowRange)) error {
	lifetimes, err := v.depot.WindowLifetimes(ctx, id)
	if err != nil {
		return err
	}
	for _, lifetime := range lifetimes {
		r := depot.WindowRange{Standing: depot.StandingCurrent, Lifetime: lifetime}
		line := v.At.Add(v.policies[id].Lead(lifetime))
		switch {
		case !open:
			r.After = line
		case seconds(line).After(seconds(v.At)):
			r.After, r.Until = v.At, line
		default:
			continue // the window is empty
		}
		add(r)
	}
	return nil
}

// seconds cuts a time to the second, as the bounds of a range are.
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }

// past lists by walking.
func (v *view) past(ctx context.Context, q Query, cursor string) (depot.Page[depot.WindowItem], error) {
	query := depot.WindowPastQuery{
		ConfigurationIDs: v.configurations, AsOf: v.At, DeviceKey: q.DeviceKey, ProfileUUID: q.ProfileUUID,
		Match:  func(i depot.WindowItem) bool { return slices.Contains(q.States, v.state(i)) },
		Limit:  q.Limit,
		Cursor: cursor,
	}
	if ended := []State{Superseded, Expired, Revoked}; !slices.ContainsFunc(q.States, func(s State) bool { return slices.Contains(ended, s) }) {
		query.NotAfterFrom = seconds(v.At)
	}
	return v.depot.WindowItemsPast(ctx, query)
}

func (v *view) state(i depot.WindowItem) State {
	return StateAt(i, v.policies[i.Identity.ConfigurationID], v.At)
}

// counts counts all states.
func (v *view) counts(ctx context.Context) (map[State]int, error) {
	counts := map[State]int{}
	for _, state := range States() {
		counts[state] = 0
	}
	var err error
	switch {
	case len(v.configurations) == 0:
	case v.Past:
		err = v.countPast(ctx, counts)
	default:
		err = v.countPresent(ctx, counts)
	}
	if err != nil {
		return nil, fmt.Errorf("count redistribution: %w", err)
	}
	return counts, nil
}

// countPresent asks the indexes, all at one moment.
func (v *view) countPresent(ctx context.Context, counts map[State]int) error {
	var ranges []depot.WindowRange
	var of []State
	for _, id := range v.configurations {
		for _, state := range States() {
			more, err := v.ranges(ctx, id, []State{state})
			if err != nil {
				return err
			}
			for range more {
				of = append(of, state)
			}
			ranges = append(ranges, more...)
		}
	}
	numbers, err := v.depot.WindowCounts(ctx, ranges)
	if err != nil {
		return err
	}
	for i, n := range numbers {
		counts[of[i]] += n
	}
	return nil
}

// countPast walks everything.
func (v *view) countPast(ctx context.Context, counts map[State]int) error {
	q := depot.WindowPastQuery{ConfigurationIDs: v.configurations, AsOf: v.At, Limit: depot.PageLimit(pageSize)}
	for {
		page, err := v.depot.WindowItemsPast(ctx, q)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			counts[v.state(item)]++
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return nil
		}
	}
}

// pageSize is how many items are asked for at once where a walk needs all.
const pageSize = 500
