package millrace

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Duration is an option such as "5m" or "1h 30m", in microseconds. Units: us, ms, s, m, h, d.
type Duration int64

var units = []struct {
	name string
	size int64
}{{"us", 1}, {"ms", 1_000}, {"s", 1_000_000}, {"m", 60_000_000}, {"h", 3_600_000_000}, {"d", 86_400_000_000}}

// UnmarshalJSON reads "5m".
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if micros, ok := parseDuration(strings.TrimSpace(text)); ok {
			*d = Duration(micros)
			return nil
		}
	}
	return errors.New(string(raw) + " is not a duration: write a number and a unit (us ms s m h d), as in \"5m\"")
}

func parseDuration(text string) (micros int64, ok bool) {
	for rest := text; rest != ""; ok = true {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		letters := len(rest[digits:]) - len(strings.TrimLeft(rest[digits:], "abcdefghijklmnopqrstuvwxyz"))
		number, err := strconv.ParseInt(rest[:digits], 10, 64)
		size := int64(0)
		for _, unit := range units {
			if unit.name == rest[digits:digits+letters] {
				size = unit.size
			}
		}
		if err != nil || size == 0 || number > (1<<63-1-micros)/size {
			return 0, false
		}
		micros += number * size
		rest = strings.TrimLeft(rest[digits+letters:], " ")
	}
	return micros, ok
}
