package fake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// labRoutes are the controls of the laboratory. They need no token: the cloud
// listens on loopback only.
func (c *Cloud) labRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+labPath+"/intune/challenges", post(func(in Request) (any, error) { return c.IssueChallenge(in) }))
	mux.HandleFunc("GET "+labPath+"/intune/challenges/{id}", func(w http.ResponseWriter, r *http.Request) {
		given, err := c.FindChallenge(r.PathValue("id"))
		reply(w, given, err)
	})
	mux.HandleFunc("PATCH "+labPath+"/intune/challenges/{id}", c.labRetarget)
	mux.HandleFunc("POST "+labPath+"/intune/revocations", post(func(in struct {
		SerialNumber string  `json:"serial_number"`
		IssuerName   *string `json:"issuer_name"`
	}) (any, error) {
		if in.SerialNumber == "" {
			return nil, errors.New("serial_number is missing")
		}
		return c.RequestRevocation(in.SerialNumber, in.IssuerName)
	}))
	mux.HandleFunc("GET "+labPath+"/intune/revocations", get(func() any { return items(c.Revocations()) }))
	mux.HandleFunc("POST "+labPath+"/intune/move", post(func(struct{}) (any, error) { c.Move(); return items(c.Endpoints()), nil }))
	mux.HandleFunc("GET "+labPath+"/graph/endpoints", get(func() any { return items(c.Endpoints()) }))
	mux.HandleFunc("PUT "+labPath+"/graph/endpoints", post(func(in []Endpoint) (any, error) {
		c.SetEndpoints(in)
		return items(c.Endpoints()), nil
	}))
	mux.HandleFunc("PUT "+labPath+"/entra", post(func(in EntraBehaviour) (any, error) { c.SetEntra(in); return in, nil }))
	mux.HandleFunc("GET "+labPath+"/calls", get(func() any { return items(c.Calls()) }))
	mux.HandleFunc("DELETE "+labPath+"/calls", func(w http.ResponseWriter, _ *http.Request) {
		c.ForgetCalls()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+labPath+"/faults", post(func(in Fault) (any, error) { return in, c.Fail(in) }))
	mux.HandleFunc("GET "+labPath+"/faults", get(func() any { return items(c.Faults()) }))
	mux.HandleFunc("DELETE "+labPath+"/faults", func(w http.ResponseWriter, _ *http.Request) {
		c.Heal()
		w.WriteHeader(http.StatusNoContent)
	})
}

// labRetarget puts the members of the body over what Intune knows of a
// challenge.
func (c *Cloud) labRetarget(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		reply(w, nil, err)
		return
	}
	err = c.Retarget(r.PathValue("id"), func(request *Request) error { return strictly(body, request) })
	if err != nil {
		reply(w, nil, err)
		return
	}
	given, err := c.FindChallenge(r.PathValue("id"))
	reply(w, given, err)
}

func items[T any](all []T) any {
	if all == nil {
		all = []T{}
	}
	return map[string]any{"items": all}
}

func get(answer func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, answer(), nil) }
}

// post reads a JSON body of one shape.
func post[T any](do func(T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil && len(body) > 0 {
			err = strictly(body, &in)
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		out, err := do(in)
		reply(w, out, err)
	}
}

// strictly decodes JSON that holds no unknown members and nothing behind it.
func strictly(body []byte, into any) error {
	if !json.Valid(body) {
		return errors.New("the body is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		writeJSON(w, http.StatusNotFound, graphError("NotFound", err.Error()))
	case err != nil:
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", err.Error()))
	default:
		writeJSON(w, http.StatusOK, v)
	}
}
