/* The UDFs of the conformance suite, in C: what tests/conformance/README.md says, and no more. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <millrace.h>

/* ---- transforms ---- */

#define NUMBER(COLUMN) COLUMN(float64, value, nullable)
#define TEXT(COLUMN) COLUMN(utf8, text, nullable)

#define FACTOR(OPTION) OPTION(float64, factor, 2.0)
MR_TRANSFORM(multiply, NUMBER, NUMBER, FACTOR)
{
    out->value.present = in->value.present;
    out->value.value = in->value.value * options->factor;
    return MR_KEEP;
}

static int32_t lowered(int32_t c)
{
    if (c == 0xd7 || c == 0x3a2) return c;
    if ((c >= 0x41 && c <= 0x5a) || (c >= 0xc0 && c <= 0xde) || (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    return c >= 0x400 && c <= 0x40f ? c + 80 : c;
}

MR_TRANSFORM(lower, TEXT, TEXT, MR_NO_OPTIONS)
{
    (void)options;
    if (!in->text.present) return MR_KEEP;
    /* No lower case here takes more bytes; what is no UTF-8 becomes U+FFFD, which takes three for one. */
    char *lower = mr_alloc(3 * in->text.value.len);
    size_t at = 0, len = 0;
    for (int32_t c; (c = mr_next_code_point(in->text.value, &at)) >= 0;) len += mr_put_code_point(lower + len, lowered(c));
    out->text.present = true;
    out->text.value.ptr = lower;
    out->text.value.len = len;
    return MR_KEEP;
}

#define ABOVE(OPTION) OPTION(float64, above, 0.0)
MR_TRANSFORM(filter, NUMBER, NUMBER, ABOVE)
{
    if (!in->value.present || !(in->value.value > options->above)) return MR_DROP;
    out->value = in->value;
    return MR_KEEP;
}

#define WORD(COLUMN) COLUMN(utf8, word, required) COLUMN(int64, position, required)
MR_FLAT_MAP(flat_map, TEXT, WORD, MR_NO_OPTIONS)
{
    (void)options;
    mr_text text = in->text.value;
    for (size_t at = 0, from = 0; in->text.present && at <= text.len; at++) {
        if (at < text.len && text.ptr[at] != ' ') continue;
        if (at > from) {
            out->word.ptr = text.ptr + from;
            out->word.len = at - from;
            MR_EMIT(flat_map);
            out->position++;
        }
        from = at + 1;
    }
    return MR_KEEP;
}

#define ITEMS(COLUMN) COLUMN(list_float64, items, nullable)
#define ITEM(COLUMN) COLUMN(float64, item, nullable)
MR_FLAT_MAP(explode, ITEMS, ITEM, MR_NO_OPTIONS)
{
    (void)options;
    if (!in->items.present) return mr_reject("no list");
    for (size_t i = 0; i < in->items.value.len; i++) {
        out->item.present = mr_item_is_present(in->items.value, i);
        out->item.value = mr_item(float64, in->items.value, i);
        MR_EMIT(explode);
    }
    return MR_KEEP;
}

#define EVERY(COLUMN) \
    COLUMN(boolean, b, nullable) COLUMN(int64, i, nullable) COLUMN(float64, f, nullable) COLUMN(timestamp, t, nullable) \
    COLUMN(utf8, s, nullable) COLUMN(binary, z, nullable) COLUMN(list_float64, lf, nullable) COLUMN(list_utf8, ls, nullable)
#define ECHO(COLUMN) \
    COLUMN(boolean, b2, nullable) COLUMN(int64, i2, nullable) COLUMN(float64, f2, nullable) COLUMN(timestamp, t2, nullable) \
    COLUMN(utf8, s2, nullable) COLUMN(binary, z2, nullable) COLUMN(list_float64, lf2, nullable) \
    COLUMN(list_utf8, ls2, nullable)
MR_TRANSFORM(echo, EVERY, ECHO, MR_NO_OPTIONS)
{
    (void)options;
    out->b2 = in->b;
    out->i2 = in->i;
    out->f2 = in->f;
    out->t2 = in->t;
    out->s2 = in->s;
    out->z2 = in->z;
    out->lf2 = in->lf;
    out->ls2 = in->ls;
    return MR_KEEP;
}

#define WHOLE(COLUMN) COLUMN(int64, value, nullable)
MR_TRANSFORM(fail, WHOLE, WHOLE, MR_NO_OPTIONS)
{
    (void)options;
    if (in->value.present && in->value.value == 1) return mr_fail("one is not welcome");
    if (in->value.present && in->value.value == 2) return mr_reject("two is refused");
    out->value = in->value;
    return MR_KEEP;
}

/* ---- what differs from process to process where nobody sees to it ---- */

#define SAID(COLUMN) COLUMN(utf8, said, required)

static mr_text chances_of(mr_text text)
{
    uint32_t drawn = 0;
    struct timespec clock = { 0, 0 };
    int failed = getentropy(&drawn, sizeof drawn) + clock_gettime(CLOCK_MONOTONIC, &clock);
    return mr_format("%zu %u %d %d %lld %lld.%09ld %p", text.len, (unsigned)drawn, failed, rand(), (long long)time(NULL),
        (long long)clock.tv_sec, clock.tv_nsec, malloc(16));
}

MR_TRANSFORM(chance, TEXT, SAID, MR_NO_OPTIONS)
{
    (void)options;
    out->said = chances_of(in->text.value);
    return MR_KEEP;
}

MR_EXPORT_TRANSFORMS(multiply, lower, filter, flat_map, explode, echo, fail, chance)

/* ---- aggregates ---- */

#define SUM(COLUMN) COLUMN(float64, sum, required) COLUMN(int64, count, required)
#define MEAN(COLUMN) COLUMN(float64, mean, nullable)
MR_AGGREGATE(mean, NUMBER, SUM, MEAN, MR_NO_OPTIONS)
MR_UPDATE(mean)
{
    (void)options;
    if (!in->value.present) return MR_KEEP;
    state->sum += in->value.value;
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

#define TIME(COLUMN) COLUMN(timestamp, time, nullable)
#define SESSIONS(COLUMN) COLUMN(timestamp, first, nullable) COLUMN(timestamp, last, nullable) COLUMN(int64, sessions, required)
#define COUNT(COLUMN) COLUMN(int64, sessions, required)
#define GAP(OPTION) OPTION(int64, gap_us, 30000000)
MR_ORDERED_AGGREGATE(sessions, TIME, SESSIONS, COUNT, GAP)
MR_UPDATE(sessions)
{
    if (!in->time.present) return mr_reject("no time");
    if (!state->last.present) {
        state->first = in->time;
        state->sessions = 1;
    } else if (in->time.value - state->last.value > options->gap_us) {
        state->sessions++;
    }
    state->last = in->time;
    return MR_KEEP;
}
MR_MERGE(sessions)
{
    if (!later->last.present) return;
    if (!state->last.present) {
        *state = *later;
        return;
    }
    state->sessions += later->sessions - (later->first.value - state->last.value <= options->gap_us);
    state->last = later->last;
}
MR_EVALUATE(sessions)
{
    (void)options, (void)window;
    out->sessions = state->sessions;
    return MR_KEEP;
}

#define REGISTERS(COLUMN) COLUMN(binary, registers, required)
#define FILLED(COLUMN) COLUMN(binary, registers, required) COLUMN(int64, filled, required)
MR_AGGREGATE(registers, TEXT, REGISTERS, FILLED, MR_NO_OPTIONS)
MR_INITIAL(registers)
{
    (void)options;
    state->registers.ptr = memset(mr_alloc(64), 0, 64);
    state->registers.len = 64;
}

/* A state's bytes lie in memory of the call, which is ours to write. */
static uint8_t *writable(mr_bytes bytes) { return (uint8_t *)(uintptr_t)bytes.ptr; }

MR_UPDATE(registers)
{
    (void)options;
    if (!in->text.present) return MR_KEEP;
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < in->text.value.len; i++) h = (h ^ (uint8_t)in->text.value.ptr[i]) * 0x100000001b3;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccd;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53;
    h ^= h >> 33;
    uint8_t *at = writable(state->registers) + (h & 63);
    uint8_t rank = (uint8_t)(1 + __builtin_ctzll(h >> 6 | (uint64_t)1 << 57));
    if (rank > *at) *at = rank;
    return MR_KEEP;
}
MR_MERGE(registers)
{
    (void)options;
    uint8_t *ours = writable(state->registers);
    for (size_t i = 0; i < 64; i++)
        if (later->registers.ptr[i] > ours[i]) ours[i] = later->registers.ptr[i];
}
MR_EVALUATE(registers)
{
    (void)options, (void)window;
    out->registers = state->registers;
    for (size_t i = 0; i < 64; i++) out->filled += state->registers.ptr[i] != 0;
    return MR_KEEP;
}

#define COUNTS(COLUMN) COLUMN(map, counts, required)
#define TOP(COLUMN) COLUMN(utf8, top, nullable)
MR_AGGREGATE(seen, TEXT, COUNTS, TOP, MR_NO_OPTIONS)
MR_UPDATE(seen)
{
    (void)options;
    if (in->text.present) mr_map_add(&state->counts, in->text.value, 1);
    return MR_KEEP;
}
MR_MERGE(seen)
{
    (void)options;
    mr_map_merge(&state->counts, &later->counts);
}
MR_EVALUATE(seen)
{
    (void)options, (void)window;
    int64_t most = 0;
    for (size_t i = 0; i < state->counts.len; i++) {
        if (state->counts.entries[i].count <= most) continue;
        most = state->counts.entries[i].count;
        out->top.present = true;
        out->top.value = state->counts.entries[i].key;
    }
    return MR_KEEP;
}

MR_AGGREGATE(chances, TEXT, SAID, SAID, MR_NO_OPTIONS)
MR_UPDATE(chances)
{
    (void)options;
    state->said = chances_of(in->text.value);
    return MR_KEEP;
}
MR_MERGE(chances)
{
    (void)options, (void)later;
    state->said = chances_of(state->said);
}
MR_EVALUATE(chances)
{
    (void)options, (void)window;
    out->said = chances_of(state->said);
    return MR_KEEP;
}

MR_EXPORT_AGGREGATES(mean, sessions, registers, seen, chances)
