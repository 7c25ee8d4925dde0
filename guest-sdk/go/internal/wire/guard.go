package wire

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// guarded turns a panic into an error that says what and where.
func guarded(call func() error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = errors.New("panic: " + fmt.Sprint(panicked) + place())
		}
	}()
	return call()
}

// place is the file and line that panicked: the first frame below the runtime's own.
func place() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for below := false; ; {
		frame, more := frames.Next()
		own := strings.HasPrefix(frame.Function, "runtime.")
		if below && !own && frame.Function != "" {
			return " (" + path.Base(frame.File) + ":" + strconv.Itoa(frame.Line) + ")"
		}
		below = below || own
		if !more {
			return ""
		}
	}
}
