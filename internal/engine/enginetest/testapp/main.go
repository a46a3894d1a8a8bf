// Command testapp is the application inside the conformance suite's images. Its
// arguments are a list of actions that it takes one after another.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	for _, action := range os.Args[1:] {
		name, arg, _ := strings.Cut(action, "=")
		n, _ := strconv.Atoi(arg)
		switch name {
		case "print":
			fmt.Println(arg)
		case "complain":
			fmt.Fprintln(os.Stderr, arg)
		case "mute":
			os.Stdout.Close()
		case "env":
			fmt.Printf("%s=%s\n", arg, os.Getenv(arg))
		case "copy":
			if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
				os.Exit(1)
			}
		case "reopen":
			reopen(arg)
		case "uid":
			fmt.Println("uid", os.Getuid())
		case "status":
			status(arg)
		case "size":
			size(arg)
		case "child":
			child(arg)
		case "cat":
			cat(arg)
		case "owner":
			owner(arg)
		case "append":
			appendTo(arg)
		case "exit":
			os.Exit(n)
		case "eat":
			eat(n)
		case "write":
			write(n)
		case "serve":
			term := make(chan os.Signal, 1)
			signal.Notify(term, syscall.SIGTERM)
			fmt.Println("ready")
			<-term
			fmt.Println("bye")
			os.Exit(0)
		case "usr1":
			signal.Ignore(syscall.SIGTERM)
			usr := make(chan os.Signal, 1)
			signal.Notify(usr, syscall.SIGUSR1)
			fmt.Println("ready")
			<-usr
			os.Exit(0)
		case "stubborn":
			signal.Ignore(syscall.SIGTERM)
			fmt.Println("ready")
			<-time.After(24 * time.Hour)
		default:
			fmt.Fprintln(os.Stderr, "unknown action", name)
			os.Exit(64)
		}
	}
}

// reopen writes to standard output by its name, as programs that log to /dev/stdout do.
func reopen(text string) {
	f, err := os.OpenFile("/dev/stdout", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprintln(f, text)
	f.Close()
}

// status prints a field of our own status in /proc.
func status(field string) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(data)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			fmt.Println(field, strings.TrimSpace(value))
		}
	}
}

// size waits until the terminal has WIDTHxHEIGHT characters.
func size(want string) {
	for {
		w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println("no terminal:", err)
			os.Exit(1)
		}
		if fmt.Sprintf("%dx%d", w.Col, w.Row) == want {
			fmt.Println("size", want)
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

// child starts this program again with one action and lets it be.
func child(action string) {
	cmd := exec.Command("/proc/self/exe", action)
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("child started")
}

func cat(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	os.Stdout.Write(data)
}

// owner prints whose a file is, and its mode.
func owner(path string) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %d:%d %o\n", path, st.Uid, st.Gid, st.Mode&0o7777)
}

// appendTo adds the text after the colon as a line to a file.
func appendTo(arg string) {
	path, text, _ := strings.Cut(arg, ":")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprintln(f, text)
	f.Close()
}

// eat touches n MiB of memory.
func eat(n int) {
	var all [][]byte
	for range n {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
	}
	fmt.Println("ate", len(all))
}

// write puts n MiB into a file.
func write(n int) {
	f, err := os.Create("/big")
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	block := make([]byte, 1<<20)
	for range n {
		if _, err := f.Write(block); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
	}
	fmt.Println("wrote", n)
}
