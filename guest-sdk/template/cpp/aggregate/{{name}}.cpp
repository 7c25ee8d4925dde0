// {{name}}: the spread of the amounts in a window, from the least to the greatest.
#include <millrace.hpp>

// What comes in; what is kept of each key and stretch of time, which Millrace keeps, and merges into windows; the feature.
#define IN(COLUMN) COLUMN(float64, amount, required)
#define STATE(COLUMN) COLUMN(float64, least, nullable) COLUMN(float64, most, nullable)
#define OUT(COLUMN) COLUMN(float64, value, nullable)

MR_AGGREGATE({{name}}, IN, STATE, OUT, MR_NO_OPTIONS)

MR_MERGE({{name}})
{
    (void)options;
    if (!later->least.present) return;
    if (!state->least.present) *state = *later;
    if (later->least.value < state->least.value) state->least = later->least;
    if (later->most.value > state->most.value) state->most = later->most;
}

MR_UPDATE({{name}})
{
    {{name}}_state one = { { true, in->amount }, { true, in->amount } };
    {{name}}_merge(state, &one, options);
    return MR_KEEP;
}

MR_EVALUATE({{name}})
{
    (void)options, (void)window;
    out->value.present = state->least.present;
    out->value.value = state->most.value - state->least.value;
    return MR_KEEP;
}

MR_EXPORT_AGGREGATES({{name}})
