// Package sigv4 verifies and makes AWS Signature Version 4 signatures, in headers and in presigned URLs.
//
// It knows neither users nor services: a Keys finds the secret of an access key, the caller says which service a
// request is meant for. Signatures are compared in constant time.
package sigv4
