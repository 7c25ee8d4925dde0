/* Columns out of buffers, and buffers out of columns, as Arrow's columnar format lays them out. */
#include "internal.h"

/* The bytes of one value; 0 for bits and for what has offsets. */
static size_t width(char kind)
{
    switch (kind) {
    case 'i': case 'f': return 4;
    case 'l': case 'g': case 't': return 8;
    default: return 0;
    }
}

static bool has_offsets(char kind) { return kind == 'u' || kind == 'z' || kind == '+'; }

size_t mr_buffer_count(const char *format, size_t len)
{
    if (format[0] == '+') return 2 + mr_buffer_count(format + 3, len - 4);
    return has_offsets(format[0]) ? 3 : 2;
}

static const void *widened(const uint8_t *values, size_t rows, mr_widening widening)
{
    int64_t *wide = mr_alloc(rows * 8);
    for (size_t i = 0; i < rows; i++) {
        if (widening == MR_WIDEN_INTEGERS) wide[i] = ((const int32_t *)(const void *)values)[i];
        else ((double *)(void *)wide)[i] = ((const float *)(const void *)values)[i];
    }
    return wide;
}

const char *mr_open_column(const char *format, size_t format_len, mr_buffers buffers, size_t *at, size_t rows,
    mr_widening widening, mr_column *into)
{
    static const int32_t none[1] = { 0 };
    char kind = format[0];
    if (buffers.len - *at < mr_buffer_count(format, format_len)) return "fewer buffers than its type has";
    mr_bytes validity = buffers.ptr[(*at)++], next = buffers.ptr[(*at)++];
    if (validity.len > 0 && validity.len < (rows + 7) / 8) return "a validity bitmap shorter than its rows";
    into->validity = validity.len > 0 ? validity.ptr : NULL;
    into->values = next.ptr;
    into->offsets = NULL;
    into->items = NULL;
    into->rows = rows;
    if (!has_offsets(kind)) {
        size_t bytes = kind == 'b' ? (rows + 7) / 8 : rows * width(widening == MR_AS_IT_IS ? kind : 'i');
        if (next.len < bytes) return "fewer values than rows";
        if (widening != MR_AS_IT_IS) into->values = widened(next.ptr, rows, widening);
        return NULL;
    }
    if (next.len < (rows + 1) * 4 && rows > 0) return "fewer offsets than rows";
    into->offsets = next.len < 4 ? none : (const int32_t *)(const void *)next.ptr;
    size_t end = (size_t)into->offsets[rows];
    if (kind == '+') {
        mr_column *items = mr_alloc(sizeof(mr_column));
        into->items = items;
        into->values = NULL;
        return mr_open_column(format + 3, format_len - 4, buffers, at, end, widening, items);
    }
    mr_bytes bytes = buffers.ptr[(*at)++];
    into->values = bytes.ptr;
    return bytes.len < end ? "offsets beyond its values" : NULL;
}

void mr_open_builder(mr_builder *builder, const char *format, size_t rows)
{
    memset(builder, 0, sizeof *builder);
    builder->format = format;
    builder->capacity = rows < 8 ? 8 : rows;
    char kind = format[0];
    if (kind == 'b') builder->values = mr_alloc(builder->capacity / 8 + 1);
    else if (width(kind) > 0) builder->values = mr_alloc(builder->capacity * width(kind));
    else {
        builder->offsets = mr_alloc((builder->capacity + 1) * 4);
        builder->offsets[0] = 0;
    }
    if (kind == '+') {
        builder->items = mr_alloc(sizeof(mr_builder));
        mr_open_builder(builder->items, format + 3, rows);
    }
}

void mr_grow(mr_builder *b)
{
    size_t before = b->capacity, after = before * 2;
    if (b->format[0] == 'b') b->values = mr_extend(b->values, before / 8 + 1, after / 8 + 1);
    else if (b->offsets != NULL) b->offsets = mr_extend(b->offsets, (before + 1) * 4, (after + 1) * 4);
    else b->values = mr_extend(b->values, before * width(b->format[0]), after * width(b->format[0]));
    if (b->validity != NULL) b->validity = mr_extend(b->validity, before / 8 + 1, after / 8 + 1);
    b->capacity = after;
}

static void set_bit(uint8_t *bits, size_t row, bool value)
{
    uint8_t bit = (uint8_t)(1 << row % 8);
    bits[row / 8] = (uint8_t)(value ? bits[row / 8] | bit : bits[row / 8] & ~bit);
}

void mr_note(mr_builder *b, bool present)
{
    if (b->validity == NULL) {
        if (present) return;
        b->validity = mr_alloc(b->capacity / 8 + 1);
        memset(b->validity, 0xff, b->capacity / 8 + 1);
    }
    set_bit(b->validity, b->rows, present);
}

static void next_row(mr_builder *b, bool present)
{
    if (b->rows == b->capacity) mr_grow(b);
    mr_note(b, present);
}

void mr_put_none(mr_builder *b)
{
    next_row(b, false);
    size_t bytes = width(b->format[0]);
    if (bytes > 0) memset(b->values + b->rows * bytes, 0, bytes);
    else if (b->format[0] == 'b') set_bit(b->values, b->rows, false);
    else b->offsets[b->rows + 1] = b->offsets[b->rows];
    b->rows++;
}

void mr_grow_values(mr_builder *b, size_t len)
{
    size_t wanted = b->len + len, doubled = b->values_capacity * 2, room = doubled > wanted ? doubled : wanted;
    if (wanted > INT32_MAX) mr_panic("a column of more than 2 GiB");
    if (room < 16 * b->capacity) room = 16 * b->capacity;
    b->values = mr_extend(b->values, b->values_capacity, room);
    b->values_capacity = room;
}

static void put_item(mr_builder *b, const mr_column *column, size_t row)
{
    if (!mr_is_present(column, row)) {
        mr_put_none(b);
        return;
    }
    switch (b->format[0]) {
    case 'b': mr_put_boolean(b, mr_get_boolean(column, row)); break;
    case 'i': mr_put_int32(b, mr_get_int32(column, row)); break;
    case 'f': mr_put_float32(b, mr_get_float32(column, row)); break;
    case 'g': mr_put_float64(b, mr_get_float64(column, row)); break;
    case 'l': case 't': mr_put_int64(b, mr_get_int64(column, row)); break;
    case '+': mr_put_list(b, mr_get_list(column, row)); break;
    default: mr_put_utf8(b, mr_get_utf8(column, row)); break;
    }
}

void mr_put_list(mr_builder *b, mr_list list)
{
    next_row(b, true);
    for (size_t i = 0; i < list.len; i++) put_item(b->items, list.items, list.start + i);
    b->offsets[++b->rows] = (int32_t)b->items->rows;
}

void mr_truncate(mr_builder *b, size_t rows)
{
    if (b->offsets != NULL) {
        if (b->items != NULL) mr_truncate(b->items, (size_t)b->offsets[rows]);
        else b->len = (size_t)b->offsets[rows];
    }
    b->rows = rows;
}

static size_t finish(const mr_builder *b, mr_bytes *into)
{
    size_t bytes = width(b->format[0]);
    mr_bytes validity = { b->validity, b->validity == NULL ? 0 : (b->rows + 7) / 8 };
    *into++ = validity;
    if (b->offsets == NULL) {
        mr_bytes values = { b->values, bytes > 0 ? b->rows * bytes : (b->rows + 7) / 8 };
        return *into = values, 2;
    }
    mr_bytes offsets = { (const uint8_t *)b->offsets, (b->rows + 1) * 4 };
    *into++ = offsets;
    if (b->items != NULL) return 2 + finish(b->items, into);
    mr_bytes values = { b->values, b->len };
    return *into = values, 3;
}

mr_buffers mr_finish(const mr_builder *builder)
{
    size_t count = mr_buffer_count(builder->format, strlen(builder->format));
    mr_buffers buffers = { mr_alloc(count * sizeof(mr_bytes)), count };
    finish(builder, buffers.ptr);
    return buffers;
}

static mr_list list_of(const void *values, const int32_t *offsets, size_t len)
{
    mr_column *items = mr_alloc(sizeof(mr_column));
    mr_column made = { NULL, values, offsets, NULL, len };
    *items = made;
    mr_list list = { items, 0, len };
    return list;
}

mr_list mr_list_of_int64(const int64_t *values, size_t len) { return list_of(values, NULL, len); }
mr_list mr_list_of_float64(const double *values, size_t len) { return list_of(values, NULL, len); }

mr_list mr_list_of_text(const mr_text *values, size_t len)
{
    mr_builder builder;
    mr_open_builder(&builder, "u", len);
    for (size_t i = 0; i < len; i++) mr_put_utf8(&builder, values[i]);
    return list_of(builder.values, builder.offsets, len);
}
