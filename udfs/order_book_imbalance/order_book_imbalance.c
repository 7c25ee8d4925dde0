/* order_book_imbalance: which side of an order book is the heavier one, near its top.
 *
 * Of the first `levels` (5) of each side: imbalance = (bids − asks) / (bids + asks) by size, from −1, all asks, to 1, all bids;
 * null where there is no size at all. microprice is the mid weighted by the size that stands against each price,
 * (bid · ask size + ask · bid size) / (bid size + ask size), which leads the mid where one side is thin (Stoikov 2018). */
#include <math.h>
#include <millrace.h>

#define BOOK(COLUMN) \
    COLUMN(list_float64, bid_prices, required) COLUMN(list_float64, bid_sizes, required) \
    COLUMN(list_float64, ask_prices, required) COLUMN(list_float64, ask_sizes, required)
#define PRESSURE(COLUMN) \
    COLUMN(float64, imbalance, nullable) COLUMN(float64, microprice, nullable) COLUMN(float64, spread, nullable)
#define LEVELS(OPTION) OPTION(int64, levels, 5)

/* The sum of the first `levels` sizes; negative where one of them is no size. */
static double depth(mr_list sizes, int64_t levels)
{
    double sum = 0;
    for (size_t i = 0; i < sizes.len && (int64_t)i < levels; i++) {
        double size = mr_item_is_present(sizes, i) ? mr_item(float64, sizes, i) : -1;
        if (!(size >= 0) || !isfinite(size)) return -1;
        sum += size;
    }
    return sum;
}

MR_TRANSFORM(order_book_imbalance, BOOK, PRESSURE, LEVELS)
{
    if (in->bid_prices.len != in->bid_sizes.len || in->ask_prices.len != in->ask_sizes.len)
        return mr_reject("not a size for each price");
    double bids = depth(in->bid_sizes, options->levels), asks = depth(in->ask_sizes, options->levels);
    if (bids < 0 || asks < 0) return mr_reject("a size that is not a number from 0 on");
    if (bids + asks > 0) {
        out->imbalance.present = true;
        out->imbalance.value = (bids - asks) / (bids + asks);
    }
    if (in->bid_prices.len == 0 || in->ask_prices.len == 0) return MR_KEEP;
    if (!mr_item_is_present(in->bid_prices, 0) || !mr_item_is_present(in->ask_prices, 0)) return MR_KEEP;
    double bid = mr_item(float64, in->bid_prices, 0), ask = mr_item(float64, in->ask_prices, 0);
    double bid_size = mr_item(float64, in->bid_sizes, 0), ask_size = mr_item(float64, in->ask_sizes, 0);
    out->spread.present = true;
    out->spread.value = ask - bid;
    if (bid_size + ask_size > 0) {
        out->microprice.present = true;
        out->microprice.value = (bid * ask_size + ask * bid_size) / (bid_size + ask_size);
    }
    return MR_KEEP;
}

MR_CHECK(order_book_imbalance) { return options->levels < 1 ? "`levels` must be at least 1" : NULL; }

MR_EXPORT_TRANSFORMS(order_book_imbalance)
