package app

import "time"

// AutoScaling is one revision of an auto scaling configuration.
type AutoScaling struct {
	ID             string
	Scope          Scope
	Name           string
	Revision       int
	MaxConcurrency int
	MinSize        int
	MaxSize        int
	// Default marks the account's default in this region.
	Default   bool
	CreatedAt time.Time
	// DeletedAt is zero while active.
	DeletedAt time.Time
}

// Observability is one revision of an observability configuration.
type Observability struct {
	ID       string
	Scope    Scope
	Name     string
	Revision int
	// TraceVendor is AWSXRAY or "".
	TraceVendor string
	CreatedAt   time.Time
	DeletedAt   time.Time
}

// Connection is a source connection; it stays PENDING_HANDSHAKE until a person completes the handshake.
type Connection struct {
	ID           string
	Scope        Scope
	Name         string
	ProviderType string
	Status       string
	CreatedAt    time.Time
}

// Tags maps keys to values; at most 50 a resource.
type Tags map[string]string
