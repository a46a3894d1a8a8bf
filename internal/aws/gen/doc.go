// Command gen writes the packages under internal/aws/api from AWS' service models.
//
//	go run .          regenerate
//	go run . -check   compare only; exit status 1 if a generated file differs, is missing or is left over
//
// The models are the JSON files that ship inside github.com/aws/aws-sdk-go; they are read from the module cache, and
// nothing of them is kept here. The model of Funade's own extension service lies in models/ in the same form.
// Which services and operations are generated, and where they deviate from the models, is said in config.go.
package main
