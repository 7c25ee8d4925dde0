/* trade_volume_index natively: against the definition, over all trades at once, wherever they are parted. */
#include <stdio.h>

#include "../trade_volume_index.c"

typedef struct trade_volume_index_state tvi_state;

static int failures;
#define CHECK(what, ...) \
    do { \
        if (what) break; \
        failures++; \
        fprintf(stderr, "%s:%d: not so: %s", __FILE__, __LINE__, #what); \
        fprintf(stderr, "  " __VA_ARGS__); \
        fputc('\n', stderr); \
    } while (0)

static struct trade_volume_index_options options;

static tvi_state folded(const double (*trades)[2], size_t len)
{
    tvi_state state;
    memset(&state, 0, sizeof state);
    for (size_t i = 0; i < len; i++) {
        struct trade_volume_index_in in = { trades[i][0], trades[i][1] };
        CHECK(trade_volume_index_update(&state, &in, &options) == MR_KEEP, "trade %zu", i);
    }
    return state;
}

/* The definition, backwards: each trade looks back for the last change of price that is large enough. */
static double reference(const double (*trades)[2], size_t len)
{
    double tvi = 0;
    for (size_t i = 0; i < len; i++)
        for (size_t back = i; back > 0; back--) {
            double change = trades[back][0] - trades[back - 1][0];
            if (fabs(change) <= options.minimum_tick) continue;
            tvi += change > 0 ? trades[i][1] : -trades[i][1];
            break;
        }
    return tvi;
}

static void by_hand(void)
{
    /* Up at the second, no change worth the name at the third, down at the fifth: -100 + … */
    static const double trades[][2] = { { 10.00, 100 }, { 10.50, 20 }, { 10.60, 3 }, { 10.45, 4 }, { 9.00, 50 }, { 9.25, 7 } };
    options.minimum_tick = 0.25;
    tvi_state state = folded(trades, 6);
    CHECK(state.tvi == 20 + 3 + 4 - 50 - 7, "%g", state.tvi);
    CHECK(state.undecided == 100 && state.direction == -1, "%g", state.undecided);
    options.minimum_tick = 0;
    state = folded(trades, 6);
    CHECK(state.tvi == 20 + 3 - 4 - 50 + 7 && state.direction == 1, "%g", state.tvi);
}

static void any_trades(void)
{
    uint64_t seed = 42;
    for (int round = 0; round < 2000; round++) {
        double trades[12][2];
        size_t len = 0;
        for (; len < (size_t)(round % 13) && len < 12; len++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            /* Halves and whole volumes: all sums are exact. */
            trades[len][0] = 100 + (double)(seed >> 61) / 2;
            trades[len][1] = (double)((seed >> 40) % 50);
        }
        options.minimum_tick = round % 3 * 0.5;
        double wanted = reference((const double(*)[2])trades, len);
        tvi_state whole = folded((const double(*)[2])trades, len);
        CHECK(whole.tvi == wanted, "round %d: %g, wanted %g", round, whole.tvi, wanted);
        for (size_t cut = 0; cut <= len; cut++)
            for (size_t next = cut; next <= len; next++) {
                tvi_state state = folded((const double(*)[2])trades, cut);
                tvi_state middle = folded((const double(*)[2])trades + cut, next - cut);
                tvi_state end = folded((const double(*)[2])trades + next, len - next);
                trade_volume_index_merge(&middle, &end, &options);
                trade_volume_index_merge(&state, &middle, &options);
                CHECK(state.tvi == wanted && state.direction == whole.direction && state.undecided == whole.undecided,
                    "round %d cut at %zu and %zu: %g, wanted %g", round, cut, next, state.tvi, wanted);
            }
    }
}

static void refusals(void)
{
    tvi_state state = folded(NULL, 0);
    static const double wrong[][2] = { { NAN, 1 }, { INFINITY, 1 }, { 1, NAN }, { 1, -1 }, { 1, INFINITY } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct trade_volume_index_in in = { wrong[i][0], wrong[i][1] };
        CHECK(trade_volume_index_update(&state, &in, &options) == MR_REJECTED, "trade %zu", i);
    }
    options.minimum_tick = -1;
    CHECK(trade_volume_index_check(&options) != NULL, "a tick below 0");
    options.minimum_tick = NAN;
    CHECK(trade_volume_index_check(&options) != NULL, "a tick that is no number");
}

int main(void)
{
    by_hand();
    any_trades();
    refusals();
    printf("trade_volume_index: %s\n", failures == 0 ? "ok" : "FAILED");
    return failures != 0;
}
