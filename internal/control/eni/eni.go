// Package eni gives out private addresses and makes and removes the rows of network interfaces, inside the caller's
// transaction. Whoever needs an interface (App Runner instances, private hosts, NAT gateways, endpoints, users)
// gets it here.
package eni
