// Range asymmetric numeral systems over byte tokens with a static table: 32-bit states, 16-bit words, 32 interleaved
// lanes (one lane where there are few tokens, as states cost bytes).
//
// Duda, Asymmetric numeral systems, arXiv:1311.2540 (2013), section 3: the plain published form with static tables;
// interleaving: Giesen, Interleaved entropy coders, arXiv:1402.3392 (2014).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "codec/bitio.h"
#include "codec/rans_rounds.h"
#include "codec/rans_table.h"
#include "core/cpu.h"

namespace lissome {

// Appends states and words to `out`, which stands on a whole byte; nothing for a table of one token.
void rans_encode(BitWriter& out, const RansTable& table, std::span<const std::uint8_t> tokens);

// Decodes tokens in pieces, so that they need not all be in memory at once. `isa` changes the speed only.
class RansDecoder {
  public:
    // `in` stands on a whole byte; `count` tokens follow. Throws FormatError where their states are damaged.
    RansDecoder(const BitReader& in, const RansTable& table, std::size_t count, Isa isa);

    // The next tokens: all that are left, or a multiple of kRansLanes. Throws FormatError when the words end early.
    void read(std::span<std::uint8_t> tokens);

    // Moves `in` past what was read, when all was. Throws FormatError when the states do not end where the encoder
    // began.
    void finish(BitReader& in) const;

  private:
    const std::uint8_t* begin_ = nullptr;
    std::size_t lanes_ = 0;  // none: every token is `only_`
    std::uint8_t only_ = 0;
    Isa isa_;
    RansSlots slots_;
    std::array<std::uint32_t, kRansLanes> states_;
    RansCursor at_{};
};

// All tokens at once; moves `in` past what it read. Throws as RansDecoder does.
void rans_decode(BitReader& in, const RansTable& table, std::span<std::uint8_t> tokens, Isa isa);

// Throws FormatError unless `count` tokens can be left in the data: memory is claimed after this.
void check_affordable(const BitReader& in, const RansTable& table, std::uint64_t count);

}  // namespace lissome
