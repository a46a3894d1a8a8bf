// Package wire speaks the AWS protocols: it finds the service and operation that a request names, verifies the
// signature, decodes, validates, calls the handler and encodes what it returns.
//
// A protocol is one Codec. Codecs walk the schemas of generated packages, so a service joins without a line of
// protocol code, and a protocol joins without touching services. The path of a request is a list of steps that the
// server puts together (see Mux.Handler), so that it can be read in one place.
package wire
