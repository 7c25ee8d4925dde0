// Package options reads the JSON object that a project gives into a struct.
package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"millrace/internal/rows"
)

// Read fills the struct that into points at. Fields are called as columns are, in kebab case too; `default:"…"` is what is
// taken where nothing is given, and a field with `millrace:",needed"` must be given. Names that are not known are refused, and
// a method Check() error refuses values.
func Read(text string, into any) error {
	target := reflect.ValueOf(into).Elem()
	given := map[string]json.RawMessage{}
	if strings.TrimSpace(text) != "" {
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			return fmt.Errorf("options: %w", err)
		}
	}
	var wrong []error
	var names []string
	for i := range target.NumField() {
		field := target.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name := rows.Name(field)
		names = append(names, "`"+name+"`")
		raw, ok := take(given, name)
		_, flag, _ := strings.Cut(field.Tag.Get("millrace"), ",")
		if !ok {
			if flag == "needed" {
				wrong = append(wrong, fmt.Errorf("options: missing field `%s`", name))
			}
			if raw = fallback(field); raw == nil {
				continue
			}
		}
		if err := json.Unmarshal(raw, target.Field(i).Addr().Interface()); err != nil {
			wrong = append(wrong, fmt.Errorf("options: `%s` is %s, wanted %s", name, raw, wanted(err, field.Type)))
		}
	}
	for name := range given {
		expected := "there are no fields"
		if len(names) > 0 {
			expected = "expected " + strings.Join(names, ", ")
		}
		wrong = append(wrong, fmt.Errorf("options: unknown field `%s`, %s", name, expected))
	}
	if checked, ok := into.(interface{ Check() error }); ok && len(wrong) == 0 {
		if err := checked.Check(); err != nil {
			wrong = append(wrong, fmt.Errorf("options: %w", err))
		}
	}
	return rows.Joined(wrong...)
}

func take(given map[string]json.RawMessage, name string) (json.RawMessage, bool) {
	for _, spelled := range []string{name, strings.ReplaceAll(name, "_", "-")} {
		if raw, ok := given[spelled]; ok {
			delete(given, spelled)
			return raw, true
		}
	}
	return nil, false
}

// fallback is the default, as JSON.
func fallback(field reflect.StructField) json.RawMessage {
	text, ok := field.Tag.Lookup("default")
	if !ok {
		return nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text)
	return quoted
}

func wanted(err error, kind reflect.Type) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return kind.String()
	}
	return kind.String() + " (" + err.Error() + ")"
}
