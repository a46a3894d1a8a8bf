package wire

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/aws/shape"
	"github.com/funade/funade/internal/aws/sigv4"
)

// DefaultMaxBody is the largest request body in bytes, unless Options say otherwise.
const DefaultMaxBody = 1 << 20

// Options are what a Mux needs from its surroundings.
type Options struct {
	Verifier  *sigv4.Verifier          // required
	Authorize func(*Call) error        // may refuse a validated call with an *Error; nil allows everything
	Report    func(*Call, error)       // gets what the caller is not told: the cause of every 5xx; nil drops it
	Observe   func(*Call, int, *Error) // gets every call when it was answered: the status, and the error if any; may be nil
	MaxBody   int64                    // bytes; 0 means DefaultMaxBody
}

// Mux answers API requests.
type Mux struct {
	options  Options
	services Services
	codecs   []Codec
}

// NewMux checks the registrations and makes a Mux that speaks all protocols.
func NewMux(o Options, registrations ...Registration) (*Mux, error) {
	if o.Verifier == nil {
		return nil, errors.New("cannot make API mux: no signature verifier")
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	m := &Mux{options: o, codecs: []Codec{jsonCodec{}, queryCodec{}, ec2Codec{}}}
	m.services.byTarget = make(map[string]*Registration)
	m.services.list = make([]Registration, 0, len(registrations)) // never grows: the maps point into it
	for i := range registrations {
		if err := m.check(&registrations[i]); err != nil {
			return nil, fmt.Errorf("cannot register service: %w", err)
		}
		m.services.list = append(m.services.list, registrations[i])
		r := &m.services.list[i]
		if r.Service.TargetPrefix != "" {
			m.services.byTarget[r.Service.TargetPrefix] = r
		}
	}
	return m, nil
}

func (m *Mux) check(r *Registration) error {
	switch {
	case r.Service == nil:
		return errors.New("registration without a service")
	case !r.Service.ImplementedBy(r.Handler):
		return fmt.Errorf("%T does not implement the handler of %s", r.Handler, r.Service.Name)
	case m.services.byTarget[r.Service.TargetPrefix] != nil, m.services.BySigningName(r.Service.SigningName, r.Service.Protocol) != nil:
		return fmt.Errorf("service %s is registered twice", r.Service.Name)
	case !slices.ContainsFunc(m.codecs, func(c Codec) bool { return slices.Contains(c.Protocols(), r.Service.Protocol) }):
		return fmt.Errorf("no codec speaks %s, the protocol of %s", r.Service.Protocol, r.Service.Name)
	}
	return nil
}

// Steps is the whole path of a request, in order.
func (m *Mux) Steps() []Step {
	return []Step{m.Identify, m.ReadBody, m.Verify, m.Decode, m.Validate, m.Authorize, m.Invoke}
}

// ServeHTTP answers a request with all steps.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.serve(w, r, m.Steps()) }

// Handler answers requests by running the given steps in order and encoding what they leave: the output, or the first error.
func (m *Mux) Handler(steps ...Step) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, steps) })
}

func (m *Mux) serve(w http.ResponseWriter, r *http.Request, steps []Step) {
	call := &Call{ID: newRequestID(), Request: r}
	var response Response
	err := m.run(call, steps)
	if err == nil {
		response, err = call.codec.Encode(call)
	}
	var answered *Error
	if err != nil {
		answered = m.wireError(call, err)
		response = call.errorCodec().EncodeError(call, answered)
	}
	h := w.Header()
	h.Set("Content-Type", response.ContentType)
	h.Set("X-Amzn-Requestid", call.ID)
	h.Set("Content-Length", strconv.Itoa(len(response.Body)))
	w.WriteHeader(response.Status)
	_, _ = w.Write(response.Body) // the caller may be gone; nothing is left to tell it
	if m.options.Observe != nil {
		m.options.Observe(call, response.Status, answered)
	}
}

// run takes the steps; a panic in one becomes an internal error, so that one bad request ends alone.
func (m *Mux) run(call *Call, steps []Step) (err error) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			panic(p)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for _, step := range steps {
		if err := step(call); err != nil {
			return err
		}
	}
	if call.Operation == nil || call.Output == nil {
		return errors.New("the steps left no output")
	}
	return nil
}

// Identify finds the protocol and the service from the URL, the headers and the credential scope.
func (m *Mux) Identify(call *Call) error {
	call.Credential, call.Signed = sigv4.ParseCredential(call.Request)
	for _, c := range m.codecs {
		if c.Claims(call.Request) {
			call.codec = c
			return c.Identify(call, &m.services)
		}
	}
	return m.services.unknown(call.Credential.Service)
}

// unknown is the answer to a request for a service that is not served.
func (s *Services) unknown(name string) *Error {
	var names []string
	for _, r := range s.list {
		names = append(names, r.Service.SigningName)
	}
	slices.Sort(names)
	served := strings.Join(slices.Compact(names), ", ")
	e := &Error{Code: "UnknownOperationException", Status: http.StatusBadRequest}
	switch {
	case name == "":
		e.Message = "The request names no operation: it has neither X-Amz-Target nor Action. Services here: " + served + "."
	case slices.Contains(names, name):
		e.Message = fmt.Sprintf("The request names no operation of the service %q in the form that its protocol asks for.", name)
	default:
		e.Message = fmt.Sprintf("The service %q is not available here. Services here: %s.", shape.Shorten(name), served)
	}
	return e
}

// ReadBody reads the body up to the limit.
func (m *Mux) ReadBody(call *Call) error {
	r := call.Request
	tooLarge := &Error{
		Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("The request body is larger than %d bytes.", m.options.MaxBody),
	}
	if r.ContentLength > m.options.MaxBody {
		return tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, m.options.MaxBody+1))
	if err != nil {
		return &Error{Code: "RequestAbortedException", Message: "The request body could not be read to its end.", Err: err}
	}
	if int64(len(body)) > m.options.MaxBody {
		return tooLarge
	}
	call.Body = body
	return nil
}

// Verify checks the signature and sets the caller.
func (m *Mux) Verify(call *Call) error {
	var terms sigv4.Terms
	if call.Service != nil {
		terms.Service = call.Service.SigningName
	}
	v, err := m.options.Verifier.Verify(call.Request.Context(), call.Request, call.Body, terms)
	if err != nil {
		return err
	}
	call.Caller = Caller{
		AccessKeyID: v.AccessKeyID, Region: v.Region,
		Account: v.Identity.Account, UserName: v.Identity.UserName, UserID: v.Identity.UserID, ARN: v.Identity.ARN,
	}
	call.Request = call.Request.WithContext(WithCaller(call.Request.Context(), call.Caller))
	return nil
}

// Decode finds the operation and decodes its input.
func (m *Mux) Decode(call *Call) error { return call.codec.Decode(call) }

// Validate checks the input against the constraints of the model and reports all violations at once.
func (m *Mux) Validate(call *Call) error {
	err := call.Operation.Validate(call.Input)
	if v, ok := errors.AsType[*shape.Violations](err); ok {
		call.violations.Merge(v)
	} else if err != nil {
		return err
	}
	if call.violations.Total > 0 {
		return &call.violations
	}
	return nil
}

// Authorize asks the hook of the options.
func (m *Mux) Authorize(call *Call) error {
	if m.options.Authorize == nil {
		return nil
	}
	return m.options.Authorize(call)
}

// Invoke calls the handler.
func (m *Mux) Invoke(call *Call) error {
	out, err := call.Operation.Invoke(call.Request.Context(), call.handler, call.Input)
	if err != nil {
		return err
	}
	call.Output = out
	return nil
}

// newRequestID makes a random UUID.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
