// Command mkimage makes an OCI image of one static program:
//
//	mkimage -o hello.tar [-format docker|oci|layout] [-port 8080] [-env K=V]… [-arch arm64] PROGRAM [ARG…]
//	mkimage -o database.tar -rootfs FOLDER [-user NAME] [-volume /path]… [flags] [COMMAND [ARG…]]
//
// It prints the image's digest.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/funade/funade/build/ociimage"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run() error {
	var o ociimage.Options
	to := flag.String("o", "image.tar", "file or directory to write")
	format := flag.String("format", "docker", "docker, oci or layout")
	flag.IntVar(&o.Port, "port", 0, "port to declare as exposed")
	flag.StringVar(&o.Architecture, "arch", "", "architecture in Go's words; default: this machine's")
	flag.Func("env", "NAME=value, may be repeated", func(s string) error {
		o.Env = append(o.Env, s)
		return nil
	})
	flag.StringVar(&o.Rootfs, "rootfs", "", "folder with a whole file system, instead of a program")
	flag.StringVar(&o.User, "user", "", "user of the image; default: root")
	flag.Func("volume", "folder to declare as a volume, may be repeated", func(s string) error {
		o.Volumes = append(o.Volumes, s)
		return nil
	})
	flag.Parse()
	switch {
	case o.Rootfs != "":
		o.Args = flag.Args()
	case flag.NArg() == 0:
		return fmt.Errorf("name the program to put into the image")
	default:
		o.Program, o.Args = flag.Arg(0), flag.Args()[1:]
	}
	img, err := ociimage.Build(o)
	if err != nil {
		return err
	}
	if err := ociimage.Write(img, *format, *to); err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("cannot read digest: %w", err)
	}
	_, err = fmt.Println(digest)
	return err
}
