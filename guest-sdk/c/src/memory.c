/* Memory of a call: taken from the end of a chunk, given back all at once when the call is over. The host's arguments lie in it
 * too, aligned for any number, which the contract does not promise. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum { ALIGNMENT = 16, LEAST = 64 << 10 };

typedef struct chunk { struct chunk *before; size_t size, used; uint64_t padding; } chunk;
_Static_assert(sizeof(chunk) % ALIGNMENT == 0 || sizeof(chunk) == 24, "what follows a chunk's head is aligned");

static chunk *last;
/* What the calls so far have taken: so much is in one piece the next time. */
static size_t needed = LEAST;

static size_t rounded(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }
static char *begin(chunk *of) { return (char *)of + rounded(sizeof(chunk)); }

void *mr_alloc(size_t bytes)
{
    size_t size = rounded(bytes == 0 ? 1 : bytes);
    if (size < bytes) mr_panic("more memory than there is");
    if (last == NULL || last->size - last->used < size) {
        size_t room = size > needed ? size : needed;
        chunk *next = aligned_alloc(ALIGNMENT, rounded(sizeof(chunk)) + rounded(room));
        if (next == NULL) mr_panic("out of memory");
        next->before = last;
        next->size = rounded(room);
        next->used = 0;
        last = next;
    }
    void *taken = begin(last) + last->used;
    last->used += size;
    return taken;
}

void *mr_extend(void *old, size_t old_bytes, size_t new_bytes)
{
    size_t before = rounded(old_bytes == 0 ? 1 : old_bytes), after = rounded(new_bytes);
    if (old != NULL && last != NULL && (char *)old + before == begin(last) + last->used
        && after - before <= last->size - last->used) {
        last->used += after - before;
        return old;
    }
    void *moved = mr_alloc(new_bytes);
    if (old_bytes > 0) memcpy(moved, old, old_bytes);
    return moved;
}

void mr_end_call(void)
{
    if (last == NULL) return;
    if (last->before == NULL) {
        last->used = 0;
        return;
    }
    size_t total = 0;
    while (last != NULL) {
        chunk *before = last->before;
        total += last->used;
        free(last);
        last = before;
    }
    if (total > needed) needed = total;
}

/* What the host's arguments are laid into. */
MR_EXPORT_("cabi_realloc") void *cabi_realloc(void *old, size_t old_bytes, size_t alignment, size_t new_bytes);
void *cabi_realloc(void *old, size_t old_bytes, size_t alignment, size_t new_bytes)
{
    (void)alignment;
    return mr_extend(old, old_bytes, new_bytes);
}

mr_text mr_format(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    char *text = mr_alloc((size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(arguments);
    va_end(again);
    mr_text made = { text, (size_t)len };
    return made;
}
