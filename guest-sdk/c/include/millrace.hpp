// millrace.h with spans, for C++17 and newer. It needs no C++ library and no exceptions; the macros are those of C.
#ifndef MILLRACE_HPP
#define MILLRACE_HPP

#include "millrace.h"

namespace mr {

// Some values that lie one after the other, and belong to somebody else.
template <class T> class span {
public:
    constexpr span() = default;
    constexpr span(T *first, size_t count) : first_(first), count_(count) {}
    template <size_t N> constexpr span(T (&array)[N]) : first_(array), count_(N) {}

    constexpr T *begin() const { return first_; }
    constexpr T *end() const { return first_ + count_; }
    constexpr T *data() const { return first_; }
    constexpr size_t size() const { return count_; }
    constexpr bool empty() const { return count_ == 0; }
    // Checked: a trap with its last words, not somebody else's memory.
    T &operator[](size_t index) const
    {
        if (index >= count_) mr_panic("an index beyond a span's end");
        return first_[index];
    }
    span subspan(size_t from, size_t count) const
    {
        if (from > count_ || count > count_ - from) mr_panic("a part beyond a span's end");
        return span(first_ + from, count);
    }

private:
    T *first_ = nullptr;
    size_t count_ = 0;
};

inline span<const char> chars(mr_text text) { return { text.ptr, text.len }; }
inline span<const uint8_t> bytes(mr_bytes bytes) { return { bytes.ptr, bytes.len }; }
// Bytes of a state, which lie in memory of the call, to be written to.
inline span<uint8_t> writable(mr_bytes bytes) { return { const_cast<uint8_t *>(bytes.ptr), bytes.len }; }
inline mr_text text(span<const char> chars) { return { chars.data(), chars.size() }; }
inline mr_bytes binary(span<const uint8_t> bytes) { return { bytes.data(), bytes.size() }; }
inline bool operator==(mr_text a, mr_text b) { return mr_equal(a, b); }
inline bool operator<(mr_text a, mr_text b) { return mr_compare(a, b) < 0; }
inline span<const mr_entry> entries(const mr_map &map) { return { map.entries, map.len }; }

// Memory for `count` values, until the call is over.
template <class T> span<T> allocate(size_t count)
{
    if (count > SIZE_MAX / sizeof(T)) mr_panic("more memory than there is");
    return { static_cast<T *>(mr_alloc(count * sizeof(T))), count };
}

// The numbers of a column, one a row; what stands for a null means nothing.
template <class T> span<const T> values(const mr_column &column)
{
    return { static_cast<const T *>(column.values), column.rows };
}
// Those of a list's items.
template <class T> span<const T> values(mr_list list) { return values<T>(*list.items).subspan(list.start, list.len); }

// Room for the numbers of a column that goes out.
inline span<double> fill_float64(mr_builder &builder, size_t rows) { return { mr_fill_float64(&builder, rows), rows }; }
inline span<int64_t> fill_int64(mr_builder &builder, size_t rows) { return { mr_fill_int64(&builder, rows), rows }; }

// The code points of a text: for (int32_t c : mr::code_points(text)).
class code_points {
public:
    explicit code_points(mr_text text) : text_(text) {}
    struct iterator {
        mr_text text;
        size_t next;
        int32_t now;
        int32_t operator*() const { return now; }
        iterator &operator++() { return now = mr_next_code_point(text, &next), *this; }
        bool operator!=(const iterator &) const { return now >= 0; }
    };
    iterator begin() const
    {
        iterator first{ text_, 0, 0 };
        return ++first;
    }
    iterator end() const { return { text_, text_.len, -1 }; }

private:
    mr_text text_;
};

} // namespace mr
#endif
