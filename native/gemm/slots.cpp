#include "gemm/slots.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "gemm/pack.h"

namespace lissome {
namespace {

// Of a run for a group, and of a weight beside the runs: processor cycles, measured on AMD Zen 4.
constexpr int64_t kRunCost = 9, kRestCost = 2;

// Runs of each group in a segment where `rows[i]` rows have i weights.
int64_t cheapest_runs(const std::vector<int64_t>& rows, int64_t groups) {
    int64_t best = 0, least = std::numeric_limits<int64_t>::max();
    for (int64_t runs = 0; runs <= kSegment / 2; ++runs) {
        int64_t rest = 0;
        for (int64_t i = 2 * runs + 1; i <= kSegment; ++i) {
            rest += rows[static_cast<size_t>(i)] * (i - 2 * runs);
        }
        const int64_t cost = groups * runs * kRunCost + rest * kRestCost;
        if (cost < least) {
            least = cost;
            best = runs;
        }
    }
    return best;
}

// counts[segment · rows + row]: weights of a row in a segment.
std::vector<uint8_t> count_weights(const SparseSource& source, int64_t segments) {
    std::vector<uint8_t> counts(static_cast<size_t>(segments * source.rows), 0);
    for (const int64_t position : source.positions) {
        const int64_t segment = position % source.columns / kSegment;
        ++counts[static_cast<size_t>(segment * source.rows + position / source.columns)];
    }
    return counts;
}

}  // namespace

PackedPtr pack_slots(const SparseSource& source) {
    check_source(source);
    if (!source.values.empty() || source.table.size() > static_cast<size_t>(kSlotCodes) || source.columns >= 1 << 24) {
        throw std::invalid_argument("slots hold codes into at most 63 values, of fewer than 2^24 columns");
    }
    const int64_t segments = (source.columns + kSegment - 1) / kSegment, groups = (source.rows + kGroup - 1) / kGroup;
    const std::vector<uint8_t> counts = count_weights(source, segments);
    auto packed = std::make_shared<Packed>();
    packed->form = Form::slots;
    packed->rows = source.rows;
    packed->columns = source.columns;
    packed->length.push_back(0);
    uint64_t runs = 0;
    for (int64_t s = 0; s < segments; ++s) {
        std::vector<int64_t> rows(kSegment + 1, 0);
        for (int64_t row = 0; row < source.rows; ++row) {
            ++rows[counts[static_cast<size_t>(s * source.rows + row)]];
        }
        runs += static_cast<uint64_t>(groups * cheapest_runs(rows, groups));
        if (runs * kRunSlots >= UINT32_MAX) {
            throw std::invalid_argument("a sparse weight has fewer than 2^32 entries");
        }
        packed->length.push_back(static_cast<uint32_t>(runs));
    }
    packed->narrow_index.assign(runs * kRunSlots, static_cast<uint16_t>(kSlotCodes << 6));
    packed->start.assign(static_cast<size_t>(source.rows) + 1, 0);
    int64_t row = -1, segment = -1, met = 0;
    for (size_t i = 0; i < source.positions.size(); ++i) {
        const int64_t column = source.positions[i] % source.columns, at = source.positions[i] / source.columns;
        met = at == row && column / kSegment == segment ? met + 1 : 0;
        row = at;
        segment = column / kSegment;
        const int64_t first = packed->length[static_cast<size_t>(segment)];
        const int64_t each = (packed->length[static_cast<size_t>(segment) + 1] - first) / groups;
        if (met < 2 * each) {
            const int64_t run = first + row / kGroup * each + met / 2, slot = row % kGroup * 2 + met % 2;
            packed->narrow_index[static_cast<size_t>(run * kRunSlots + slot)] =
                static_cast<uint16_t>(column % kSegment | source.codes[i] << 6);
        } else {
            packed->row.push_back(static_cast<uint32_t>(column << 8 | source.codes[i]));
            ++packed->start[static_cast<size_t>(row) + 1];
        }
    }
    std::partial_sum(packed->start.begin(), packed->start.end(), packed->start.begin());
    packed->set_table(source.table);
    packed->table.resize(static_cast<size_t>(kSegment), 0.0f);
    return packed;
}

float exact_slots_row(const WeightView& weights, int64_t rows, int64_t columns, int64_t row, const float* x) noexcept {
    const auto* slots = static_cast<const uint16_t*>(weights.index);
    const int64_t groups = (rows + kGroup - 1) / kGroup;
    float sum = 0.0f;
    int64_t met = 0;
    const auto take = [&](int64_t column, int64_t code) {
        sum += x[column] * weights.table[code];
        met += !std::isfinite(x[column]);
    };
    for (int64_t s = 0; s * kSegment < columns; ++s) {
        const int64_t first = weights.length[s], each = (weights.length[s + 1] - first) / groups;
        for (int64_t t = 0; t < 2 * each; ++t) {
            const int64_t run = first + row / kGroup * each + t / 2;
            const int64_t slot = slots[run * kRunSlots + row % kGroup * 2 + t % 2];
            if (slot >> 6 != kSlotCodes) {
                take(s * kSegment + slot % kSegment, slot >> 6);
            }
        }
    }
    for (uint32_t i = weights.start[row]; i < weights.start[row + 1]; ++i) {
        take(weights.row[i] >> 8, weights.row[i] & 255);
    }
    const int64_t bad = std::count_if(x, x + columns, [](float value) { return !std::isfinite(value); });
    return met < bad ? std::numeric_limits<float>::quiet_NaN() : sum;
}

}  // namespace lissome
