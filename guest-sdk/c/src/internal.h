/* What the SDK's own files share. */
#ifndef MILLRACE_INTERNAL_H
#define MILLRACE_INTERNAL_H

#include "../include/millrace.h"

/* More room for what was allocated last, mostly in place. */
void *mr_extend(void *old, size_t old_bytes, size_t new_bytes);

/* What is done to a column's numbers before they are read. */
typedef enum { MR_AS_IT_IS, MR_WIDEN_INTEGERS, MR_WIDEN_FLOATS } mr_widening;

/* Makes a column of its buffers, from *at on; an error is said of the column by the caller. NULL if all is well. */
const char *mr_open_column(const char *format, size_t format_len, mr_buffers buffers, size_t *at, size_t rows,
    mr_widening widening, mr_column *into);
/* How many buffers a format has. */
size_t mr_buffer_count(const char *format, size_t len);
/* The buffers of a column that was written. */
mr_buffers mr_finish(const mr_builder *builder);

/* Finds each wanted column among those given; the error names all that do not fit. An empty text: all fit. */
mr_text mr_fit(const mr_want *wanted, size_t count, mr_fields given, bool refuse_nulls, mr_widening *widenings);
/* Reads options into a struct; an empty text: all fit. */
mr_text mr_read_options(mr_text json, const mr_option *options, size_t count, char *into);
/* Both, or the one that there is, with "; " between. */
mr_text mr_both(mr_text a, mr_text b);

/* The reason that mr_reject was given last, and the error of mr_fail; empty if there was none. */
extern mr_text mr_reason, mr_error;

#endif
