package app

import (
	"slices"
	"strings"
	"testing"
)

func TestInstanceSizes(t *testing.T) {
	if len(InstanceSizes) != 11 {
		t.Fatalf("%d sizes, want 11", len(InstanceSizes))
	}
	for _, c := range []struct {
		text string
		want int
	}{{"0.25 vCPU", 256}, {"256", 256}, {"1 vCPU", 1024}, {"4096", 4096}, {".25 vCPU", 0}, {"1 vcpu", 0}, {"1  vCPU", 0}, {"", 0}, {"8192", 0}} {
		got, err := ParseCPU(c.text)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("ParseCPU(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct {
		text string
		want int
	}{{"0.5 GB", 512}, {"3 GB", 3072}, {"12288", 12288}, {"3GB", 0}, {"0 GB", 0}} {
		got, err := ParseMemory(c.text)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("ParseMemory(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
	if CheckSize(1024, 512) == nil || CheckSize(256, 1024) != nil {
		t.Error("CheckSize is wrong about 1024/512 or 256/1024")
	}
}

func TestSplitCommand(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // nil = error
	}{
		{"a b  c", []string{"a", "b", "c"}},
		{`sh -c "echo \"$HOME\" \n"`, []string{"sh", "-c", `echo "$HOME" \n`}},
		{`'a b'c\ d ""`, []string{"a bc d", ""}},
		{`'\'`, []string{`\`}},
		{"  ", nil}, {`"a`, nil}, {`a\`, nil}, {"", nil},
	} {
		got, err := SplitCommand(c.in)
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("SplitCommand(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	f.Add(`sh -c 'a "b"' \ c`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := SplitCommand(s)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for n, w := range words {
			quoted[n] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := SplitCommand(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q splits into %q, which quoted splits into %q, %v", s, words, again, err)
		}
	})
}

func TestMoves(t *testing.T) {
	if !ServiceRunning.CanMove(ServiceInProgress) || ServiceDeleted.CanMove(ServiceInProgress) || ServiceRunning.CanMove(ServicePaused) {
		t.Error("the service's state machine is wrong")
	}
	for _, s := range []OperationStatus{OpFailed, OpSucceeded, OpRollbackFailed, OpRollbackSucceeded} {
		if len(operationMoves[s]) != 0 || !s.Ended() {
			t.Errorf("%s is not final", s)
		}
	}
}
