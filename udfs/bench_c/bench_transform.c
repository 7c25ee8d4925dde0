/* The work of bench_transform in C: row by row, over whole columns, and an aggregate beside. */
#include <millrace.h>

#define ROW(COLUMN) COLUMN(float64, value, required) COLUMN(boolean, flag, required) COLUMN(utf8, text, required)

/* Lower case of ASCII alone: C brings no tables of Unicode, and the benchmark's text needs none. */
MR_TRANSFORM(row_closure, ROW, ROW, MR_NO_OPTIONS)
{
    (void)options;
    out->value = in->value * 1.5 + 1.0;
    out->flag = !in->flag;
    out->text = mr_lower_ascii(in->text);
    return MR_KEEP;
}

MR_TRANSFORM_COLUMNS(vectorised, ROW, ROW, MR_NO_OPTIONS)
{
    (void)options, (void)call;
    const double *value = mr_float64s(&in->value);
    double *scaled = mr_fill_float64(&out->value, rows);
    for (size_t i = 0; i < rows; i++) scaled[i] = value[i] * 1.5 + 1.0;
    for (size_t i = 0; i < rows; i++) mr_put_boolean(&out->flag, !mr_get_boolean(&in->flag, i));
    mr_text all = { in->text.values, (size_t)in->text.offsets[rows] };
    all = mr_lower_ascii(all);
    for (size_t i = 0; i < rows; i++) {
        mr_text one = { all.ptr + in->text.offsets[i], (size_t)(in->text.offsets[i + 1] - in->text.offsets[i]) };
        mr_put_utf8(&out->text, one);
    }
    return MR_KEEP;
}

MR_EXPORT_TRANSFORMS(row_closure, vectorised)

#define VALUE(COLUMN) COLUMN(float64, value, required)
#define SUM(COLUMN)   COLUMN(float64, sum, required) COLUMN(int64, count, required)
#define MEAN(COLUMN)  COLUMN(float64, mean, nullable)

MR_AGGREGATE(mean, VALUE, SUM, MEAN, MR_NO_OPTIONS)
MR_UPDATE(mean)
{
    (void)options;
    state->sum += in->value;
    state->count++;
    return MR_KEEP;
}
MR_MERGE(mean)
{
    (void)options;
    state->sum += later->sum;
    state->count += later->count;
}
MR_EVALUATE(mean)
{
    (void)options, (void)window;
    out->mean.present = state->count > 0;
    if (state->count > 0) out->mean.value = state->sum / (double)state->count;
    return MR_KEEP;
}

MR_EXPORT_AGGREGATES(mean)
