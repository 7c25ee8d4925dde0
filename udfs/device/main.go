// The transforms user_agent and device_fingerprint: what a request says about the device that made it.
package main

import (
	"millrace"
	"millrace/transform"
)

func main() {}

func init() {
	transform.Row("user_agent", parse)
	transform.Row("device_fingerprint", fingerprint)
}

// None are the options of a UDF that has none.
type None struct{}

// Request is what came with a request.
type Request struct{ UserAgent *string }

// Agent is what its user agent says.
type Agent struct {
	Browser        string
	BrowserVersion millrace.Null[int64]
	OS             string `millrace:"os"`
	Device         string
}
