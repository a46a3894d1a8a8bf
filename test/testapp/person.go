package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
)

// person does what a person runs inside an instance: copy (standard input to output), env NAME, exit CODE.
func person(args []string) {
	switch args[0] {
	case "copy":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			log.Fatal(err)
		}
	case "env":
		for _, name := range args[1:] {
			fmt.Printf("%s=%s\n", name, os.Getenv(name))
		}
	case "exit":
		code, err := strconv.Atoi(args[len(args)-1])
		if err != nil {
			log.Fatal(err)
		}
		os.Exit(code)
	default:
		return
	}
	os.Exit(0)
}
