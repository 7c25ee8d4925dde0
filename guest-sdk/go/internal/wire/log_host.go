//go:build !wasm

package wire

import "os"

// Log goes to standard error in the author's own tests.
func Log(_ uint32, message string) { os.Stderr.WriteString(message + "\n") }
