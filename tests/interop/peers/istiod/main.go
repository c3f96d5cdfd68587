// SPDX-License-Identifier: Apache-2.0

// Command istiod is Istio's control plane, unmodified: this file only calls its entry point, so that
// `go build` can make the binary from the pinned module, without containers.
package main

import (
	"os"

	"istio.io/istio/pilot/cmd/pilot-discovery/app"
)

func main() {
	if err := app.NewRootCommand().Execute(); err != nil {
		os.Exit(1)
	}
}
