// Form::slots: sparse rows whose values are few, for products with one row of x. What EIE (Han et al., ISCA 2016) does
// with a pointer, a gap and a code in hardware, laid out so that a vector unit looks inputs and values up in registers:
// columns are cut into segments of 64 and rows into groups of 16; a weight is a slot of 16 bits, its column within the
// segment in the lower six and its code in the next six.
//
// Segment s gives every group R_s runs of 32 slots: slot 2i + o of run t is the (2t + o)-th weight of the group's row i
// in this segment. Rows that have fewer are filled up with code 63, whose value is zero; weights that a row has more of
// lie behind, row by row, as column · 256 + code. R_s is what makes slots and the rest together cheapest.
//
// `index`: slots, [segment][group][run][32]; `length`: first run of each segment; `start`: first of the rest of each
// row; `row`: the rest; `table`: 64 values.
#pragma once

#include "core/kernel.h"

namespace lissome {

constexpr int64_t kSegment = 64, kGroup = 16, kRunSlots = 32, kSlotCodes = 63;

// One output before bias, with NaN where a pruned weight meets what is not finite; for rows of x that hold such.
float exact_slots_row(const WeightView& weights, int64_t rows, int64_t columns, int64_t row, const float* x) noexcept;

}  // namespace lissome
