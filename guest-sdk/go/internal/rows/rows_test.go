package rows

import (
	"reflect"
	"testing"
	"unsafe"

	"millrace/internal/column"
	"millrace/internal/wire"
)

type row struct {
	UserAgent string
	IDs       []int64
	LastIP    *string `millrace:"ip"`
	Flag      *bool
	Amount    float64
	Raw       []byte
	Names     *[]*string
	hidden    int
}

func TestColumnsAreNamedLikeFields(t *testing.T) {
	schema := Of(reflect.TypeFor[row](), false)
	want := []wire.Field{{"user_agent", "u", false}, {"ids", "+l<l>", false}, {"ip", "u", true}, {"flag", "b", true},
		{"amount", "g", false}, {"raw", "z", false}, {"names", "+l<u>", true}}
	if !reflect.DeepEqual(schema.Fields, want) {
		t.Errorf("%+v", schema.Fields)
	}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	schema := Of(reflect.TypeFor[row](), false)
	text, flag, names := "é", true, []*string{nil, new(string)}
	all := []row{
		{UserAgent: "a", IDs: []int64{1, -2}, LastIP: &text, Flag: &flag, Amount: 0.5, Raw: []byte{0xff}, Names: &names},
		{IDs: []int64{}, Raw: []byte{}},
		{UserAgent: "b", IDs: []int64{3}, Flag: &flag, Raw: []byte("x"), Names: &[]*string{}},
	}
	for range 3 {
		all = append(all, all...)
	}
	builders := schema.Builders(2)
	for i := range all {
		schema.Write(builders, unsafe.Pointer(&all[i]))
		// A row that is taken back leaves nothing behind.
		schema.Write(builders, unsafe.Pointer(&all[0]))
		for _, builder := range builders {
			builder.Truncate(i + 1)
		}
	}
	readers, err := schema.Open(Finish(builders, len(all)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		var back row
		if err := schema.Read(readers, i, unsafe.Pointer(&back)); err != nil || !reflect.DeepEqual(back, all[i]) {
			t.Errorf("row %d: %+v, %v", i, back, err)
		}
	}
}

func TestNullsThatTheTypeCannotHoldAreNamed(t *testing.T) {
	type nullable struct{ Amount *float64 }
	type plain struct{ Amount float64 }
	from, to := Of(reflect.TypeFor[nullable](), false), Of(reflect.TypeFor[plain](), false)
	builders := from.Builders(1)
	from.Write(builders, unsafe.Pointer(&nullable{}))
	readers, _ := to.Open(Finish(builders, 1), nil)
	if err := to.Read(readers, 0, unsafe.Pointer(&plain{})); err == nil || err.Error() != "`amount` is null, or holds a null" {
		t.Error(err)
	}
}

func TestMisfitsAreSaidAllAtOnce(t *testing.T) {
	schema := Of(reflect.TypeFor[row](), false)
	_, err := schema.Fit([]wire.Field{{"user_agnt", "u", true}, {"ids", "+l<g>", false}, {"ip", "u", true}, {"flag", "w:16", false},
		{"amount", "f", true}, {"raw", "z", true}, {"names", "+l<u>", true}}, false)
	want := "no column `user_agent` (utf8) among `user_agnt`, `ids`, `ip`, `flag`, `amount`, `raw`, `names`: " +
		"map one to it, as in { user_agent = \"user_agnt\" }; " +
		"column `ids` is list<float64>, wanted list<int64>: map an expression of that type to `ids`; " +
		"column `flag` has the format `w:16`, which this UDF's SDK does not know"
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}

func TestBuffersThatAreTooShortAreErrors(t *testing.T) {
	for _, buffers := range [][][]byte{{}, {{}}, {{}, {1, 2}}, {{}, make([]byte, 12)}, {{}, {0, 0, 0, 0, 9, 0, 0, 0}, {}}} {
		if _, _, err := column.Open("u", buffers, 1, column.AsItIs); err == nil {
			t.Errorf("%v is opened", buffers)
		}
	}
	if _, _, err := column.Open("u", [][]byte{{}, {0, 0, 0, 0, 1, 0, 0, 0}, {0xff}}, 1, column.AsItIs); err == nil {
		t.Error("text that is not UTF-8 is opened")
	}
}
