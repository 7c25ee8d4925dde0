/* Texts: comparing, code points, what the host's log is told, and how a row or a call ends badly. */
#include "internal.h"

mr_text mr_reason, mr_error;

#if defined(__wasm__)
__attribute__((import_module("millrace:feature/log@0.1.0"), import_name("log")))
void mr_host_log(int32_t level, const char *message, size_t len);

void mr_log(mr_level level, mr_text message) { mr_host_log((int32_t)level, message.ptr, message.len); }
#else
#include <stdio.h>
void mr_log(mr_level level, mr_text message) { fprintf(stderr, "%d: %.*s\n", (int)level, (int)message.len, message.ptr); }
#endif

mr_status mr_reject_text(mr_text reason)
{
    mr_reason = reason;
    return MR_REJECTED;
}

mr_status mr_reject(const char *reason) { return mr_reject_text(mr_text_of(reason)); }

/* Without printf, of which a guest that does not use it should not pay for. */
static mr_text placed(const char *file, int line, const char *message)
{
    size_t file_len = strlen(file), message_len = strlen(message), len = 0;
    char *text = mr_alloc(message_len + file_len + 16);
    char digits[12];
    size_t count = 0;
    do digits[count++] = (char)('0' + line % 10); while ((line /= 10) > 0);
    memcpy(text, message, message_len);
    len = message_len;
    memcpy(text + len, " (", 2);
    memcpy(text + len + 2, file, file_len);
    len += 2 + file_len;
    text[len++] = ':';
    while (count > 0) text[len++] = digits[--count];
    text[len++] = ')';
    mr_text made = { text, len };
    return made;
}

mr_status mr_fail_at(const char *file, int line, const char *message)
{
    mr_error = placed(file, line, message);
    return MR_FAILED;
}

bool mr_call_failed(void) { return mr_error.len > 0; }

void mr_panic_at(const char *file, int line, const char *message)
{
    static bool panicking;
    /* Memory may be what there is too little of. */
    mr_text words = panicking ? mr_text_of(message) : (panicking = true, placed(file, line, message));
    mr_log(MR_ERROR, words);
    __builtin_trap();
}

#if defined(__wasm__)
/* What assert() calls; the C library's own would write where nobody reads. */
void __assert_fail(const char *, const char *, int, const char *) __attribute__((noreturn));
void __assert_fail(const char *expression, const char *file, int line, const char *function)
{
    (void)function;
    mr_panic_at(file, line, expression);
}
#endif

int mr_compare(mr_text a, mr_text b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

int32_t mr_next_code_point(mr_text text, size_t *at)
{
    if (*at >= text.len) return -1;
    const uint8_t *bytes = (const uint8_t *)text.ptr + *at;
    size_t left = text.len - *at, more = bytes[0] < 0x80 ? 0 : bytes[0] < 0xe0 ? 1 : bytes[0] < 0xf0 ? 2 : 3;
    if (more == 0) return *at += 1, bytes[0];
    int32_t code = bytes[0] & (0x3f >> more);
    bool good = bytes[0] >= 0xc2 && bytes[0] <= 0xf4 && more < left;
    for (size_t i = 1; good && i <= more; i++) {
        good = (bytes[i] & 0xc0) == 0x80;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    static const int32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    if (!good || code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return *at += 1, 0xfffd;
    *at += more + 1;
    return code;
}

size_t mr_put_code_point(char *to, int32_t code)
{
    if (code < 0x80) return to[0] = (char)code, 1;
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t first[] = { 0, 0xc0, 0xe0, 0xf0 };
    to[0] = (char)(first[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++) to[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

mr_text mr_lower_ascii(mr_text text)
{
    char *lower = mr_alloc(text.len);
    size_t i = 0;
    for (; i + 8 <= text.len; i += 8) {
        /* Eight letters at once: the top bit of each byte says whether it is from A on, and whether it is beyond Z. */
        uint64_t letters, ascii;
        memcpy(&letters, text.ptr + i, 8);
        ascii = letters & 0x7f7f7f7f7f7f7f7f;
        uint64_t from = ascii + (0x80 - 'A') * (uint64_t)0x0101010101010101;
        uint64_t beyond = ascii + (0x80 - 'Z' - 1) * (uint64_t)0x0101010101010101;
        letters |= (from & ~beyond & ~letters & 0x8080808080808080) >> 2;
        memcpy(lower + i, &letters, 8);
    }
    for (; i < text.len; i++) {
        char c = text.ptr[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    mr_text made = { lower, text.len };
    return made;
}

mr_text mr_trim(mr_text text)
{
    while (text.len > 0 && (unsigned char)text.ptr[0] <= ' ') text.ptr++, text.len--;
    while (text.len > 0 && (unsigned char)text.ptr[text.len - 1] <= ' ') text.len--;
    return text;
}
