/* The component's side of the contract: the UDF that this instance was bound to, and the calls on it. What is returned lies in
 * memory of the call as the canonical ABI wants it, which for 32-bit C is how these structs lie anyway. */
#include <stdlib.h>

#include "internal.h"

#if defined(__wasm__)
_Static_assert(sizeof(mr_field) == 20 && sizeof(mr_batch) == 12, "structs lie as the contract's records do");
_Static_assert(sizeof(struct mr_rejection) == 12, "structs lie as the contract's records do");
#endif

typedef struct { struct mr_rejection *ptr; size_t len; } rejections;

/* result<…, string> of each function. */
typedef struct { uint8_t failed; union { struct { mr_names input; mr_fields output; } ok; mr_text error; } is; } bound_transform;
typedef struct {
    uint8_t failed;
    union { struct { mr_names input; mr_fields state, output; bool ordered; } ok; mr_text error; } is;
} bound_aggregate;
typedef struct {
    uint8_t failed;
    union {
        struct { mr_batch batch; struct { uint8_t some; mr_bytes rows; } origin; rejections rejected; } ok;
        mr_text error;
    } is;
} applied;
typedef struct { uint8_t failed; union { struct { mr_batch state; rejections rejected; } ok; mr_text error; } is; } updated;
typedef struct { uint8_t failed; union { mr_batch ok; mr_text error; } is; } returned_batch;

const mr_transform *const *mr_transforms;
const mr_aggregate *const *mr_aggregates;

/* What this instance is. */
static const mr_transform *transform;
static const mr_aggregate *aggregate;
static mr_shape shape;
static mr_widening widenings[MR_MOST_COLUMNS];
static void *options;

static void *fresh(size_t bytes)
{
    mr_error.len = 0;
    void *area = mr_alloc(bytes);
    memset(area, 0, bytes);
    return area;
}
/* The place of a call's result, with nothing wrong so far. */
#define RESULT(type, name) type *name = fresh(sizeof(type))
#define FAIL(result, text) return (result)->failed = 1, (result)->is.error = (text), (result)

static mr_text unbound(void) { return mr_text_of("called before bind"); }

static mr_names *names_of(size_t count, const char *(*name)(size_t))
{
    RESULT(mr_names, names);
    names->ptr = mr_alloc(count * sizeof(mr_text));
    names->len = count;
    for (size_t i = 0; i < count; i++) names->ptr[i] = mr_text_of(name(i));
    return names;
}

static const char *transform_name(size_t i) { return mr_transforms[i]->name; }
static const char *aggregate_name(size_t i) { return mr_aggregates[i]->name; }
void *mr_transform_names(size_t count) { return names_of(count, transform_name); }
void *mr_aggregate_names(size_t count) { return names_of(count, aggregate_name); }

static mr_fields fields_of(const mr_want *columns, size_t count)
{
    mr_fields fields = { mr_alloc(count * sizeof(mr_field)), count };
    for (size_t i = 0; i < count; i++) {
        mr_field field = { mr_text_of(columns[i].name), mr_text_of(columns[i].format), columns[i].nullable };
        fields.ptr[i] = field;
    }
    return fields;
}

static mr_names inputs(void)
{
    mr_names names = { mr_alloc(shape.inputs * sizeof(mr_text)), shape.inputs };
    for (size_t i = 0; i < shape.inputs; i++) names.ptr[i] = mr_text_of(shape.input[i].name);
    return names;
}

static mr_text no_such(const char *kind, mr_text name, size_t count, const char *(*known)(size_t))
{
    mr_text all = { "", 0 };
    for (size_t i = 0; i < count; i++) all = mr_format("%.*s%s`%s`", (int)all.len, all.ptr, i == 0 ? "" : ", ", known(i));
    return mr_format("no %s `%.*s` in this component; it has %.*s", kind, (int)name.len, name.ptr, (int)all.len, all.ptr);
}

/* Fits columns and options to what a UDF wants; what does not fit, or an empty text. */
static mr_text fit(void (*describe)(mr_shape *, void *), const char *(*check)(const void *), size_t options_size,
    mr_fields input, mr_text json, bool by_column)
{
    options = calloc(1, options_size);
    memset(&shape, 0, sizeof shape);
    describe(&shape, options);
    mr_text misfits = mr_fit(shape.input, shape.inputs, input, by_column, widenings);
    mr_text refused = mr_read_options(json, shape.option, shape.options, options);
    const char *why = refused.len == 0 ? check(options) : NULL;
    if (why != NULL) refused = mr_format("options: %s", why);
    return mr_both(misfits, refused);
}

void *mr_transform_bind(size_t count, mr_text name, mr_fields input, mr_text json)
{
    RESULT(bound_transform, result);
    size_t i = 0;
    while (i < count && !mr_equal(mr_text_of(transform_name(i)), name)) i++;
    if (i == count) FAIL(result, no_such("transform", name, count, transform_name));
    const mr_transform *udf = mr_transforms[i];
    mr_text misfits = fit(udf->describe, udf->check, udf->options_size, input, json, udf->by_column);
    if (misfits.len > 0) FAIL(result, misfits);
    transform = udf;
    result->is.ok.input = inputs();
    result->is.ok.output = fields_of(shape.output, shape.outputs);
    return result;
}

void *mr_aggregate_bind(size_t count, mr_text name, mr_fields input, mr_text json)
{
    RESULT(bound_aggregate, result);
    size_t i = 0;
    while (i < count && !mr_equal(mr_text_of(aggregate_name(i)), name)) i++;
    if (i == count) FAIL(result, no_such("aggregate", name, count, aggregate_name));
    const mr_aggregate *udf = mr_aggregates[i];
    mr_text misfits = fit(udf->describe, udf->check, udf->options_size, input, json, false);
    if (misfits.len > 0) FAIL(result, misfits);
    aggregate = udf;
    result->is.ok.input = inputs();
    result->is.ok.state = fields_of(shape.state, shape.states);
    result->is.ok.output = fields_of(shape.output, shape.outputs);
    result->is.ok.ordered = udf->ordered;
    return result;
}

/* A batch's columns, ready to read; NULL, with mr_error set, where they are not what was agreed on. */
static mr_column *opened(const mr_want *wanted, size_t count, mr_batch batch, const mr_widening *how)
{
    mr_column *columns = mr_alloc(count * sizeof(mr_column));
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        const char *wrong = i < batch.columns.len
            ? mr_open_column(wanted[i].format, strlen(wanted[i].format), batch.columns.ptr[i], &at, batch.rows,
                  how == NULL ? MR_AS_IT_IS : how[i], columns + i)
            : "missing from the batch";
        if (wrong != NULL) return mr_error = mr_format("column `%s`: %s", wanted[i].name, wrong), NULL;
    }
    return columns;
}

static mr_builder *builders_of(const mr_want *columns, size_t count, size_t rows)
{
    mr_builder *builders = mr_alloc(count * sizeof(mr_builder));
    for (size_t i = 0; i < count; i++) mr_open_builder(builders + i, columns[i].format, rows);
    return builders;
}

static mr_batch finished(const mr_builder *builders, size_t count, size_t rows)
{
    mr_batch batch = { (uint32_t)rows, { mr_alloc(count * sizeof(mr_buffers)), count } };
    for (size_t i = 0; i < count; i++) batch.columns.ptr[i] = mr_finish(builders + i);
    return batch;
}

/* ---- rows on their way ---- */

void mr_push_origin(mr_call *call, size_t row)
{
    if (call->out_rows >= call->origin_capacity) {
        size_t capacity = call->out_rows * 2 + call->rows + 16;
        uint32_t *origin = mr_extend(call->origin, call->origin == NULL ? 0 : call->origin_capacity * 4, capacity * 4);
        for (size_t i = 0; call->origin == NULL && i < call->out_rows; i++) origin[i] = (uint32_t)i;
        call->origin = origin;
        call->origin_capacity = capacity;
    }
    call->origin[call->out_rows] = (uint32_t)row;
}

void mr_reject_row(mr_call *call, size_t row, mr_text reason)
{
    if (call->rejections == call->rejected_capacity) {
        size_t size = sizeof *call->rejected, capacity = call->rejected_capacity * 2 + 8;
        call->rejected = mr_extend(call->rejected, call->rejections * size, capacity * size);
        call->rejected_capacity = capacity;
    }
    struct mr_rejection rejection = { (uint32_t)row, reason };
    call->rejected[call->rejections++] = rejection;
}

void mr_reject_null(mr_call *call, size_t row, const char *column)
{
    mr_reject_row(call, row, mr_format("`%s` is null, or holds a null", column));
}

bool mr_not_kept(mr_call *call, size_t row, mr_status status)
{
    if (status == MR_REJECTED) mr_reject_row(call, row, mr_reason);
    call->failed = status == MR_FAILED;
    return !call->failed;
}

void mr_state_null(const char *column) { mr_error = mr_format("state: column `%s` holds a null", column); }

void *mr_transform_apply(mr_batch input)
{
    RESULT(applied, result);
    if (transform == NULL) FAIL(result, unbound());
    mr_column *columns = opened(shape.input, shape.inputs, input, widenings);
    if (columns == NULL) FAIL(result, mr_error);
    mr_builder *builders = builders_of(shape.output, shape.outputs, input.rows);
    mr_call call = { .rows = input.rows };
    transform->apply(&call, columns, builders, options);
    if (call.failed || mr_call_failed()) FAIL(result, mr_call_failed() ? mr_error : mr_text_of("it failed, and did not say why"));
    for (size_t i = 0; i < shape.outputs; i++)
        if (builders[i].rows != call.out_rows)
            FAIL(result, mr_format("column `%s` has %zu rows where there are %zu", shape.output[i].name, builders[i].rows,
                             call.out_rows));
    result->is.ok.batch = finished(builders, shape.outputs, call.out_rows);
    if (call.origin == NULL && call.out_rows != call.rows) {
        /* The last rows are those that were not kept: the others are one for one. */
        call.origin = mr_alloc(call.out_rows * 4);
        for (size_t i = 0; i < call.out_rows; i++) call.origin[i] = (uint32_t)i;
    }
    if (call.origin != NULL) {
        mr_bytes origin = { (const uint8_t *)call.origin, call.out_rows * 4 };
        result->is.ok.origin.some = 1;
        result->is.ok.origin.rows = origin;
    }
    result->is.ok.rejected.ptr = call.rejected;
    result->is.ok.rejected.len = call.rejections;
    return result;
}

/* ---- states ---- */

static char *decoded(mr_batch state)
{
    mr_column *columns = opened(shape.state, shape.states, state, NULL);
    if (columns == NULL) return mr_error = mr_format("state: %.*s", (int)mr_error.len, mr_error.ptr), NULL;
    char *states = mr_alloc(state.rows * aggregate->state_size);
    return aggregate->decode(columns, state.rows, states) ? states : NULL;
}

static mr_batch encoded(const char *states, size_t rows)
{
    mr_builder *builders = builders_of(shape.state, shape.states, rows);
    aggregate->encode(builders, rows, states);
    return finished(builders, shape.states, rows);
}

void *mr_aggregate_initial(uint32_t rows)
{
    RESULT(returned_batch, result);
    if (aggregate == NULL) FAIL(result, unbound());
    char *states = mr_alloc(rows * aggregate->state_size);
    for (size_t i = 0; i < rows; i++) aggregate->initial(states + i * aggregate->state_size, options);
    result->is.ok = encoded(states, rows);
    return result;
}

void *mr_aggregate_update(mr_batch state, mr_bytes groups, mr_batch input)
{
    RESULT(updated, result);
    if (aggregate == NULL) FAIL(result, unbound());
    if (groups.len != (size_t)input.rows * 4) FAIL(result, mr_text_of("groups: not a number a row"));
    mr_column *columns = opened(shape.input, shape.inputs, input, widenings);
    char *states = columns == NULL ? NULL : decoded(state);
    if (states == NULL) FAIL(result, mr_error);
    mr_call call = { .rows = input.rows };
    aggregate->update(&call, states, state.rows, (const uint32_t *)(const void *)groups.ptr, columns, options);
    if (call.failed || mr_call_failed()) FAIL(result, mr_call_failed() ? mr_error : mr_text_of("it failed, and did not say why"));
    result->is.ok.state = encoded(states, state.rows);
    result->is.ok.rejected.ptr = call.rejected;
    result->is.ok.rejected.len = call.rejections;
    return result;
}

void *mr_aggregate_merge(mr_batch state, mr_bytes groups, mr_batch partial)
{
    RESULT(returned_batch, result);
    if (aggregate == NULL) FAIL(result, unbound());
    if (groups.len != (size_t)partial.rows * 4) FAIL(result, mr_text_of("groups: not a number a row"));
    char *states = decoded(state), *later = states == NULL ? NULL : decoded(partial);
    if (later == NULL) FAIL(result, mr_error);
    const uint32_t *group = (const uint32_t *)(const void *)groups.ptr;
    for (size_t i = 0; i < partial.rows && !mr_call_failed(); i++) {
        if (group[i] >= state.rows) FAIL(result, mr_text_of("a group that is not among the state's rows"));
        size_t size = aggregate->state_size;
        aggregate->merge(states + group[i] * size, later + i * size, options);
    }
    if (mr_call_failed()) FAIL(result, mr_error);
    result->is.ok = encoded(states, state.rows);
    return result;
}

void *mr_aggregate_evaluate(mr_batch state, mr_bytes since, mr_bytes until)
{
    RESULT(returned_batch, result);
    if (aggregate == NULL) FAIL(result, unbound());
    if (since.len != (size_t)state.rows * 8 || until.len != since.len) FAIL(result, mr_text_of("since, until: not a time a row"));
    char *states = decoded(state);
    if (states == NULL) FAIL(result, mr_error);
    mr_builder *builders = builders_of(shape.output, shape.outputs, state.rows);
    for (size_t i = 0; i < state.rows; i++) {
        mr_window window = { ((const int64_t *)(const void *)since.ptr)[i], ((const int64_t *)(const void *)until.ptr)[i] };
        mr_status status = aggregate->evaluate(builders, states + i * aggregate->state_size, window, options);
        if (mr_call_failed()) FAIL(result, mr_error);
        if (status != MR_KEEP) FAIL(result, mr_text_of("an evaluate can neither drop nor reject: it gives a value, or fails"));
    }
    result->is.ok = finished(builders, shape.outputs, state.rows);
    return result;
}
