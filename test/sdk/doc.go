// Package sdk judges the API by aws-sdk-go-v2: error codes, tags and pagination as its users see them.
package sdk
