/* Fitting the columns that a project gives to those that a UDF wants: all misfits in one message, each with its cure. */
#include "internal.h"

static const struct { const char *name, *format; } plain[] = {
    { "boolean", "b" }, { "int32", "i" }, { "int64", "l" }, { "float32", "f" }, { "float64", "g" },
    { "timestamp", "tsu:UTC" }, { "utf8", "u" }, { "binary", "z" },
};

/* A format in the project file's words; an empty text where it is not known. */
static mr_text type_name(mr_text format)
{
    mr_text none = { "", 0 };
    if (format.len > 4 && memcmp(format.ptr, "+l<", 3) == 0 && format.ptr[format.len - 1] == '>') {
        mr_text item = { format.ptr + 3, format.len - 4 };
        item = type_name(item);
        return item.len == 0 ? none : mr_format("list<%.*s>", (int)item.len, item.ptr);
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (mr_equal(format, mr_text_of(plain[i].format))) return mr_text_of(plain[i].name);
    return none;
}

static bool widens(mr_text given, mr_text wanted, mr_widening *how)
{
    *how = MR_AS_IT_IS;
    if (mr_equal(given, wanted)) return true;
    if (given.len != wanted.len) return false;
    while (given.len > 4 && memcmp(given.ptr, "+l<", 3) == 0 && memcmp(wanted.ptr, "+l<", 3) == 0) {
        given.ptr += 3, wanted.ptr += 3;
        given.len -= 4, wanted.len -= 4;
    }
    if (given.len != 1) return false;
    *how = given.ptr[0] == 'i' ? MR_WIDEN_INTEGERS : MR_WIDEN_FLOATS;
    return (given.ptr[0] == 'i' && wanted.ptr[0] == 'l') || (given.ptr[0] == 'f' && wanted.ptr[0] == 'g');
}

/* How many letters two names differ by (Levenshtein). */
static size_t distance(mr_text a, mr_text b)
{
    size_t *row = mr_alloc((b.len + 1) * sizeof(size_t));
    for (size_t j = 0; j <= b.len; j++) row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]), above = row[j] + 1, left = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < above ? (change < left ? change : left) : (above < left ? above : left);
        }
    }
    return row[b.len];
}

static mr_text missing(const char *name, mr_text type, mr_fields given)
{
    if (given.len == 0) return mr_format("no column `%s` (%.*s): none is given", name, (int)type.len, type.ptr);
    mr_text names = { "", 0 }, nearest = given.ptr[0].name;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < given.len; i++) {
        mr_text other = given.ptr[i].name;
        names = mr_format("%.*s%s`%.*s`", (int)names.len, names.ptr, i == 0 ? "" : ", ", (int)other.len, other.ptr);
        size_t differs = distance(mr_text_of(name), other);
        if (differs < least) least = differs, nearest = other;
    }
    return mr_format("no column `%s` (%.*s) among %.*s: map one to it, as in { %s = \"%.*s\" }", name, (int)type.len,
        type.ptr, (int)names.len, names.ptr, name, (int)nearest.len, nearest.ptr);
}

static mr_text fit_one(const mr_want *wanted, mr_fields given, bool refuse_nulls, mr_widening *widening)
{
    const char *name = wanted->name;
    mr_text type = type_name(mr_text_of(wanted->format)), fits = { "", 0 };
    const mr_field *field = NULL;
    for (size_t i = 0; i < given.len && field == NULL; i++)
        if (mr_equal(given.ptr[i].name, mr_text_of(name))) field = given.ptr + i;
    if (field == NULL) return missing(name, type, given);
    mr_text known = type_name(field->format);
    if (known.len == 0)
        return mr_format("column `%s` has the format `%.*s`, which this UDF's SDK does not know", name,
            (int)field->format.len, field->format.ptr);
    if (!widens(field->format, mr_text_of(wanted->format), widening))
        return mr_format("column `%s` is %.*s, wanted %.*s: map an expression of that type to `%s`", name, (int)known.len,
            known.ptr, (int)type.len, type.ptr, name);
    if (refuse_nulls && field->nullable && !wanted->nullable)
        return mr_format("column `%s` may be null, wanted %.*s without nulls: map `coalesce(%s, …)` to `%s`", name,
            (int)type.len, type.ptr, name, name);
    return fits;
}

mr_text mr_both(mr_text a, mr_text b)
{
    if (a.len == 0) return b;
    return b.len == 0 ? a : mr_format("%.*s; %.*s", (int)a.len, a.ptr, (int)b.len, b.ptr);
}

mr_text mr_fit(const mr_want *wanted, size_t count, mr_fields given, bool refuse_nulls, mr_widening *widenings)
{
    mr_text misfits = { "", 0 };
    for (size_t i = 0; i < count; i++)
        misfits = mr_both(misfits, fit_one(wanted + i, given, refuse_nulls, widenings + i));
    return misfits;
}
