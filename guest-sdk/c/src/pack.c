/* MessagePack, all in the shortest form, and the map that is kept as it. */
#include "internal.h"

static uint8_t *room(mr_pack *to, size_t bytes)
{
    if (to->capacity - to->len < bytes) {
        size_t capacity = to->capacity * 2 > to->len + bytes ? to->capacity * 2 : to->len + bytes + 64;
        to->ptr = mr_extend(to->ptr, to->capacity, capacity);
        to->capacity = capacity;
    }
    to->len += bytes;
    return to->ptr + to->len - bytes;
}

static void put(mr_pack *to, uint8_t head, uint64_t number, size_t bytes)
{
    uint8_t *at = room(to, bytes + 1);
    *at++ = head;
    while (bytes-- > 0) *at++ = (uint8_t)(number >> (8 * bytes));
}

void mr_pack_nil(mr_pack *to) { put(to, 0xc0, 0, 0); }
void mr_pack_bool(mr_pack *to, bool value) { put(to, value ? 0xc3 : 0xc2, 0, 0); }

void mr_pack_int(mr_pack *to, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    if (value >= 0) {
        if (bits < 0x80) put(to, (uint8_t)bits, 0, 0);
        else if (bits <= 0xff) put(to, 0xcc, bits, 1);
        else if (bits <= 0xffff) put(to, 0xcd, bits, 2);
        else if (bits <= 0xffffffff) put(to, 0xce, bits, 4);
        else put(to, 0xcf, bits, 8);
    } else if (value >= -32) put(to, (uint8_t)bits, 0, 0);
    else if (value >= INT8_MIN) put(to, 0xd0, bits, 1);
    else if (value >= INT16_MIN) put(to, 0xd1, bits, 2);
    else if (value >= INT32_MIN) put(to, 0xd2, bits, 4);
    else put(to, 0xd3, bits, 8);
}

void mr_pack_float(mr_pack *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put(to, 0xcb, bits, 8);
}

void mr_pack_text(mr_pack *to, mr_text value)
{
    if (value.len < 32) put(to, (uint8_t)(0xa0 | value.len), 0, 0);
    else if (value.len <= 0xff) put(to, 0xd9, value.len, 1);
    else if (value.len <= 0xffff) put(to, 0xda, value.len, 2);
    else put(to, 0xdb, value.len, 4);
    memcpy(room(to, value.len), value.ptr, value.len);
}

static void put_count(mr_pack *to, size_t len, uint8_t small, uint8_t large)
{
    if (len < 16) put(to, (uint8_t)(small | len), 0, 0);
    else if (len <= 0xffff) put(to, large, len, 2);
    else put(to, (uint8_t)(large + 1), len, 4);
}

void mr_pack_array(mr_pack *to, size_t len) { put_count(to, len, 0x90, 0xdc); }
void mr_pack_map(mr_pack *to, size_t len) { put_count(to, len, 0x80, 0xde); }

/* The number of `bytes` bytes behind the head at `at`. */
static bool number(mr_bytes from, size_t at, size_t bytes, uint64_t *value)
{
    if (from.len - at <= bytes) return false;
    *value = 0;
    for (size_t i = 1; i <= bytes; i++) *value = *value << 8 | from.ptr[at + i];
    return true;
}

bool mr_unpack_int(mr_bytes from, size_t *at, int64_t *value)
{
    if (*at >= from.len) return false;
    uint8_t head = from.ptr[*at];
    uint64_t bits;
    if (head < 0x80 || head >= 0xe0) return *at += 1, *value = (int8_t)head, true;
    if (head < 0xcc || head > 0xd3) return false;
    size_t bytes = (size_t)1 << ((head - 0xcc) % 4);
    if (!number(from, *at, bytes, &bits)) return false;
    if (head == 0xcf && bits > INT64_MAX) return false;
    *at += bytes + 1;
    *value = (int64_t)bits;
    if (head == 0xd0) *value = (int8_t)bits;
    if (head == 0xd1) *value = (int16_t)bits;
    if (head == 0xd2) *value = (int32_t)bits;
    return true;
}

bool mr_unpack_float(mr_bytes from, size_t *at, double *value)
{
    uint64_t bits;
    if (*at >= from.len || from.ptr[*at] != 0xcb || !number(from, *at, 8, &bits)) return false;
    memcpy(value, &bits, 8);
    return *at += 9, true;
}

bool mr_unpack_text(mr_bytes from, size_t *at, mr_text *value)
{
    if (*at >= from.len) return false;
    uint8_t head = from.ptr[*at];
    uint64_t len;
    size_t bytes = head == 0xd9 ? 1 : head == 0xda ? 2 : head == 0xdb ? 4 : 0;
    if (bytes == 0 && (head & 0xe0) != 0xa0) return false;
    if (bytes == 0) len = head & 31;
    else if (!number(from, *at, bytes, &len)) return false;
    if (from.len - *at - bytes - 1 < len) return false;
    value->ptr = (const char *)from.ptr + *at + bytes + 1;
    value->len = (size_t)len;
    return *at += bytes + 1 + (size_t)len, true;
}

static bool take_count(mr_bytes from, size_t *at, size_t *len, uint8_t small, uint8_t large)
{
    if (*at >= from.len) return false;
    uint8_t head = from.ptr[*at];
    if ((head & 0xf0) == small) return *len = head & 15, *at += 1, true;
    size_t bytes = head == large ? 2 : head == large + 1 ? 4 : 0;
    uint64_t count;
    if (bytes == 0 || !number(from, *at, bytes, &count)) return false;
    *len = (size_t)count;
    return *at += bytes + 1, true;
}

bool mr_unpack_array(mr_bytes from, size_t *at, size_t *len) { return take_count(from, at, len, 0x90, 0xdc); }
bool mr_unpack_map(mr_bytes from, size_t *at, size_t *len) { return take_count(from, at, len, 0x80, 0xde); }

/* ---- the map ---- */

mr_map mr_get_map(const mr_column *column, size_t row)
{
    mr_bytes bytes = mr_get_binary(column, row);
    mr_map map = { NULL, 0, 0 };
    size_t at = 0, len = 0;
    if (!mr_unpack_map(bytes, &at, &len) || len > bytes.len) mr_panic("a column of type map holds something else");
    map.entries = mr_alloc(len * sizeof(mr_entry));
    map.capacity = len;
    for (; map.len < len; map.len++) {
        mr_entry *entry = map.entries + map.len;
        if (!mr_unpack_text(bytes, &at, &entry->key) || !mr_unpack_int(bytes, &at, &entry->count))
            mr_panic("a column of type map holds something else");
    }
    return map;
}

void mr_put_map(mr_builder *builder, mr_map map)
{
    mr_pack pack = { NULL, 0, 0 };
    mr_pack_map(&pack, map.len);
    for (size_t i = 0; i < map.len; i++) {
        mr_pack_text(&pack, map.entries[i].key);
        mr_pack_int(&pack, map.entries[i].count);
    }
    mr_put_bytes(builder, pack.ptr, pack.len);
}

void mr_map_add(mr_map *map, mr_text key, int64_t count)
{
    size_t from = 0, to = map->len;
    while (from < to) {
        size_t middle = (from + to) / 2;
        int order = mr_compare(map->entries[middle].key, key);
        if (order == 0) {
            map->entries[middle].count += count;
            return;
        }
        if (order < 0) from = middle + 1;
        else to = middle;
    }
    if (map->len == map->capacity) {
        size_t capacity = map->capacity * 2 + 8;
        map->entries = mr_extend(map->entries, map->len * sizeof(mr_entry), capacity * sizeof(mr_entry));
        map->capacity = capacity;
    }
    memmove(map->entries + from + 1, map->entries + from, (map->len - from) * sizeof(mr_entry));
    map->entries[from].key = key;
    map->entries[from].count = count;
    map->len++;
}

void mr_map_merge(mr_map *map, const mr_map *other)
{
    for (size_t i = 0; i < other->len; i++) mr_map_add(map, other->entries[i].key, other->entries[i].count);
}
