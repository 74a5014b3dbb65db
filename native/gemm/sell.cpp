#include "gemm/sell.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "gemm/pack.h"

namespace lissome {
namespace {

// First entry of every row, and one past the last: positions are sorted, so rows are contiguous.
std::vector<uint32_t> row_starts(const SparseSource& source) {
    std::vector<uint32_t> starts(static_cast<size_t>(source.rows) + 1, 0);
    for (const int64_t position : source.positions) {
        ++starts[static_cast<size_t>(position / source.columns) + 1];
    }
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    return starts;
}

template <class Index>
void fill(const SparseSource& source, const std::vector<uint32_t>& starts, Packed& packed, std::vector<Index>& index) {
    const auto width = static_cast<size_t>(kSlice);
    const size_t slots = static_cast<size_t>(packed.start.back()) * width;
    index.assign(slots, static_cast<Index>(source.columns));
    const bool coded = !source.table.empty();
    packed.codes.assign(coded ? slots : 0, 0);
    packed.values.assign(coded ? 0 : slots, 0.0f);
    for (size_t lane = 0; lane < packed.row.size(); ++lane) {
        const size_t base = packed.start[lane / width] * width + lane % width;
        for (size_t t = 0; t < packed.length[lane]; ++t) {
            const size_t from = starts[packed.row[lane]] + t, to = base + t * width;
            index[to] = static_cast<Index>(source.positions[from] % source.columns);
            if (coded) {
                packed.codes[to] = source.codes[from];
            } else {
                packed.values[to] = source.values[from];
            }
        }
    }
}

template <class Index>
void poison(const WeightView& weights, int64_t slice, const float* x, int64_t columns, float* y) noexcept {
    const int64_t bad = std::count_if(x, x + columns, [](float value) { return !std::isfinite(value); });
    for (int64_t lane = slice * kSlice; lane < (slice + 1) * kSlice; ++lane) {
        if (weights.row[lane] == kNoRow) {
            continue;
        }
        const auto* index =
            static_cast<const Index*>(weights.index) + int64_t{weights.start[slice]} * kSlice + lane % kSlice;
        int64_t met = 0;
        for (int64_t t = 0; t < weights.length[lane]; ++t) {
            met += !std::isfinite(x[index[t * kSlice]]);
        }
        if (met < bad) {
            y[weights.row[lane]] = std::numeric_limits<float>::quiet_NaN();
        }
    }
}

}  // namespace

PackedPtr pack_sell(const SparseSource& source) {
    check_source(source);
    const std::vector<uint32_t> starts = row_starts(source);
    const auto length = [&](uint32_t row) { return starts[row + 1] - starts[row]; };
    std::vector<uint32_t> order(static_cast<size_t>(source.rows));
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return length(a) > length(b); });

    auto packed = std::make_shared<Packed>();
    packed->form = Form::sell;
    packed->rows = source.rows;
    packed->columns = source.columns;
    packed->set_table(source.table);
    packed->start.push_back(0);
    const auto width = static_cast<size_t>(kSlice);
    uint64_t steps = 0;
    for (size_t first = 0; first < order.size(); first += width) {
        for (size_t lane = first; lane < first + width; ++lane) {
            packed->row.push_back(lane < order.size() ? order[lane] : kNoRow);
            packed->length.push_back(lane < order.size() ? length(order[lane]) : 0);
        }
        steps += packed->length[first];
        if (steps * width >= UINT32_MAX) {
            throw std::invalid_argument("a sparse weight has fewer than 2^32 entries");
        }
        packed->start.push_back(static_cast<uint32_t>(steps));
    }
    if (source.columns < 65'536) {
        fill(source, starts, *packed, packed->narrow_index);
    } else {
        fill(source, starts, *packed, packed->wide_index);
    }
    return packed;
}

void poison_slice(const WeightView& weights, int64_t slice, const float* x, int64_t columns, float* y) noexcept {
    if (weights.wide) {
        poison<uint32_t>(weights, slice, x, columns, y);
    } else {
        poison<uint16_t>(weights, slice, x, columns, y);
    }
}

}  // namespace lissome
