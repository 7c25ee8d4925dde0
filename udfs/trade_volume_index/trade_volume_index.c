/* trade_volume_index: whether a security is being bought or sold, from its trades.
 *
 * TVI adds up the volume of trades, counted for the buyers while the price goes up and for the sellers while it goes down. A trade
 * whose price is more than `minimum_tick` above the trade before it turns the direction up, one that is more than that below turns
 * it down, any other goes on in the direction that there is: this is the index of technical analysis as charting packages have it
 * (S. Achelis, Technical Analysis from A to Z, "Trade Volume Index"). Trades before the first that gives a direction count for
 * nobody.
 *
 * Always true: the trades without a direction are kept aside, so that joining two stretches of time gives what all their trades in
 * one would have given. */
#include <math.h>
#include <millrace.h>

#define TRADE(COLUMN) COLUMN(float64, price, required) COLUMN(float64, volume, required)
/* `undecided` is the volume before the first direction. */
#define INDEX(COLUMN) \
    COLUMN(float64, first_price, nullable) COLUMN(float64, last_price, nullable) COLUMN(int64, direction, required) \
    COLUMN(float64, undecided, required) COLUMN(float64, tvi, required)
#define TVI(COLUMN) COLUMN(float64, tvi, required) COLUMN(int64, direction, required)
#define TICK(OPTION) OPTION(float64, minimum_tick, 0)

MR_ORDERED_AGGREGATE(trade_volume_index, TRADE, INDEX, TVI, TICK)

/* The direction after the price went from one to another. */
static int64_t turned(int64_t direction, double from, double to, double tick)
{
    if (to - from > tick) return 1;
    if (from - to > tick) return -1;
    return direction;
}

/* Counts volume into a direction, 0 being none yet. */
static void count(struct trade_volume_index_state *state, int64_t direction, double volume)
{
    if (direction == 0)
        state->undecided += volume;
    else
        state->tvi += (double)direction * volume;
}

MR_UPDATE(trade_volume_index)
{
    if (!isfinite(in->price)) return mr_reject("`price` is not a finite number");
    if (!isfinite(in->volume) || in->volume < 0) return mr_reject("`volume` is not a number from 0 on");
    if (state->last_price.present)
        state->direction = turned(state->direction, state->last_price.value, in->price, options->minimum_tick);
    else
        state->first_price.value = in->price, state->first_price.present = true;
    count(state, state->direction, in->volume);
    state->last_price.value = in->price, state->last_price.present = true;
    return MR_KEEP;
}

MR_MERGE(trade_volume_index)
{
    if (!later->first_price.present) return;
    if (!state->last_price.present) {
        *state = *later;
        return;
    }
    /* What had no direction there goes on in ours, or in the one that the price took in between. */
    int64_t direction = turned(state->direction, state->last_price.value, later->first_price.value, options->minimum_tick);
    count(state, direction, later->undecided);
    state->tvi += later->tvi;
    state->direction = later->direction != 0 ? later->direction : direction;
    state->last_price = later->last_price;
}

MR_EVALUATE(trade_volume_index)
{
    (void)options, (void)window;
    out->tvi = state->tvi;
    out->direction = state->direction;
    return MR_KEEP;
}

MR_CHECK(trade_volume_index)
{
    return options->minimum_tick >= 0 && isfinite(options->minimum_tick) ? NULL : "`minimum_tick` must be a number from 0 on";
}

MR_EXPORT_AGGREGATES(trade_volume_index)
