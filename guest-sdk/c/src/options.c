/* Options: the JSON object that a project gives, into a struct. Names are taken in kebab case too: `half-life` for half_life. */
#include <stdlib.h>

#include "internal.h"

typedef struct { const char *at, *end; } cursor;

static void blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, char wanted)
{
    blanks(c);
    if (c->at == c->end || *c->at != wanted) return false;
    return c->at++, true;
}

static int32_t hex(cursor *c)
{
    int32_t code = 0;
    for (int i = 0; i < 4; i++, c->at++) {
        if (c->at == c->end) return -1;
        char d = *c->at;
        int digit = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* A string, whose quote is next. It is kept for good: options outlive the call. */
static bool string(cursor *c, mr_text *into)
{
    if (!take(c, '"')) return false;
    char *text = malloc((size_t)(c->end - c->at) + 4);
    size_t len = 0;
    for (; c->at < c->end && *c->at != '"';) {
        char letter = *c->at++;
        if (letter == '\\' && c->at < c->end) {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            letter = *c->at++;
            const char *known = letter == 0 ? NULL : strchr(from, letter);
            if (letter == 'u') {
                int32_t code = hex(c), low;
                if (code < 0) return false;
                if (code >= 0xd800 && code < 0xdc00 && c->end - c->at > 6 && c->at[0] == '\\') {
                    c->at += 2;
                    if ((low = hex(c)) < 0) return false;
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                len += mr_put_code_point(text + len, code);
                continue;
            }
            if (known == NULL) return false;
            letter = to[known - from];
        }
        text[len++] = letter;
    }
    into->ptr = text;
    into->len = len;
    return take(c, '"');
}

/* Any value, as it stands: its end is found, no more. */
static bool skip(cursor *c)
{
    blanks(c);
    int depth = 0;
    mr_text ignored;
    for (; c->at < c->end; c->at++) {
        if (*c->at == '"') {
            if (!string(c, &ignored)) return false;
            c->at--;
        } else if (*c->at == '{' || *c->at == '[') depth++;
        else if (*c->at == '}' || *c->at == ']') {
            if (depth-- == 0) return true;
        } else if (*c->at == ',' && depth == 0) return true;
    }
    return depth == 0;
}

/* "5m", "1h 30m" in microseconds; false if it is neither. */
static bool duration(mr_text text, int64_t *micros)
{
    static const struct { const char *name; int64_t size; } units[] = {
        { "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", 3600000000 }, { "d", 86400000000 },
    };
    const char *at = text.ptr, *end = text.ptr + text.len;
    bool any = false;
    for (*micros = 0; at < end; any = true) {
        while (at < end && *at == ' ') at++;
        int64_t number = 0, size = 0;
        const char *digits = at;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *at - '0', &number)) return false;
        mr_text unit = { at, 0 };
        for (; at < end && *at >= 'a' && *at <= 'z'; at++) unit.len++;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (mr_equal(unit, mr_text_of(units[i].name))) size = units[i].size;
        if (digits == unit.ptr || size == 0 || __builtin_mul_overflow(number, size, &number)
            || __builtin_add_overflow(*micros, number, micros))
            return false;
        while (at < end && *at == ' ') at++;
    }
    return any;
}

static mr_text wrong(const char *name, mr_text is, const char *wanted)
{
    return mr_format("options: `%s` is %.*s, wanted %s", name, (int)is.len, is.ptr, wanted);
}

static const char *const TYPES[] = { "a boolean", "a whole number", "a number", "a text", "a duration such as \"5m\"" };

/* One value into its place. */
static mr_text read_value(cursor *c, const mr_option *option, char *into)
{
    blanks(c);
    cursor start = *c;
    mr_text value = { "", 0 }, fits = { "", 0 }, raw;
    bool is_text = start.at < start.end && *start.at == '"' && string(&start, &value);
    if (!skip(c)) return mr_text_of("options: they are no JSON object");
    raw.ptr = is_text ? value.ptr : start.at;
    raw.len = is_text ? value.len : (size_t)(c->at - start.at);
    while (!is_text && raw.len > 0 && (unsigned char)raw.ptr[raw.len - 1] <= ' ') raw.len--;
    mr_text shown = is_text ? mr_format("\"%.*s\"", (int)raw.len, raw.ptr) : raw;
    char number[64];
    size_t len = raw.len < sizeof number - 1 ? raw.len : sizeof number - 1;
    memcpy(number, raw.ptr, len);
    number[len] = 0;
    char *end = number;
    bool good = false;
    switch (option->type) {
    case MR_TYPE_boolean: {
        good = !is_text && (mr_equal(raw, mr_text_of("true")) || mr_equal(raw, mr_text_of("false")));
        *(bool *)into = raw.len == 4;
        break;
    }
    case MR_TYPE_int64:
        *(int64_t *)(void *)into = strtoll(number, &end, 10);
        good = !is_text && len > 0 && *end == 0;
        break;
    case MR_TYPE_float64:
        *(double *)(void *)into = strtod(number, &end);
        good = !is_text && len > 0 && *end == 0 && number[0] != '[' && number[0] != 'n';
        break;
    case MR_TYPE_utf8:
        *(mr_text *)(void *)into = value;
        good = is_text;
        break;
    default:
        good = is_text && duration(value, (int64_t *)(void *)into);
    }
    return good ? fits : wrong(option->name, shown, TYPES[option->type]);
}

static bool is_called(const mr_option *option, mr_text name)
{
    if (strlen(option->name) != name.len) return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != option->name[i] && !(name.ptr[i] == '-' && option->name[i] == '_')) return false;
    return true;
}

static mr_text unknown(mr_text name, const mr_option *options, size_t count)
{
    mr_text names = { "", 0 };
    for (size_t i = 0; i < count; i++)
        names = mr_format("%.*s%s`%s`", (int)names.len, names.ptr, i == 0 ? "" : ", ", options[i].name);
    if (count == 0) return mr_format("options: unknown field `%.*s`, there are no fields", (int)name.len, name.ptr);
    return mr_format("options: unknown field `%.*s`, expected %s%.*s", (int)name.len, name.ptr,
        count == 1 ? "" : "one of ", (int)names.len, names.ptr);
}

mr_text mr_read_options(mr_text json, const mr_option *options, size_t count, char *into)
{
    mr_text errors = { "", 0 };
    bool given[MR_MOST_COLUMNS] = { false };
    cursor c = { json.ptr, json.ptr + json.len };
    blanks(&c);
    bool open = c.at < c.end;
    if (open && !take(&c, '{')) return mr_text_of("options: they are no JSON object");
    while (open && !take(&c, '}')) {
        mr_text name;
        size_t i = 0;
        if (!string(&c, &name) || !take(&c, ':')) return mr_text_of("options: they are no JSON object");
        while (i < count && !is_called(options + i, name)) i++;
        if (i == count) {
            errors = mr_both(errors, unknown(name, options, count));
            if (!skip(&c)) return mr_text_of("options: they are no JSON object");
        } else {
            given[i] = true;
            errors = mr_both(errors, read_value(&c, options + i, into + options[i].offset));
        }
        if (!take(&c, ',') && !(c.at < c.end && *c.at == '}')) return mr_text_of("options: they are no JSON object");
    }
    for (size_t i = 0; i < count; i++) {
        if (given[i]) continue;
        if (strcmp(options[i].fallback, "MR_NEEDED") == 0) {
            errors = mr_both(errors, mr_format("options: missing field `%s`", options[i].name));
            continue;
        }
        /* Defaults are written in C as they would be in JSON. */
        mr_text text = mr_text_of(options[i].fallback);
        cursor fallback = { text.ptr, text.ptr + text.len };
        errors = mr_both(errors, read_value(&fallback, options + i, into + options[i].offset));
    }
    return errors;
}
