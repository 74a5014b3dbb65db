#include <cstring>
#include <stdexcept>
#include <vector>

#include "gemm/codes.h"

namespace lissome {

PackedPtr pack_codes(int64_t rows, int64_t columns, std::span<const uint8_t> codes, std::span<const float> table,
                     int64_t lanes, int64_t bits) {
    const int64_t extents[] = {rows, columns};
    if (static_cast<int64_t>(codes.size()) != checked_product(extents, 2)) {
        throw std::invalid_argument("a weight holds rows × columns codes");
    }
    if (bits < 4 || bits > 5 || lanes < 1 || lanes > 16 || table.empty() || table.size() > size_t{1} << bits) {
        throw std::invalid_argument("codes of 4 or 5 bits choose from at most 16 or 32 values");
    }
    for (const uint8_t code : codes) {
        if (code >= table.size()) {
            throw std::invalid_argument("a code points past its table");
        }
    }
    const int64_t places = 32 / bits, words = (columns + places - 1) / places, vectors = (rows + lanes - 1) / lanes;
    auto packed = std::make_shared<Packed>();
    packed->form = Form::codes;
    packed->rows = rows;
    packed->columns = columns;
    packed->panel = lanes;
    packed->tile = bits;
    packed->set_table(table);
    packed->bytes_of_filters.assign(static_cast<size_t>(vectors * words * lanes * 4), 0);
    for (int64_t row = 0; row < rows; ++row) {
        const uint8_t* from = codes.data() + row * columns;
        int8_t* to = packed->bytes_of_filters.data() + (row / lanes * words * lanes + row % lanes) * 4;
        for (int64_t first = 0; first < columns; first += places, to += lanes * 4) {
            uint32_t word = 0;
            for (int64_t i = 0; i < places && first + i < columns; ++i) {
                word |= static_cast<uint32_t>(from[first + i]) << (bits * i);
            }
            std::memcpy(to, &word, sizeof word);
        }
    }
    return packed;
}

}  // namespace lissome
