/* Write transforms and aggregates for Millrace in C, and in C++ (millrace.hpp). README.md beside this is the way in.
 *
 *     #define IN(COLUMN)      COLUMN(utf8, merchant, nullable) COLUMN(float64, amount, required)
 *     #define OUT(COLUMN)     COLUMN(utf8, category, required) COLUMN(int64, cents, required)
 *     #define OPTIONS(OPTION) OPTION(float64, units, 100)
 *
 *     MR_TRANSFORM(clean, IN, OUT, OPTIONS)
 *     {
 *         if (in->amount < 0) return mr_reject("negative amount");
 *         out->category = in->merchant.present ? in->merchant.value : mr_text_of("unknown");
 *         out->cents = (int64_t)(in->amount * options->units);
 *         return MR_KEEP;
 *     }
 *     MR_EXPORT_TRANSFORMS(clean)
 *
 * Memory: what mr_alloc and the functions here return lives until the call is over, and is never freed by hand. Nothing is
 * kept from one call to the next; an aggregate's state is the host's. */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- values ------------------------------------------------------------------------------------------------------- */

/* UTF-8, without a NUL at its end. */
typedef struct { const char *ptr; size_t len; } mr_text;
typedef struct { const uint8_t *ptr; size_t len; } mr_bytes;
/* Microseconds since 1970 in UTC. */
typedef int64_t mr_timestamp;

/* A column of a batch; all numbers lie in `values` as C has them. */
typedef struct mr_column {
    const uint8_t *validity;       /* a bit a row, least significant first, 1 = present; NULL: no row is null */
    const void *values;            /* numbers; bits of booleans; the bytes of all texts */
    const int32_t *offsets;        /* texts, bytes, lists: where each row begins, and the last ends */
    const struct mr_column *items; /* lists: what the offsets index */
    size_t rows;
} mr_column;

/* The list of one row: `len` rows of a column from `start` on. */
typedef struct { const mr_column *items; size_t start, len; } mr_list;

/* Counts by text, kept sorted: a state's field of type `map`, one binary column (MessagePack). */
typedef struct { mr_text key; int64_t count; } mr_entry;
typedef struct { mr_entry *entries; size_t len, capacity; } mr_map;

/* The type of a column by its name in X(type, name, nullable), as the project file has it. */
typedef bool mr_c_boolean;
typedef int32_t mr_c_int32;
typedef int64_t mr_c_int64;
typedef float mr_c_float32;
typedef double mr_c_float64;
typedef mr_timestamp mr_c_timestamp;
typedef mr_text mr_c_utf8;
typedef mr_bytes mr_c_binary;
typedef mr_map mr_c_map;
typedef int64_t mr_c_duration; /* options only: "5m", in microseconds */

/* Where a column or a list may have no value. */
#define MR_OPTIONAL_(type) typedef struct { bool present; mr_c_##type value; } mr_opt_##type;
MR_OPTIONAL_(boolean) MR_OPTIONAL_(int32) MR_OPTIONAL_(int64) MR_OPTIONAL_(float32) MR_OPTIONAL_(float64)
MR_OPTIONAL_(timestamp) MR_OPTIONAL_(utf8) MR_OPTIONAL_(binary) MR_OPTIONAL_(map)

/* A window is [since, until). For `over` both are the row's time; at request time `until` is the request's. */
typedef struct { mr_timestamp since, until; } mr_window;

/* ---- what a function returns ------------------------------------------------------------------------------------------ */

typedef enum {
    MR_KEEP,     /* the row as it is in `out`; in an update: folded in */
    MR_DROP,     /* filtered out */
    MR_REJECTED, /* by mr_reject */
    MR_FAILED    /* by mr_fail */
} mr_status;

/* Refuses the row: a dead letter, with this reason. */
mr_status mr_reject(const char *reason);
mr_status mr_reject_text(mr_text reason);
/* Ends the whole call with an error that carries the message and this place. */
#define mr_fail(message) mr_fail_at(__FILE_NAME__, __LINE__, message)
mr_status mr_fail_at(const char *file, int line, const char *message);
/* Where there is no way back: the message and the place go to the host's log, and the instance is done with. assert() too. */
#define mr_panic(message) mr_panic_at(__FILE_NAME__, __LINE__, message)
void mr_panic_at(const char *file, int line, const char *message) __attribute__((noreturn));

typedef enum { MR_DEBUG, MR_INFO, MR_WARN, MR_ERROR } mr_level;
/* A line in the host's log, which limits their rate. */
void mr_log(mr_level level, mr_text message);
#define mr_info(message) mr_log(MR_INFO, mr_text_of(message))
#define mr_warn(message) mr_log(MR_WARN, mr_text_of(message))

/* ---- memory, texts, lists, maps ----------------------------------------------------------------------------------------- */

/* Lives until the call is over. Traps where there is no more. */
void *mr_alloc(size_t bytes);
/* printf into memory of the call. */
mr_text mr_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline mr_text mr_text_of(const char *c) { mr_text text = { c, strlen(c) }; return text; }
static inline bool mr_equal(mr_text a, mr_text b) { return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0; }
/* By their bytes, as memcmp: < 0, 0, > 0. */
int mr_compare(mr_text a, mr_text b);
/* The code point at text[*at], with *at moved behind it; -1 at the end. What is no UTF-8 gives U+FFFD, a byte at a time. */
int32_t mr_next_code_point(mr_text text, size_t *at);
/* Writes a code point as UTF-8; how many bytes it took, at most 4. */
size_t mr_put_code_point(char *to, int32_t code_point);
mr_text mr_lower_ascii(mr_text text);
mr_text mr_trim(mr_text text);

/* New lists of what lies at `values`. */
mr_list mr_list_of_int64(const int64_t *values, size_t len);
mr_list mr_list_of_float64(const double *values, size_t len);
mr_list mr_list_of_text(const mr_text *values, size_t len);

/* Adds to a text's count; a text that is not there begins at 0. */
void mr_map_add(mr_map *map, mr_text key, int64_t count);
/* Adds all counts of another map. */
void mr_map_merge(mr_map *map, const mr_map *other);

/* MessagePack, for states of one's own in a `binary` field. Write maps with their keys sorted: equal states are to be equal
 * bytes. Reading moves `at` on; what is of another type, or at the end, gives false and moves nothing. */
typedef struct { uint8_t *ptr; size_t len, capacity; } mr_pack;
void mr_pack_nil(mr_pack *to);
void mr_pack_bool(mr_pack *to, bool value);
void mr_pack_int(mr_pack *to, int64_t value);
void mr_pack_float(mr_pack *to, double value);
void mr_pack_text(mr_pack *to, mr_text value);
void mr_pack_array(mr_pack *to, size_t len);
void mr_pack_map(mr_pack *to, size_t len);
static inline mr_bytes mr_packed(const mr_pack *pack) { mr_bytes bytes = { pack->ptr, pack->len }; return bytes; }
bool mr_unpack_int(mr_bytes from, size_t *at, int64_t *value);
bool mr_unpack_float(mr_bytes from, size_t *at, double *value);
bool mr_unpack_text(mr_bytes from, size_t *at, mr_text *value);
bool mr_unpack_array(mr_bytes from, size_t *at, size_t *len);
bool mr_unpack_map(mr_bytes from, size_t *at, size_t *len);

/* ---- columns ------------------------------------------------------------------------------------------------------------- */

static inline bool mr_is_present(const mr_column *column, size_t row)
{
    return column->validity == NULL || (column->validity[row / 8] >> (row % 8) & 1);
}

#define MR_NUMBER_(type) \
    static inline mr_c_##type mr_get_##type(const mr_column *column, size_t row) \
    { \
        return ((const mr_c_##type *)column->values)[row]; \
    } \
    /* All of them, one a row; what stands for a null means nothing. */ \
    static inline const mr_c_##type *mr_##type##s(const mr_column *column) \
    { \
        return (const mr_c_##type *)column->values; \
    }
MR_NUMBER_(int32) MR_NUMBER_(int64) MR_NUMBER_(float32) MR_NUMBER_(float64) MR_NUMBER_(timestamp)

static inline bool mr_get_boolean(const mr_column *column, size_t row)
{
    return ((const uint8_t *)column->values)[row / 8] >> (row % 8) & 1;
}
static inline mr_text mr_get_utf8(const mr_column *column, size_t row)
{
    mr_text text = { (const char *)column->values + column->offsets[row],
        (size_t)(column->offsets[row + 1] - column->offsets[row]) };
    return text;
}
static inline mr_bytes mr_get_binary(const mr_column *column, size_t row)
{
    mr_bytes bytes = { (const uint8_t *)column->values + column->offsets[row],
        (size_t)(column->offsets[row + 1] - column->offsets[row]) };
    return bytes;
}
static inline mr_list mr_get_list(const mr_column *column, size_t row)
{
    mr_list list = { column->items, (size_t)column->offsets[row],
        (size_t)(column->offsets[row + 1] - column->offsets[row]) };
    return list;
}
mr_map mr_get_map(const mr_column *column, size_t row);

/* Item `index` of a list: mr_item(float64, list, 0). */
#define mr_item(type, list, index) mr_get_##type((list).items, (list).start + (index))
#define mr_item_is_present(list, index) mr_is_present((list).items, (list).start + (index))

/* A column being written. */
typedef struct mr_builder {
    const char *format;
    uint8_t *validity; /* from the first null on */
    uint8_t *values;
    int32_t *offsets;
    struct mr_builder *items;
    size_t rows, capacity;     /* in rows */
    size_t len, values_capacity; /* texts and bytes: in bytes */
} mr_builder;

void mr_grow(mr_builder *builder);
/* Notes whether the row that comes next has a value. */
void mr_note(mr_builder *builder, bool present);
void mr_put_none(mr_builder *builder);
void mr_put_list(mr_builder *builder, mr_list list);
void mr_put_map(mr_builder *builder, mr_map map);
void mr_grow_values(mr_builder *builder, size_t len);

static inline void mr_put_boolean(mr_builder *builder, bool value)
{
    size_t row = builder->rows, place = row % 8;
    if (row == builder->capacity) mr_grow(builder);
    if (builder->validity != NULL) mr_note(builder, true);
    /* What stands behind the last row is nobody's. */
    builder->values[row / 8] = (uint8_t)((builder->values[row / 8] & ((1 << place) - 1)) | value << place);
    builder->rows++;
}

/* Most texts are short: a call would cost more than the copying. */
static inline void mr_copy(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 16) {
        memcpy(to, from, len);
    } else if (len >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + len - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + len - 8, &last, 8);
    } else {
        while (len-- > 0) to[len] = from[len];
    }
}

static inline void mr_put_bytes(mr_builder *builder, const void *bytes, size_t len)
{
    if (builder->rows == builder->capacity) mr_grow(builder);
    if (builder->validity != NULL) mr_note(builder, true);
    if (builder->values_capacity - builder->len < len) mr_grow_values(builder, len);
    mr_copy(builder->values + builder->len, (const uint8_t *)bytes, len);
    builder->len += len;
    builder->offsets[++builder->rows] = (int32_t)builder->len;
}
static inline void mr_put_utf8(mr_builder *builder, mr_text text) { mr_put_bytes(builder, text.ptr, text.len); }
static inline void mr_put_binary(mr_builder *builder, mr_bytes bytes) { mr_put_bytes(builder, bytes.ptr, bytes.len); }

#define MR_PUT_NUMBER_(type) \
    static inline void mr_put_##type(mr_builder *builder, mr_c_##type value) \
    { \
        if (builder->rows == builder->capacity) mr_grow(builder); \
        ((mr_c_##type *)(void *)builder->values)[builder->rows] = value; \
        if (builder->validity != NULL) mr_note(builder, true); \
        builder->rows++; \
    } \
    /* Room for `rows` values at once, for the author to fill in. */ \
    static inline mr_c_##type *mr_fill_##type(mr_builder *builder, size_t rows) \
    { \
        while (builder->capacity < rows) mr_grow(builder); \
        builder->rows = rows; \
        return (mr_c_##type *)(void *)builder->values; \
    }
MR_PUT_NUMBER_(int32) MR_PUT_NUMBER_(int64) MR_PUT_NUMBER_(float32) MR_PUT_NUMBER_(float64) MR_PUT_NUMBER_(timestamp)

/* The contract's format of each type. */
static inline const char *mr_format_boolean(void) { return "b"; }
static inline const char *mr_format_int32(void) { return "i"; }
static inline const char *mr_format_int64(void) { return "l"; }
static inline const char *mr_format_float32(void) { return "f"; }
static inline const char *mr_format_float64(void) { return "g"; }
static inline const char *mr_format_timestamp(void) { return "tsu:UTC"; }
static inline const char *mr_format_utf8(void) { return "u"; }
static inline const char *mr_format_binary(void) { return "z"; }
static inline const char *mr_format_map(void) { return "z"; }

/* A list type by a name of one's own: MR_LIST_TYPE(list_list_int64, "+l<+l<l>>") makes lists of lists a type of columns. */
#define MR_LIST_TYPE(type, format) \
    typedef mr_list mr_c_##type; \
    MR_OPTIONAL_(type) \
    static inline const char *mr_format_##type(void) { return format; } \
    static inline mr_list mr_get_##type(const mr_column *column, size_t row) { return mr_get_list(column, row); } \
    static inline void mr_put_##type(mr_builder *builder, mr_list list) { mr_put_list(builder, list); }
MR_LIST_TYPE(list_boolean, "+l<b>") MR_LIST_TYPE(list_int32, "+l<i>") MR_LIST_TYPE(list_int64, "+l<l>")
MR_LIST_TYPE(list_float32, "+l<f>") MR_LIST_TYPE(list_float64, "+l<g>") MR_LIST_TYPE(list_timestamp, "+l<tsu:UTC>")
MR_LIST_TYPE(list_utf8, "+l<u>") MR_LIST_TYPE(list_binary, "+l<z>")

/* ---- the contract, as it lies in memory ------------------------------------------------------------------------------------ */

typedef struct { mr_text name, format; bool nullable; } mr_field;
typedef struct { mr_field *ptr; size_t len; } mr_fields;
typedef struct { mr_text *ptr; size_t len; } mr_names;
typedef struct { mr_bytes *ptr; size_t len; } mr_buffers;
typedef struct { uint32_t rows; struct { mr_buffers *ptr; size_t len; } columns; } mr_batch;

/* ---- what the macros below are made of -------------------------------------------------------------------------------------- */

/* A batch on its way: origins are kept from the first row that is not one for one. */
typedef struct {
    size_t rows, out_rows;
    uint32_t *origin;
    size_t origin_capacity;
    struct mr_rejection { uint32_t row; mr_text reason; } *rejected;
    size_t rejections, rejected_capacity;
    bool failed;
} mr_call;

void mr_push_origin(mr_call *call, size_t row);
/* A row that is not kept; false where the call has failed. */
bool mr_not_kept(mr_call *call, size_t row, mr_status status);
void mr_reject_row(mr_call *call, size_t row, mr_text reason);
void mr_reject_null(mr_call *call, size_t row, const char *column);
static inline void mr_kept(mr_call *call, size_t row)
{
    if (call->origin != NULL || row != call->out_rows) mr_push_origin(call, row);
    call->out_rows++;
}
void mr_truncate(mr_builder *builder, size_t rows);
void mr_open_builder(mr_builder *builder, const char *format, size_t rows);
void mr_state_null(const char *column);
bool mr_call_failed(void);

typedef struct { const char *name, *format; bool nullable; } mr_want;
typedef struct { const char *name; int type; size_t offset; const char *fallback; } mr_option;
enum { MR_TYPE_boolean, MR_TYPE_int64, MR_TYPE_float64, MR_TYPE_utf8, MR_TYPE_duration };

#define MR_MOST_COLUMNS 64
/* The columns of a struct, and its options. */
typedef struct {
    size_t inputs, states, outputs, options;
    mr_want input[MR_MOST_COLUMNS], state[MR_MOST_COLUMNS], output[MR_MOST_COLUMNS];
    mr_option option[MR_MOST_COLUMNS];
} mr_shape;

typedef struct {
    const char *name;
    bool by_column;
    size_t options_size;
    void (*describe)(mr_shape *shape, void *options);
    const char *(*check)(const void *options);
    void (*apply)(mr_call *call, const mr_column *columns, mr_builder *builders, const void *options);
} mr_transform;

typedef struct {
    const char *name;
    bool ordered;
    size_t options_size, state_size;
    void (*describe)(mr_shape *shape, void *options);
    const char *(*check)(const void *options);
    bool (*decode)(const mr_column *columns, size_t rows, void *states);
    void (*encode)(mr_builder *builders, size_t rows, const void *states);
    void (*initial)(void *state, const void *options);
    void (*update)(mr_call *call, void *states, size_t groups, const uint32_t *group, const mr_column *columns,
        const void *options);
    void (*merge)(void *state, const void *later, const void *options);
    mr_status (*evaluate)(mr_builder *builders, const void *state, mr_window window, const void *options);
} mr_aggregate;

extern const mr_transform *const *mr_transforms;
extern const mr_aggregate *const *mr_aggregates;
void *mr_transform_names(size_t count);
void *mr_transform_bind(size_t count, mr_text name, mr_fields input, mr_text options);
void *mr_transform_apply(mr_batch input);
void *mr_aggregate_names(size_t count);
void *mr_aggregate_bind(size_t count, mr_text name, mr_fields input, mr_text options);
void *mr_aggregate_initial(uint32_t rows);
void *mr_aggregate_update(mr_batch state, mr_bytes groups, mr_batch input);
void *mr_aggregate_merge(mr_batch state, mr_bytes groups, mr_batch partial);
void *mr_aggregate_evaluate(mr_batch state, mr_bytes since, mr_bytes until);
void mr_end_call(void);

#define MR_NO_OPTIONS(OPTION)

#define MR_FIELD_(type, name, nulls) MR_FIELD_##nulls(type, name)
#define MR_FIELD_required(type, name) mr_c_##type name;
#define MR_FIELD_nullable(type, name) mr_opt_##type name;
#define MR_COLUMN_(type, name, nulls) mr_column name;
#define MR_BUILDER_(type, name, nulls) mr_builder name;
#define MR_NULLS_required false
#define MR_NULLS_nullable true
#define MR_INPUT_(type, name, nulls) \
    { mr_want want = { #name, mr_format_##type(), MR_NULLS_##nulls }; shape->input[shape->inputs++] = want; }
#define MR_STATE_(type, name, nulls) \
    { mr_want want = { #name, mr_format_##type(), MR_NULLS_##nulls }; shape->state[shape->states++] = want; }
#define MR_OUTPUT_(type, name, nulls) \
    { mr_want want = { #name, mr_format_##type(), MR_NULLS_##nulls }; shape->output[shape->outputs++] = want; }
#define MR_OPTION_FIELD_(type, name, fallback) mr_c_##type name;
/* An option whose default is this must be given. */
#define MR_NEEDED 0
#define MR_OPTION_(type, name_, fallback) \
    { mr_option option = { #name_, MR_TYPE_##type, (size_t)((char *)&options->name_ - (char *)options), #fallback }; \
      shape->option[shape->options++] = option; }

#define MR_LOAD_(type, name, nulls) MR_LOAD_##nulls(type, name)
#define MR_LOAD_required(type, name_) \
    if (mr_is_present(&columns->name_, row)) in.name_ = mr_get_##type(&columns->name_, row); \
    else if (absent == NULL) absent = #name_;
#define MR_LOAD_nullable(type, name_) \
    in.name_.present = mr_is_present(&columns->name_, row); \
    if (in.name_.present) in.name_.value = mr_get_##type(&columns->name_, row);
#define MR_STORE_(type, name, nulls) MR_STORE_##nulls(type, name)
#define MR_STORE_required(type, name) mr_put_##type(&builders->name, out->name);
#define MR_STORE_nullable(type, name) \
    if (out->name.present) mr_put_##type(&builders->name, out->name.value); else mr_put_none(&builders->name);
#define MR_CUT_(type, name, nulls) mr_truncate(&builders->name, before);

#define MR_OPTIONS_(udf, OPTIONS) \
    struct udf##_options { OPTIONS(MR_OPTION_FIELD_) char mr_end; }; \
    __attribute__((weak)) const char *udf##_check(const struct udf##_options *); \
    static const char *udf##_checked(const void *options) \
    { \
        return udf##_check == NULL ? NULL : udf##_check((const struct udf##_options *)options); \
    }
/* Optional, behind the UDF: refuses options in bind. What it returns says why; NULL: they are good. */
#define MR_CHECK(udf) const char *udf##_check(const struct udf##_options *options)

#define MR_SHAPE_(udf, IN, STATE, OUT, OPTIONS) \
    MR_OPTIONS_(udf, OPTIONS) \
    static void udf##_describe(mr_shape *shape, void *mr_into) \
    { \
        struct udf##_options *options = (struct udf##_options *)mr_into; \
        (void)options; \
        IN(MR_INPUT_) STATE(MR_STATE_) OUT(MR_OUTPUT_) OPTIONS(MR_OPTION_) \
    } \
    struct udf##_in { IN(MR_FIELD_) }; \
    struct udf##_out { OUT(MR_FIELD_) }; \
    struct udf##_columns { IN(MR_COLUMN_) }; \
    struct udf##_builders { OUT(MR_BUILDER_) }; \
    static inline const char *udf##_load(struct udf##_in *mr_in, const struct udf##_columns *columns, size_t row) \
    { \
        const char *absent = NULL; \
        struct udf##_in in; \
        memset(&in, 0, sizeof in); \
        IN(MR_LOAD_) \
        *mr_in = in; \
        return absent; \
    } \
    static inline void udf##_store(const struct udf##_out *out, struct udf##_builders *builders) { OUT(MR_STORE_) }
#define MR_NOTHING_(COLUMN)

/* ---- a transform, row by row ---------------------------------------------------------------------------------------------------- */

/* The body that follows is given `in`, `out` (all zero: nullable columns are null) and `options`. */
#define MR_TRANSFORM(udf, IN, OUT, OPTIONS) \
    MR_SHAPE_(udf, IN, MR_NOTHING_, OUT, OPTIONS) \
    static inline mr_status udf##_row(const struct udf##_in *, struct udf##_out *, const struct udf##_options *); \
    static void udf##_apply(mr_call *call, const mr_column *mr_columns, mr_builder *mr_builders, const void *mr_options) \
    { \
        const struct udf##_columns *columns = (const struct udf##_columns *)(const void *)mr_columns; \
        struct udf##_builders *builders = (struct udf##_builders *)(void *)mr_builders; \
        for (size_t row = 0; row < call->rows; row++) { \
            struct udf##_in in; \
            struct udf##_out out; \
            const char *absent = udf##_load(&in, columns, row); \
            if (absent != NULL) { mr_reject_null(call, row, absent); continue; } \
            memset(&out, 0, sizeof out); \
            mr_status status = udf##_row(&in, &out, (const struct udf##_options *)mr_options); \
            if (status == MR_KEEP) { mr_kept(call, row); udf##_store(&out, builders); } \
            else if (!mr_not_kept(call, row, status)) return; \
        } \
    } \
    static const mr_transform udf[1] = { { #udf, false, sizeof(struct udf##_options), udf##_describe, \
        udf##_checked, udf##_apply } }; \
    static inline mr_status udf##_row(const struct udf##_in *in, struct udf##_out *out, \
        const struct udf##_options *options)

/* ---- a transform of a row into several ---------------------------------------------------------------------------------------- */

/* As MR_TRANSFORM; each MR_EMIT(udf) makes a row of what is in `out`. */
#define MR_FLAT_MAP(udf, IN, OUT, OPTIONS) \
    MR_SHAPE_(udf, IN, MR_NOTHING_, OUT, OPTIONS) \
    struct udf##_sink { mr_call *call; struct udf##_builders *builders; size_t row; }; \
    static mr_status udf##_row(const struct udf##_in *, struct udf##_out *, const struct udf##_options *, \
        struct udf##_sink *); \
    static inline void udf##_emit(struct udf##_sink *sink, const struct udf##_out *out) \
    { \
        mr_kept(sink->call, sink->row); \
        udf##_store(out, sink->builders); \
    } \
    static inline void udf##_cut(struct udf##_builders *builders, size_t before) { OUT(MR_CUT_) } \
    static void udf##_apply(mr_call *call, const mr_column *mr_columns, mr_builder *mr_builders, const void *mr_options) \
    { \
        const struct udf##_columns *columns = (const struct udf##_columns *)(const void *)mr_columns; \
        struct udf##_builders *builders = (struct udf##_builders *)(void *)mr_builders; \
        for (size_t row = 0; row < call->rows; row++) { \
            struct udf##_in in; \
            struct udf##_out out; \
            struct udf##_sink sink = { call, builders, row }; \
            size_t before = call->out_rows; \
            const char *absent = udf##_load(&in, columns, row); \
            if (absent != NULL) { mr_reject_null(call, row, absent); continue; } \
            memset(&out, 0, sizeof out); \
            mr_status status = udf##_row(&in, &out, (const struct udf##_options *)mr_options, &sink); \
            if (status == MR_KEEP || status == MR_DROP) continue; \
            /* What it gave before it refused the row goes again. */ \
            if (call->out_rows != before) { udf##_cut(builders, before); call->out_rows = before; } \
            if (!mr_not_kept(call, row, status)) return; \
        } \
    } \
    static const mr_transform udf[1] = { { #udf, false, sizeof(struct udf##_options), udf##_describe, \
        udf##_checked, udf##_apply } }; \
    static mr_status udf##_row(const struct udf##_in *in, struct udf##_out *out, const struct udf##_options *options, \
        struct udf##_sink *mr_sink)
#define MR_EMIT(udf) udf##_emit(mr_sink, out)

/* ---- a transform of whole columns ------------------------------------------------------------------------------------------------- */

/* The body is given `in`, a struct of mr_column, `out`, one of mr_builder, `rows`, `options`, and `call` for mr_reject_row. A
 * row comes out for each that went in. A required column has no nulls. */
#define MR_TRANSFORM_COLUMNS(udf, IN, OUT, OPTIONS) \
    MR_OPTIONS_(udf, OPTIONS) \
    static void udf##_describe(mr_shape *shape, void *mr_into) \
    { \
        struct udf##_options *options = (struct udf##_options *)mr_into; \
        (void)options; \
        IN(MR_INPUT_) OUT(MR_OUTPUT_) OPTIONS(MR_OPTION_) \
    } \
    struct udf##_columns { IN(MR_COLUMN_) }; \
    struct udf##_builders { OUT(MR_BUILDER_) }; \
    static mr_status udf##_rows(mr_call *, size_t, const struct udf##_columns *, struct udf##_builders *, \
        const struct udf##_options *); \
    static void udf##_apply(mr_call *call, const mr_column *mr_columns, mr_builder *mr_builders, const void *mr_options) \
    { \
        mr_status status = udf##_rows(call, call->rows, (const struct udf##_columns *)(const void *)mr_columns, \
            (struct udf##_builders *)(void *)mr_builders, (const struct udf##_options *)mr_options); \
        if (status == MR_KEEP) call->out_rows = call->rows; \
        else mr_not_kept(call, 0, MR_FAILED); \
    } \
    static const mr_transform udf[1] = { { #udf, true, sizeof(struct udf##_options), udf##_describe, \
        udf##_checked, udf##_apply } }; \
    static mr_status udf##_rows(mr_call *call, size_t rows, const struct udf##_columns *in, struct udf##_builders *out, \
        const struct udf##_options *options)

/* ---- an aggregate --------------------------------------------------------------------------------------------------------------------- */

/* MR_AGGREGATE, then MR_INITIAL unless the empty state is all zero (nullable fields null), MR_UPDATE, MR_MERGE, MR_EVALUATE and
 * MR_EXPORT_AGGREGATES. A row is refused before the state is touched through a pointer (bytes, a map): what is in the
 * struct itself is undone. */
#define MR_AGGREGATE(udf, IN, STATE, OUT, OPTIONS) MR_AGGREGATE_(udf, IN, STATE, OUT, OPTIONS, false)
/* Rows come sorted by event time, once the watermark has passed them. */
#define MR_ORDERED_AGGREGATE(udf, IN, STATE, OUT, OPTIONS) MR_AGGREGATE_(udf, IN, STATE, OUT, OPTIONS, true)

#define MR_AGGREGATE_(udf, IN, STATE, OUT, OPTIONS, ordered) \
    MR_SHAPE_(udf, IN, STATE, OUT, OPTIONS) \
    struct udf##_state { STATE(MR_FIELD_) }; \
    struct udf##_state_columns { STATE(MR_COLUMN_) }; \
    struct udf##_state_builders { STATE(MR_BUILDER_) }; \
    __attribute__((weak)) void udf##_initial(struct udf##_state *, const struct udf##_options *); \
    static inline mr_status udf##_update(struct udf##_state *, const struct udf##_in *, const struct udf##_options *); \
    static void udf##_merge(struct udf##_state *, const struct udf##_state *, const struct udf##_options *); \
    static mr_status udf##_evaluate(const struct udf##_state *, mr_window, struct udf##_out *, \
        const struct udf##_options *); \
    static bool udf##_decode(const mr_column *mr_columns, size_t rows, void *mr_states) \
    { \
        const struct udf##_state_columns *columns = (const struct udf##_state_columns *)(const void *)mr_columns; \
        for (size_t row = 0; row < rows; row++) { \
            const char *absent = NULL; \
            struct udf##_state in; \
            memset(&in, 0, sizeof in); \
            STATE(MR_LOAD_) \
            if (absent != NULL) { mr_state_null(absent); return false; } \
            ((struct udf##_state *)mr_states)[row] = in; \
        } \
        return true; \
    } \
    static void udf##_encode(mr_builder *mr_builders, size_t rows, const void *mr_states) \
    { \
        struct udf##_state_builders *builders = (struct udf##_state_builders *)(void *)mr_builders; \
        for (size_t row = 0; row < rows; row++) { \
            const struct udf##_state *out = (const struct udf##_state *)mr_states + row; \
            STATE(MR_STORE_) \
        } \
    } \
    static void udf##_empty(void *state, const void *options) \
    { \
        memset(state, 0, sizeof(struct udf##_state)); \
        if (udf##_initial != NULL) \
            udf##_initial((struct udf##_state *)state, (const struct udf##_options *)options); \
    } \
    static void udf##_fold(mr_call *call, void *mr_states, size_t groups, const uint32_t *group, \
        const mr_column *mr_columns, const void *mr_options) \
    { \
        const struct udf##_columns *columns = (const struct udf##_columns *)(const void *)mr_columns; \
        for (size_t row = 0; row < call->rows; row++) { \
            struct udf##_in in; \
            const char *absent = udf##_load(&in, columns, row); \
            if (absent != NULL) { mr_reject_null(call, row, absent); continue; } \
            if (group[row] >= groups) mr_panic("a group that is not among the state's rows"); \
            struct udf##_state *state = (struct udf##_state *)mr_states + group[row]; \
            struct udf##_state before = *state; \
            mr_status status = udf##_update(state, &in, (const struct udf##_options *)mr_options); \
            if (status == MR_KEEP || status == MR_DROP) continue; \
            *state = before; \
            if (!mr_not_kept(call, row, status)) return; \
        } \
    } \
    static void udf##_unite(void *state, const void *later, const void *options) \
    { \
        udf##_merge((struct udf##_state *)state, (const struct udf##_state *)later, (const struct udf##_options *)options); \
    } \
    static mr_status udf##_value(mr_builder *builders, const void *state, mr_window window, const void *options) \
    { \
        struct udf##_out out; \
        memset(&out, 0, sizeof out); \
        mr_status status = udf##_evaluate((const struct udf##_state *)state, window, &out, \
            (const struct udf##_options *)options); \
        if (status == MR_KEEP) udf##_store(&out, (struct udf##_builders *)(void *)builders); \
        return status; \
    } \
    static const mr_aggregate udf[1] = { { #udf, ordered, sizeof(struct udf##_options), sizeof(struct udf##_state), \
        udf##_describe, udf##_checked, udf##_decode, udf##_encode, udf##_empty, udf##_fold, udf##_unite, udf##_value } };

#define MR_INITIAL(udf) void udf##_initial(struct udf##_state *state, const struct udf##_options *options)
#define MR_UPDATE(udf) static inline mr_status udf##_update(struct udf##_state *state, const struct udf##_in *in, \
    const struct udf##_options *options)
#define MR_MERGE(udf) static void udf##_merge(struct udf##_state *state, const struct udf##_state *later, \
    const struct udf##_options *options)
#define MR_EVALUATE(udf) static mr_status udf##_evaluate(const struct udf##_state *state, mr_window window, \
    struct udf##_out *out, const struct udf##_options *options)

/* ---- exports ---------------------------------------------------------------------------------------------------------------------------- */

#ifdef __wasm__
#define MR_EXPORT_(name) __attribute__((export_name(name)))
#else
#define MR_EXPORT_(name)
#endif
#define MR_T_ "millrace:feature/transform@0.1.0#"
#define MR_A_ "millrace:feature/aggregate@0.1.0#"
#define MR_AFTER_(interface, function) \
    MR_EXPORT_("cabi_post_" interface #function) void mr_after_##function(void *); \
    void mr_after_##function(void *returned) { (void)returned; mr_end_call(); }

/* The component's transforms: MR_EXPORT_TRANSFORMS(clean, words). Once, in one file. */
#define MR_EXPORT_TRANSFORMS(...) \
    static const mr_transform *const mr_all_transforms[] = { __VA_ARGS__ }; \
    enum { MR_TRANSFORMS_ = sizeof mr_all_transforms / sizeof *mr_all_transforms }; \
    MR_BEGIN_C_ \
    MR_EXPORT_(MR_T_ "names") void *mr_export_t_names(void); \
    void *mr_export_t_names(void) { mr_transforms = mr_all_transforms; return mr_transform_names(MR_TRANSFORMS_); } \
    MR_EXPORT_(MR_T_ "bind") void *mr_export_t_bind(char *, size_t, mr_field *, size_t, char *, size_t); \
    void *mr_export_t_bind(char *name, size_t name_len, mr_field *input, size_t inputs, char *json, size_t json_len) \
    { \
        mr_text mr_name = { name, name_len }, mr_json = { json, json_len }; \
        mr_fields mr_input = { input, inputs }; \
        mr_transforms = mr_all_transforms; \
        return mr_transform_bind(MR_TRANSFORMS_, mr_name, mr_input, mr_json); \
    } \
    MR_EXPORT_(MR_T_ "apply") void *mr_export_t_apply(uint32_t, mr_buffers *, size_t); \
    void *mr_export_t_apply(uint32_t rows, mr_buffers *columns, size_t count) \
    { \
        mr_batch mr_input = { rows, { columns, count } }; \
        return mr_transform_apply(mr_input); \
    } \
    MR_EXPORT_("cabi_post_" MR_T_ "names") void mr_after_t_names(void *); \
    void mr_after_t_names(void *returned) { (void)returned; mr_end_call(); } \
    MR_EXPORT_("cabi_post_" MR_T_ "bind") void mr_after_t_bind(void *); \
    void mr_after_t_bind(void *returned) { (void)returned; mr_end_call(); } \
    MR_AFTER_(MR_T_, apply) \
    MR_END_C_

/* The component's aggregates. Once, in one file. */
#define MR_EXPORT_AGGREGATES(...) \
    static const mr_aggregate *const mr_all_aggregates[] = { __VA_ARGS__ }; \
    enum { MR_AGGREGATES_ = sizeof mr_all_aggregates / sizeof *mr_all_aggregates }; \
    MR_BEGIN_C_ \
    MR_EXPORT_(MR_A_ "names") void *mr_export_a_names(void); \
    void *mr_export_a_names(void) { mr_aggregates = mr_all_aggregates; return mr_aggregate_names(MR_AGGREGATES_); } \
    MR_EXPORT_(MR_A_ "bind") void *mr_export_a_bind(char *, size_t, mr_field *, size_t, char *, size_t); \
    void *mr_export_a_bind(char *name, size_t name_len, mr_field *input, size_t inputs, char *json, size_t json_len) \
    { \
        mr_text mr_name = { name, name_len }, mr_json = { json, json_len }; \
        mr_fields mr_input = { input, inputs }; \
        mr_aggregates = mr_all_aggregates; \
        return mr_aggregate_bind(MR_AGGREGATES_, mr_name, mr_input, mr_json); \
    } \
    MR_EXPORT_(MR_A_ "initial") void *mr_export_initial(uint32_t); \
    void *mr_export_initial(uint32_t rows) { return mr_aggregate_initial(rows); } \
    MR_EXPORT_(MR_A_ "update") void *mr_export_update(uint32_t, mr_buffers *, size_t, uint8_t *, size_t, uint32_t, \
        mr_buffers *, size_t); \
    void *mr_export_update(uint32_t states, mr_buffers *state, size_t fields, uint8_t *groups, size_t len, uint32_t rows, \
        mr_buffers *columns, size_t count) \
    { \
        mr_batch mr_state = { states, { state, fields } }, mr_input = { rows, { columns, count } }; \
        mr_bytes mr_groups = { groups, len }; \
        return mr_aggregate_update(mr_state, mr_groups, mr_input); \
    } \
    MR_EXPORT_(MR_A_ "merge") void *mr_export_merge(uint32_t, mr_buffers *, size_t, uint8_t *, size_t, uint32_t, \
        mr_buffers *, size_t); \
    void *mr_export_merge(uint32_t states, mr_buffers *state, size_t fields, uint8_t *groups, size_t len, uint32_t rows, \
        mr_buffers *columns, size_t count) \
    { \
        mr_batch mr_state = { states, { state, fields } }, mr_partial = { rows, { columns, count } }; \
        mr_bytes mr_groups = { groups, len }; \
        return mr_aggregate_merge(mr_state, mr_groups, mr_partial); \
    } \
    MR_EXPORT_(MR_A_ "evaluate") void *mr_export_evaluate(uint32_t, mr_buffers *, size_t, uint8_t *, size_t, uint8_t *, \
        size_t); \
    void *mr_export_evaluate(uint32_t states, mr_buffers *state, size_t fields, uint8_t *since, size_t since_len, \
        uint8_t *until, size_t until_len) \
    { \
        mr_batch mr_state = { states, { state, fields } }; \
        mr_bytes mr_since = { since, since_len }, mr_until = { until, until_len }; \
        return mr_aggregate_evaluate(mr_state, mr_since, mr_until); \
    } \
    MR_EXPORT_("cabi_post_" MR_A_ "names") void mr_after_a_names(void *); \
    void mr_after_a_names(void *returned) { (void)returned; mr_end_call(); } \
    MR_EXPORT_("cabi_post_" MR_A_ "bind") void mr_after_a_bind(void *); \
    void mr_after_a_bind(void *returned) { (void)returned; mr_end_call(); } \
    MR_AFTER_(MR_A_, initial) MR_AFTER_(MR_A_, update) MR_AFTER_(MR_A_, merge) MR_AFTER_(MR_A_, evaluate) \
    MR_END_C_

#ifdef __cplusplus
#define MR_BEGIN_C_ extern "C" {
#define MR_END_C_ }
#else
#define MR_BEGIN_C_
#define MR_END_C_
#endif

#ifdef __cplusplus
}
#endif
#endif
