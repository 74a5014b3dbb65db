// Form::codes: a dense weight of few values, as codes of `tile` bits. Vectors of `panel` outputs, one behind the other;
// of each, ⌈columns / (32 / bits)⌉ vectors of 32-bit words, one word an output: its codes of 32 / bits columns, the
// first in the lowest bits. Behind the last column and output codes are 0.
//
// `bytes`: the words, 64-byte aligned; `table`: the values, with zeros to 32.
#pragma once

#include "core/packed.h"

namespace lissome {

// codes: (rows, columns) into `table`, which has at most 2^bits values. Throws std::invalid_argument for others.
PackedPtr pack_codes(int64_t rows, int64_t columns, std::span<const uint8_t> codes, std::span<const float> table,
                     int64_t lanes, int64_t bits);

}  // namespace lissome
