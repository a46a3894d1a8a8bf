// Package enginetest is the suite that every engine must pass. An engine's own test
// calls Run with a harness that makes engines; the suite speaks to them only through the
// interfaces of package engine.
package enginetest
