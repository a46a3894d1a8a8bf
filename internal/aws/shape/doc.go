// Package shape holds what the generated API packages and the protocol codecs share: schemas that describe the
// generated Go types, the validation that walks them, service descriptors and the base of all API errors.
//
// A schema says how a value is called and constrained; it knows neither JSON nor XML. A codec walks a schema and a
// Go value side by side: member i of a structure schema is field i of the generated struct.
package shape
