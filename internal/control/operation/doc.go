// Package operation advances operations. A plan is a list of named steps; a step is one
// transaction that reads rows, writes desired rows and the operation's next position, and
// does nothing else. Progress and effect commit together, so there is nothing to replay or
// undo after a crash: the next pass runs the current step again.
//
// Steps are written as "make it so" (top up to MinSize), never "add one more". A failed
// update or deployment goes through the plan's undo steps: the previous revision is
// written back as desired and waited for.
package operation
