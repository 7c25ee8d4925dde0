// {{name}}: cleans a merchant's name, and counts an amount in cents.
#include <math.h>
#include <millrace.hpp>

// What comes in, what goes out, and what the project may set, with what it is if it does not.
#define IN(COLUMN) COLUMN(utf8, merchant, nullable) COLUMN(float64, amount, required)
#define OUT(COLUMN) COLUMN(utf8, category, required) COLUMN(int64, cents, required)
#define OPTIONS(OPTION) OPTION(float64, units, 100)

// The text in lower case, as far as that is ASCII, in memory that is given back when the call is over.
static mr_text lower(mr_text text)
{
    mr::span<char> made = mr::allocate<char>(text.len);
    size_t at = 0;
    for (char c : mr::chars(text)) made[at++] = c >= 'A' && c <= 'Z' ? char(c + ('a' - 'A')) : c;
    return mr_text{ made.data(), made.size() };
}

// A row in, a row out; MR_DROP filters it, mr_reject makes it a dead letter.
MR_TRANSFORM({{name}}, IN, OUT, OPTIONS)
{
    if (in->amount < 0) return mr_reject("negative amount");
    out->category = in->merchant.present ? lower(mr_trim(in->merchant.value)) : mr_text_of("unknown");
    out->cents = llround(in->amount * options->units);
    return MR_KEEP;
}

MR_EXPORT_TRANSFORMS({{name}})
