// Package registry is the install's image registry: the OCI distribution protocol 1.1 over the engine's
// content store (one copy of each blob) and the control rows.
package registry
