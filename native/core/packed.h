// Packed weights: made once when a network is compiled, owned here, seen by kernels as a WeightView.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/kernel.h"
#include "core/lines.h"

namespace lissome {

// Sparse rows as they arrive: flat row-major positions, strictly increasing, and a value or a code for each.
struct SparseSource {
    int64_t rows = 0, columns = 0;
    std::span<const int64_t> positions;
    std::span<const float> values;   // as many as positions, or empty
    std::span<const uint8_t> codes;  // as many as positions, or empty
    std::span<const float> table;    // what codes point into, 1 to 256 entries
};

// Throws std::invalid_argument unless every position and code is in range.
void check_source(const SparseSource& source);

class Packed {
  public:
    Form form = Form::none;
    int64_t rows = 0, columns = 0;
    int64_t tile = 0, panel = 0;                     // as in Kernel; Form::blocks: panel in vectors
    ConvShape conv{};                                // Form::taps: the shape that the offsets belong to, with n = 1
    std::vector<float, LineAllocator<float>> dense;  // rows, panels, filters, blocks
    size_t plain = 0;  // from here on, dense holds the weights themselves; before that, what was made of them
    std::vector<uint32_t> start, length, row;
    std::vector<uint16_t> narrow_index;  // one of the two, the narrow one where offsets fit
    std::vector<uint32_t> wide_index;
    std::vector<float> values;  // one of the two
    std::vector<uint8_t> codes;
    std::vector<float> table;  // zeros after the last entry, to a multiple of 32: a kernel may load it whole
    std::vector<int8_t, LineAllocator<int8_t>> bytes_of_filters;  // bytes
    std::vector<int32_t> offset;
    std::vector<float> scale;
    int64_t entries = 0, blocks = 0;

    void set_table(std::span<const float> values_of_codes);
    WeightView view() const noexcept;
    size_t bytes() const noexcept;
};

using PackedPtr = std::shared_ptr<const Packed>;

// Dense (rows, columns) kept row-major.
PackedPtr pack_rows(std::span<const float> weight, int64_t rows, int64_t columns);

}  // namespace lissome
