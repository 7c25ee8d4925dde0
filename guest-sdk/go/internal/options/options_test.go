package options

import (
	"errors"
	"testing"

	"millrace"
)

type some struct {
	HalfLife millrace.Duration `default:"5m"`
	Units    float64           `default:"100"`
	Name     string            `default:"x"`
	Count    int64             `millrace:",needed"`
	Fast     bool
}

func (w *some) Check() error {
	if w.Count > 5 {
		return errors.New("`count` is at most 5")
	}
	return nil
}

func TestOptionsFillAStruct(t *testing.T) {
	var got some
	if err := Read(`{"count":3,"half-life":"1h 30m","fast":true}`, &got); err != nil {
		t.Fatal(err)
	}
	if got != (some{5_400_000_000, 100, "x", 3, true}) {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsWrongWithOptionsIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                      "options: missing field `count`",
		``:                        "options: missing field `count`",
		`{"count":6}`:             "options: `count` is at most 5",
		`{"count":1,"units":"x"}`: "options: `units` is \"x\", wanted float64",
		`{"count":1.5}`:           "options: `count` is 1.5, wanted int64",
		`{"count":1,"half_life":5}`: "options: `half_life` is 5, wanted millrace.Duration (5 is not a duration: write a number and a unit " +
			"(us ms s m h d), as in \"5m\")",
		`{"count":1,"unit":1}`: "options: unknown field `unit`, expected `half_life`, `units`, `name`, `count`, `fast`",
	} {
		if err := Read(text, &some{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := Read(`[1]`, &some{}); err == nil {
		t.Error("a list is taken for options")
	}
}
