// Form::sell: sparse rows in slices of 16, interleaved, so that one vector works on 16 (or 8, or 4) rows at once and
// needs no horizontal sum (Kreutzer et al., "A unified sparse matrix data format", SIAM J. Sci. Comput. 2014, SELL-C-σ
// with C = 16 and σ = all rows). Rows are sorted by length, longest first, so that a slice wastes little.
//
// Entry t of row r of slice s lies at (start[s] + t) · 16 + r. Rows shorter than their slice are filled with entries
// that point at the column past the last, whose input kernels set to zero: 0 · w can then never meet NaN or infinity.
#pragma once

#include "core/kernel.h"

namespace lissome {

constexpr int64_t kSlice = 16;
constexpr uint32_t kNoRow = UINT32_MAX;

// A pruned weight is zero, and 0 · NaN and 0 · ∞ are NaN: set to NaN the outputs of this slice for a row x of inputs
// whose non-finite elements are not all met by stored entries. Called only for inputs that hold such elements.
void poison_slice(const WeightView& weights, int64_t slice, const float* x, int64_t columns, float* y) noexcept;

}  // namespace lissome
