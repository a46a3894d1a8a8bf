// Package sockettable reads the kernel's table of TCP sockets, /proc/net/tcp and tcp6.
package sockettable

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const stateListen = "0A"

// Listening returns the local ports of the sockets in state LISTEN, in the table's order, repeats included.
func Listening(r io.Reader) ([]int, error) {
	var ports []int
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		_, hex, ok := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if !ok || err != nil || port == 0 {
			return nil, fmt.Errorf("cannot read socket table line %q: expected address:port in hex", lines.Text())
		}
		ports = append(ports, int(port))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read socket table: %w", err)
	}
	return ports, nil
}
