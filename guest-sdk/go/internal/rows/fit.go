package rows

import (
	"errors"
	"fmt"
	"strings"

	"millrace/internal/column"
	"millrace/internal/wire"
)

var plain = map[string]string{
	"b": "boolean", "i": "int32", "l": "int64", "f": "float32", "g": "float64", "tsu:UTC": "timestamp", "u": "utf8", "z": "binary",
}

// typeName is a format in the project file's words; "" where it is not known.
func typeName(format string) string {
	if strings.HasPrefix(format, "+l<") && strings.HasSuffix(format, ">") {
		if item := typeName(column.Item(format)); item != "" {
			return "list<" + item + ">"
		}
		return ""
	}
	return plain[format]
}

func widens(given, wanted string) (column.Widening, bool) {
	switch {
	case given == wanted:
		return column.AsItIs, true
	case given == "i" && wanted == "l":
		return column.Integers, true
	case given == "f" && wanted == "g":
		return column.Floats, true
	case strings.HasPrefix(given, "+l<") && strings.HasPrefix(wanted, "+l<"):
		return widens(column.Item(given), column.Item(wanted))
	}
	return 0, false
}

// Fit finds each wanted column among those given. The error names all that do not fit. A column that may hold nulls fits one
// that must not, and the rows with nulls are refused, unless wholeColumns.
func (s *Schema) Fit(given []wire.Field, wholeColumns bool) ([]column.Widening, error) {
	widenings := make([]column.Widening, len(s.Fields))
	var misfits []error
	for i, wanted := range s.Fields {
		var misfit error
		if widenings[i], misfit = fitOne(wanted, given, wholeColumns); misfit != nil {
			misfits = append(misfits, misfit)
		}
	}
	return widenings, Joined(misfits...)
}

// Joined is all errors in one line; nil where there is none.
func Joined(all ...error) error {
	var texts []string
	for _, err := range all {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

func fitOne(wanted wire.Field, given []wire.Field, wholeColumns bool) (column.Widening, error) {
	name, kind := wanted.Name, typeName(wanted.Format)
	for _, field := range given {
		if field.Name != name {
			continue
		}
		known := typeName(field.Format)
		if known == "" {
			return 0, fmt.Errorf("column `%s` has the format `%s`, which this UDF's SDK does not know", name, field.Format)
		}
		widening, ok := widens(field.Format, wanted.Format)
		switch {
		case !ok:
			return 0, fmt.Errorf("column `%s` is %s, wanted %s: map an expression of that type to `%s`", name, known, kind, name)
		case wholeColumns && field.Nullable && !wanted.Nullable:
			return 0, fmt.Errorf("column `%s` may be null, wanted %s without nulls: map `coalesce(%s, …)` to `%s`", name, kind, name, name)
		}
		return widening, nil
	}
	if len(given) == 0 {
		return 0, fmt.Errorf("no column `%s` (%s): none is given", name, kind)
	}
	names, nearest, least := make([]string, len(given)), "", 1<<30
	for i, field := range given {
		names[i] = "`" + field.Name + "`"
		if differs := distance(name, field.Name); differs < least {
			nearest, least = field.Name, differs
		}
	}
	return 0, fmt.Errorf("no column `%s` (%s) among %s: map one to it, as in { %s = \"%s\" }",
		name, kind, strings.Join(names, ", "), name, nearest)
}

// distance is how many letters two names differ by (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
