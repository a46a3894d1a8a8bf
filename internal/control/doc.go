// Package control decides: one method per use case, each method one transaction. It writes
// the desired rows (services, revisions, operations, instances, repositories, log groups …)
// and nothing else; convergers make them true and operation.Runner moves operations on.
//
// Methods take the caller's scope and, where AWS's API does, an ARN in text form; they check
// that the ARN is well formed, of the right type and of the scope. Errors are *app.Error.
// Time comes from Config.Now, identifiers from Config.IDs.
package control
