// SPDX-License-Identifier: Apache-2.0

// Command write puts the sample composite into a file, for the demo.
//
//	go run ./samples/write composite.cmw        # JSON
//	go run ./samples/write -cbor composite.cbor
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/samples"
)

func main() {
	cbor := flag.Bool("cbor", false, "write CBOR instead of JSON")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: write [-cbor] FILE")
		os.Exit(2)
	}
	if err := write(flag.Arg(0), *cbor); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}

func write(path string, cbor bool) error {
	item, err := samples.Composite()
	if err != nil {
		return err
	}
	encode := evidence.EncodeJSON
	if cbor {
		encode = evidence.EncodeCBOR
	}
	raw, err := encode(item)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}
