#include "core/packed.h"

#include <stdexcept>

namespace lissome {

void check_source(const SparseSource& source) {
    const int64_t extents[] = {source.rows, source.columns};
    const int64_t total = checked_product(extents, 2);
    const size_t count = source.positions.size();
    if (count >= UINT32_MAX) {
        throw std::invalid_argument("a sparse weight has fewer than 2^32 entries");
    }
    const bool coded = !source.table.empty();
    if (coded ? source.codes.size() != count || source.table.size() > 256 : source.values.size() != count) {
        throw std::invalid_argument("one value, or one code into at most 256, for each position");
    }
    for (const uint8_t code : source.codes) {
        if (coded && code >= source.table.size()) {
            throw std::invalid_argument("a code points past its table");
        }
    }
    int64_t previous = -1;
    for (const int64_t position : source.positions) {
        if (position <= previous || position >= total) {
            throw std::invalid_argument("positions increase strictly within the weight");
        }
        previous = position;
    }
}

void Packed::set_table(std::span<const float> values_of_codes) {
    table.assign(values_of_codes.begin(), values_of_codes.end());
    entries = static_cast<int64_t>(table.size());
    table.resize((table.size() + 31) / 32 * 32, 0.0f);
}

WeightView Packed::view() const noexcept {
    WeightView view;
    view.dense = dense.data();
    view.start = start.data();
    view.length = length.data();
    view.row = row.data();
    view.wide = narrow_index.empty() && !wide_index.empty();
    view.index = view.wide ? static_cast<const void*>(wide_index.data()) : narrow_index.data();
    view.coded = !table.empty();
    view.value = view.coded ? static_cast<const void*>(codes.data()) : values.data();
    view.table = table.data();
    view.entries = entries;
    view.bytes = bytes_of_filters.data();
    view.offset = offset.data();
    view.scale = scale.data();
    view.blocks = blocks;
    return view;
}

size_t Packed::bytes() const noexcept {
    return 4 * (dense.size() + start.size() + length.size() + row.size() + wide_index.size() + values.size() +
                table.size() + offset.size() + scale.size()) +
           bytes_of_filters.size() + 2 * narrow_index.size() + codes.size();
}

PackedPtr pack_rows(std::span<const float> weight, int64_t rows, int64_t columns) {
    const int64_t extents[] = {rows, columns};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 2)) {
        throw std::invalid_argument("a weight holds rows × columns values");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::rows;
    packed->rows = rows;
    packed->columns = columns;
    packed->dense.assign(weight.begin(), weight.end());
    return packed;
}

}  // namespace lissome
