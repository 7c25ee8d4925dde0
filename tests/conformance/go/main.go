// The UDFs of the conformance suite, in Go: what tests/conformance/README.md says, and no more.
package main

func main() {}

// None are the options of a UDF that has none.
type None struct{}
