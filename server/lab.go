package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/lab"
)

// labTimeHeader is on every answer of both listeners while the clock is moved.
const labTimeHeader = "X-Lab-Time"

// maxLabSeconds bounds what a field can say in seconds: what a time.Duration
// can. The clock has its own, narrower range.
const maxLabSeconds = int64(1<<63-1) / int64(time.Second)

// tellLabTime says, in the header of an answer, what time it is, unless that is
// the machine's time.
func (s *Server) tellLabTime(h http.Header) {
	h.Del(labTimeHeader)
	if at := clock.Read(s.clock); at.Offset != 0 {
		h.Set(labTimeHeader, timeText(at.Time))
	}
}

// labTime is a lab's clock in JSON.
type labTime struct {
	Now           string  `json:"now"`
	OffsetSeconds int64   `json:"offset_seconds"`
	Frozen        bool    `json:"frozen"`
	ChangedAt     *string `json:"changed_at"` // by the machine's clock
	ChangedBy     *string `json:"changed_by"`
}

func labTimeToJSON(t lab.Time) labTime {
	return labTime{
		Now: timeText(t.Now), OffsetSeconds: int64(t.Offset.Round(time.Second) / time.Second), Frozen: t.Frozen,
		ChangedAt: timeOrNull(t.ChangedAt), ChangedBy: orNull(t.By),
	}
}

// errNoLab is the answer where there is no lab.
func errNoLab() error { return notFound("there is no lab here: start the server with --lab") }

// showLabClock is GET /lab/clock.
func (s *Server) showLabClock(w http.ResponseWriter, r *http.Request) error {
	if s.labClock == nil {
		return errNoLab()
	}
	now, err := s.labClock.Show(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, labTimeToJSON(now))
}

// A labMove reads from a body, and takes out of it, how the clock is to be
// moved.
type labMove func(fields map[string]json.RawMessage) ([]lab.Change, error)

// moveLabClock makes the changes that a body asks for, and answers when what
// follows from them is done.
func (s *Server) moveLabClock(read labMove) adminFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.labClock == nil {
			return errNoLab()
		}
		fields, err := readObject(w, r)
		if err != nil {
			return err
		}
		changes, err := read(fields)
		if err != nil {
			return err
		}
		if err := noOthers(fields, invalidRequest); err != nil {
			return err
		}
		now, err := s.labClock.Move(r.Context(), adminName, changes...)
		s.tellLabTime(w.Header()) // as it is now
		var outside *clock.RangeError
		switch {
		case errors.As(err, &outside):
			return newProblem(http.StatusUnprocessableEntity, "out-of-range", outside.Error())
		case errors.Is(err, lab.ErrUnsettled):
			return newProblem(http.StatusInternalServerError, "unsettled", lab.ErrUnsettled.Error()+"; the log has why")
		case err != nil:
			return err
		}
		return writeJSON(w, http.StatusOK, labTimeToJSON(now))
	}
}

// only is a move of which the path says everything.
func only(change lab.Change) labMove {
	return func(map[string]json.RawMessage) ([]lab.Change, error) { return []lab.Change{change}, nil }
}

// labSetting reads the body of PUT /lab/clock: at or offset_seconds, and frozen.
func labSetting(fields map[string]json.RawMessage) ([]lab.Change, error) {
	var changes []lab.Change
	at, err := timeField(fields, "at")
	if err != nil {
		return nil, err
	}
	if !at.IsZero() {
		changes = append(changes, lab.To(at))
	}
	offset, given, err := secondsField(fields, "offset_seconds")
	switch {
	case err != nil:
		return nil, err
	case given && !at.IsZero():
		return nil, invalidRequest(fieldError{"offset_seconds", "contradicts at: give one of them"})
	case given:
		changes = append(changes, lab.Ahead(offset))
	}
	frozen, err := flagField(fields, "frozen")
	switch {
	case err != nil:
		return nil, err
	case frozen == nil: // as it is
	case *frozen:
		changes = append(changes, lab.Freeze)
	default:
		changes = append(changes, lab.Unfreeze)
	}
	if len(changes) == 0 && len(fields) == 0 {
		return nil, invalidRequest(fieldError{"at", "is missing: give at, offset_seconds or frozen"})
	}
	return changes, nil
}

// labAdvance reads the body of POST /lab/clock/advance: by_seconds, or by.
func labAdvance(fields map[string]json.RawMessage) ([]lab.Change, error) {
	d, given, err := secondsField(fields, "by_seconds")
	if err != nil {
		return nil, err
	}
	text, err := textField(fields, "by", 64)
	switch {
	case err != nil:
		return nil, err
	case given && text != "":
		return nil, invalidRequest(fieldError{"by", "contradicts by_seconds: give one of them"})
	case text != "":
		if d, err = time.ParseDuration(text); err != nil {
			return nil, invalidRequest(fieldError{"by", "must be a duration like 24h or -90m"})
		}
	case !given && len(fields) == 0:
		return nil, invalidRequest(fieldError{"by_seconds", "is missing: give by_seconds or by"})
	}
	return []lab.Change{lab.By(d)}, nil
}

// secondsField takes an optional number of seconds, which may be negative, out
// of a body.
func secondsField(fields map[string]json.RawMessage, name string) (d time.Duration, given bool, err error) {
	raw, given := fields[name]
	if !given {
		return 0, false, nil
	}
	delete(fields, name)
	var seconds *int64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds != nil && (*seconds > maxLabSeconds || *seconds < -maxLabSeconds) {
		return 0, false, invalidRequest(fieldError{name, fmt.Sprintf("must be a whole number from %d to %d", -maxLabSeconds, maxLabSeconds)})
	}
	if seconds == nil {
		return 0, false, nil
	}
	return time.Duration(*seconds) * time.Second, true, nil
}

// flagField takes an optional truth value out of a body; nil when it is absent.
func flagField(fields map[string]json.RawMessage, name string) (*bool, error) {
	raw, given := fields[name]
	if !given {
		return nil, nil
	}
	delete(fields, name)
	var flag *bool
	if err := json.Unmarshal(raw, &flag); err != nil {
		return nil, invalidRequest(fieldError{name, "must be true or false"})
	}
	return flag, nil
}
