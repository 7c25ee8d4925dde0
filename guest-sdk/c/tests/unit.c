/* What the SDK does beneath its macros, natively and under sanitizers: cc -fsanitize=address,undefined. What UDFs written with it
 * do is held to by the conformance suite. */
#include <stdio.h>
#include <stdlib.h>

#include "../src/internal.h"

static int failures;
#define CHECK(what) \
    do { \
        if (what) break; \
        failures++; \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
    } while (0)
#define SAYS(text_, words) \
    do { \
        mr_text text = (text_); \
        if (mr_equal(text, mr_text_of(words))) break; \
        failures++; \
        fprintf(stderr, "%s:%d: said: %.*s\n", __FILE__, __LINE__, (int)text.len, text.ptr); \
    } while (0)

static void code_points(void)
{
    static const int32_t all[] = { 0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff };
    char bytes[64];
    size_t len = 0, at = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) len += mr_put_code_point(bytes + len, all[i]);
    mr_text text = { bytes, len };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(mr_next_code_point(text, &at) == all[i]);
    CHECK(mr_next_code_point(text, &at) == -1);
    static const char *const wrong[] = { "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t from = 0;
        CHECK(mr_next_code_point(mr_text_of(wrong[i]), &from) == 0xfffd && from == 1);
    }
    SAYS(mr_lower_ascii(mr_text_of("AZ[`@az{ \xc3\x9f \xc1\xda ABCDEFGHIJKLMNOP")), "az[`@az{ \xc3\x9f \xc1\xda abcdefghijklmnop");
    SAYS(mr_trim(mr_text_of(" \t a b \n")), "a b");
    SAYS(mr_trim(mr_text_of("  ")), "");
}

static void packing(void)
{
    static const int64_t numbers[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX, -1, -32, -33,
        -128, -129, -32768, -32769, INT32_MIN, (int64_t)INT32_MIN - 1, INT64_MIN };
    static const size_t sizes[] = { 1, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9 };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        mr_pack pack = { NULL, 0, 0 };
        int64_t back = 7;
        size_t at = 0;
        mr_pack_int(&pack, numbers[i]);
        CHECK(pack.len == sizes[i]);
        CHECK(mr_unpack_int(mr_packed(&pack), &at, &back) && back == numbers[i] && at == pack.len);
        /* Cut short, nothing is read. */
        mr_bytes cut = { pack.ptr, pack.len - 1 };
        at = 0;
        CHECK(!mr_unpack_int(cut, &at, &back) && at == 0);
    }
    mr_map map = { NULL, 0, 0 }, back;
    char name[3] = "aa";
    for (int i = 0; i < 400; i++) {
        name[0] = (char)('a' + i * 7 % 20);
        name[1] = (char)('a' + i * 3 % 17);
        mr_text key = { memcpy(mr_alloc(2), name, 2), 2 };
        mr_map_add(&map, key, i);
    }
    for (size_t i = 1; i < map.len; i++) CHECK(mr_compare(map.entries[i - 1].key, map.entries[i].key) < 0);
    mr_builder builder;
    mr_open_builder(&builder, "z", 1);
    mr_put_map(&builder, map);
    mr_column column = { NULL, builder.values, builder.offsets, NULL, 1 };
    back = mr_get_map(&column, 0);
    CHECK(back.len == map.len && back.len == 340);
    for (size_t i = 0; i < map.len; i++)
        CHECK(mr_equal(back.entries[i].key, map.entries[i].key) && back.entries[i].count == map.entries[i].count);
}

#define ROW(COLUMN) \
    COLUMN(int64, number, required) COLUMN(utf8, text, nullable) COLUMN(list_int64, list, nullable) COLUMN(boolean, flag, nullable)
#define SOME(OPTION) \
    OPTION(float64, factor, 2.5) OPTION(int64, count, MR_NEEDED) OPTION(boolean, fast, false) OPTION(utf8, name, "x") \
    OPTION(duration, half_life, "5m")
/* Gives the row as often as its number says, then refuses it if that is odd. */
MR_FLAT_MAP(repeat, ROW, ROW, SOME)
{
    (void)options;
    out->number = in->number;
    out->text = in->text;
    out->list = in->list;
    out->flag = in->flag;
    for (int64_t i = 0; i < in->number; i++) MR_EMIT(repeat);
    if (in->number == 99) return mr_fail("ninety-nine");
    return in->number % 2 == 0 ? MR_KEEP : mr_reject("odd");
}
MR_CHECK(repeat) { return options->count > 5 ? "`count` is at most 5" : NULL; }

static const mr_transform *const all[] = { repeat };

static mr_text said(mr_fields input, const char *json)
{
    struct { uint8_t failed; mr_text error; } *bound;
    mr_transforms = all;
    bound = mr_transform_bind(1, mr_text_of("repeat"), input, mr_text_of(json));
    return bound->failed ? bound->error : mr_text_of("bound");
}

static mr_field field(const char *name, const char *format, bool nullable)
{
    mr_field made = { mr_text_of(name), mr_text_of(format), nullable };
    return made;
}

static void binding(void)
{
    mr_field fits[] = { field("number", "i", false), field("text", "u", true), field("list", "+l<i>", true),
        field("flag", "b", false) };
    mr_fields input = { fits, 4 };
    SAYS(said(input, "{\"count\": 3}"), "bound");
    SAYS(said(input, " {\"count\":-3, \"half-life\": \"1h 30m\", \"fast\":true,\"factor\":1e-3,\"name\":\"\\u00e9\\ud83d\\ude00\\n\"} "),
        "bound");
    SAYS(said(input, "{}"), "options: missing field `count`");
    SAYS(said(input, ""), "options: missing field `count`");
    SAYS(said(input, "{\"count\":6}"), "options: `count` is at most 5");
    SAYS(said(input, "{\"count\":1.5}"), "options: `count` is 1.5, wanted a whole number");
    SAYS(said(input, "{\"count\":1,\"factor\":null}"), "options: `factor` is null, wanted a number");
    SAYS(said(input, "{\"count\":1,\"half_life\":\"5 minutes\"}"),
        "options: `half_life` is \"5 minutes\", wanted a duration such as \"5m\"");
    static const char *const broken[] = { "[", "{", "{\"count\"", "{\"count\":", "{\"count\":1", "{\"count\":1,", "{\"a\":\"\\u12\"}",
        "{\"a\":[1,{\"b\":2}", "nothing", "{\"count\":1 \"fast\":true}" };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) CHECK(!mr_equal(said(input, broken[i]), mr_text_of("bound")));
    mr_field other[] = { field("number", "g", false), field("txt", "u", true), field("list", "+l<+l<l>>", true),
        field("flag", "w:16", false) };
    mr_fields misfits = { other, 4 };
    SAYS(said(misfits, "{\"count\":1}"),
        "column `number` is float64, wanted int64: map an expression of that type to `number`; "
        "no column `text` (utf8) among `number`, `txt`, `list`, `flag`: map one to it, as in { text = \"txt\" }; "
        "column `list` is list<list<int64>>, wanted list<int64>: map an expression of that type to `list`; "
        "column `flag` has the format `w:16`, which this UDF's SDK does not know");
}

#define BUFFER(array) { (const uint8_t *)(array), sizeof(array) }

static void rows_that_are_taken_back(void)
{
    binding();
    mr_field fits[] = { field("number", "i", false), field("text", "u", true), field("list", "+l<i>", true),
        field("flag", "b", false) };
    mr_fields input = { fits, 4 };
    SAYS(said(input, "{\"count\": 3}"), "bound");
    static int32_t numbers[] = { 2, 3, 0, 1, 1 }, offsets[] = { 0, 1, 3, 3, 6, 7 }, lists[] = { 0, 2, 2, 3, 3, 4 },
                   items[] = { 10, -11, 12, 13 };
    static const char texts[] = { 'a', 'b', 'c', 'd', 'e', 'f', 'g' };
    static const uint8_t present[] = { 0x1d }, flags[] = { 0x0a };
    mr_bytes number[] = { { NULL, 0 }, BUFFER(numbers) }, text[] = { BUFFER(present), BUFFER(offsets), BUFFER(texts) },
             list[] = { { NULL, 0 }, BUFFER(lists), { NULL, 0 }, BUFFER(items) }, flag[] = { { NULL, 0 }, BUFFER(flags) };
    mr_buffers columns[] = { { number, 2 }, { text, 3 }, { list, 4 }, { flag, 2 } };
    mr_batch batch = { 5, { columns, 4 } };
    struct {
        uint8_t failed;
        struct {
            mr_batch batch;
            struct { uint8_t some; mr_bytes rows; } origin;
            struct { struct mr_rejection *ptr; size_t len; } rejected;
        } ok;
    } *done = mr_transform_apply(batch);
    CHECK(!done->failed && done->ok.batch.rows == 2 && done->ok.origin.some && done->ok.rejected.len == 3);
    CHECK(done->ok.origin.rows.len == 8 && ((const uint32_t *)(const void *)done->ok.origin.rows.ptr)[1] == 0);
    CHECK(done->ok.rejected.ptr[0].row == 1 && done->ok.rejected.ptr[2].row == 4);
    mr_buffers *out = done->ok.batch.columns.ptr;
    CHECK(out[0].ptr[1].len == 16 && ((const int64_t *)(const void *)out[0].ptr[1].ptr)[0] == 2);
    CHECK(out[1].ptr[2].len == 2 && memcmp(out[1].ptr[2].ptr, "aa", 2) == 0);
    CHECK(out[2].ptr[3].len == 32 && ((const int64_t *)(const void *)out[2].ptr[3].ptr)[3] == -11);
    mr_end_call();
    numbers[4] = 99;
    struct { uint8_t failed; mr_text error; } *failed = mr_transform_apply(batch);
    CHECK(failed->failed && strncmp(failed->error.ptr, "ninety-nine (", 13) == 0);
    mr_end_call();
    /* Buffers that are too short are an error, not somebody else's memory. */
    list[3].len = 12;
    failed = mr_transform_apply(batch);
    CHECK(failed->failed);
    SAYS(failed->error, "column `list`: fewer values than rows");
    mr_end_call();
}

int main(void)
{
    code_points();
    packing();
    rows_that_are_taken_back();
    printf("guest-sdk/c: %s\n", failures == 0 ? "ok" : "FAILED");
    return failures != 0;
}
