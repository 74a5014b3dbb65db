// Range asymmetric numeral systems over byte tokens with a static table: 32-bit states, 16-bit words, 32 interleaved
// lanes (one lane where there are few tokens, as states cost bytes).
//
// Duda, Asymmetric numeral systems, arXiv:1311.2540 (2013), section 3: the plain published form with static tables;
// interleaving: Giesen, Interleaved entropy coders, arXiv:1402.3392 (2014).
#pragma once

#include <cstdint>
#include <span>

#include "codec/bitio.h"
#include "codec/rans_table.h"
#include "core/cpu.h"

namespace lissome {

// Appends states and words to `out`, which stands on a whole byte; nothing for a table of one token.
void rans_encode(BitWriter& out, const RansTable& table, std::span<const std::uint8_t> tokens);

// The inverse; moves `in`, which stands on a whole byte, past what it read. Throws FormatError when the words end early
// or the states do not end where the encoder began. `isa` changes the speed only.
void rans_decode(BitReader& in, const RansTable& table, std::span<std::uint8_t> tokens, Isa isa);

// Throws FormatError unless `count` tokens can be left in the data: memory is claimed after this.
void check_affordable(const BitReader& in, const RansTable& table, std::uint64_t count);

}  // namespace lissome
