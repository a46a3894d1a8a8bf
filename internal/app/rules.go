package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// InstanceSize is a legal pair of CPU (1/1024 of a core) and memory (MiB).
type InstanceSize struct{ CPU, Memory int }

// InstanceSizes are the 11 legal pairs (App Runner guide, "Configuring instance size").
var InstanceSizes = []InstanceSize{
	{256, 512}, {256, 1024}, {512, 1024}, {1024, 2048}, {1024, 3072}, {1024, 4096},
	{2048, 4096}, {2048, 6144}, {4096, 8192}, {4096, 10240}, {4096, 12288},
}

// The defaults that CreateService fills in (apprunner API reference).
const (
	DefaultPort               = 8080
	DefaultCPU                = 1024
	DefaultMemory             = 2048
	DefaultHealthPath         = "/"
	DefaultHealthInterval     = 5
	DefaultHealthTimeout      = 2
	DefaultHealthyThreshold   = 1
	DefaultUnhealthyThreshold = 5
	DefaultIPAddressType      = "IPV4"
	DualStack                 = "DUAL_STACK"
	DefaultConfigurationName  = "DefaultConfiguration"
	DefaultConfigurationID    = "00000000000000000000000000000001"
	DefaultMaxConcurrency     = 100
	DefaultMinSize            = 1
	DefaultMaxSize            = 25
)

// MaxTags is how many tags a resource may have (AWS's general limit).
const MaxTags = 50

// ParseCPU reads App Runner's two spellings, "1024" and "1 vCPU", in 1/1024 of a core.
func ParseCPU(text string) (int, error) {
	return parseUnits(text, " vCPU", "CPU", 256, 512, 1024, 2048, 4096)
}

// ParseMemory reads App Runner's two spellings, "2048" and "2 GB", in MiB.
func ParseMemory(text string) (int, error) {
	return parseUnits(text, " GB", "memory", 512, 1024, 2048, 3072, 4096, 6144, 8192, 10240, 12288)
}

func parseUnits(text, unit, what string, legal ...int) (int, error) {
	for _, n := range legal {
		if text == strconv.Itoa(n) || text == strconv.FormatFloat(float64(n)/1024, 'f', -1, 64)+unit {
			return n, nil
		}
	}
	return 0, Errorf(KindInvalidRequest, "", "The %s value %q is not supported. Supported sizes are %s.", what, text, sizesText())
}

// CheckSize refuses pairs that InstanceSizes lacks.
func CheckSize(cpu, memory int) error {
	if slices.Contains(InstanceSizes, InstanceSize{cpu, memory}) {
		return nil
	}
	return Errorf(KindInvalidRequest, "", "The combination of Cpu %d and Memory %d is not supported. Supported combinations (Cpu/Memory) are %s.", cpu, memory, sizesText())
}

func sizesText() string {
	texts := make([]string, len(InstanceSizes))
	for n, s := range InstanceSizes {
		texts[n] = fmt.Sprintf("%d/%d", s.CPU, s.Memory)
	}
	return strings.Join(texts, ", ")
}

var serviceMoves = map[ServiceStatus][]ServiceStatus{
	"":                  {ServiceInProgress},
	ServiceInProgress:   {ServiceRunning, ServicePaused, ServiceCreateFailed, ServiceDeleted, ServiceDeleteFailed},
	ServiceRunning:      {ServiceInProgress},
	ServicePaused:       {ServiceInProgress},
	ServiceCreateFailed: {ServiceInProgress},
	ServiceDeleteFailed: {ServiceInProgress},
}

// CanMove reports whether a service may go from s to next (App Runner's state machine).
func (s ServiceStatus) CanMove(next ServiceStatus) bool {
	return slices.Contains(serviceMoves[s], next)
}

var operationMoves = map[OperationStatus][]OperationStatus{
	"":                   {OpPending, OpInProgress},
	OpPending:            {OpInProgress, OpFailed},
	OpInProgress:         {OpSucceeded, OpFailed, OpRollbackInProgress},
	OpRollbackInProgress: {OpRollbackSucceeded, OpRollbackFailed},
}

// CanMove reports whether an operation may go from s to next.
func (s OperationStatus) CanMove(next OperationStatus) bool {
	return slices.Contains(operationMoves[s], next)
}

// SplitCommand splits a start command by the shell's rules for words: blanks separate, '…' keeps everything,
// "…" keeps everything but \" and \\, \ keeps the next character. Nothing is expanded.
// Errors are KindInvalidRequest.
func SplitCommand(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote, escaped := false, rune(0), false
	for _, r := range command {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' && r != '$' && r != '`' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	switch {
	case quote != 0:
		return nil, Errorf(KindInvalidRequest, "", "The StartCommand has no closing %c. Close the quote or escape it with a backslash.", quote)
	case escaped:
		return nil, Errorf(KindInvalidRequest, "", "The StartCommand ends with a backslash that escapes nothing. Remove it or double it.")
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, Errorf(KindInvalidRequest, "", "The StartCommand holds no word. Name a program, or leave it out to use the image's own command.")
	}
	return words, nil
}
