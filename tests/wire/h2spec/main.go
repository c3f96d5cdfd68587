// SPDX-License-Identifier: Apache-2.0

// Command h2spec runs the cases of the conformance suite of that name, strict ones included, against a server on loopback, or
// its cases for clients against a command that is given a URL. Only its entry points are called here, so that `go build`
// makes the binary from the pinned module.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	var c config.Config
	flag.IntVar(&c.Port, "port", 0, "port of the server")
	flag.BoolVar(&c.TLS, "tls", false, "speak TLS; the server's certificate is not verified")
	flag.StringVar(&c.Exec, "client", "", "the client to test; its cases listen on ports from -port on")
	flag.DurationVar(&c.Timeout, "timeout", 2*time.Second, "how long a case waits for an answer")
	flag.Parse()
	c.Host, c.Path, c.Strict, c.Insecure = "127.0.0.1", "/", true, true
	c.MaxHeaderLen = 4000
	c.Sections = flag.Args()
	if c.Exec != "" {
		c.FromPort = c.Port
		if err := h2spec.RunClientSpec(&c); err != nil {
			fmt.Fprintln(os.Stderr, "h2spec:", err)
			os.Exit(2)
		}
		return
	}
	good, err := h2spec.Run(&c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "h2spec:", err)
		os.Exit(2)
	}
	if !good {
		os.Exit(1)
	}
}
