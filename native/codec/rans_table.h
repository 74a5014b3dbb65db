// Static frequency tables for rANS over tokens of one byte: how counts become frequencies that sum to a power of two,
// how a file states them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/bitio.h"

namespace lissome {

inline constexpr unsigned kMaxScaleBits = 12;

// Frequencies of the tokens in use; they sum to 2^scale_bits. A lone token costs nothing: scale_bits is then 0.
struct RansTable {
    unsigned scale_bits = 0;
    std::vector<std::uint32_t> tokens;       // increasing, below 256
    std::vector<std::uint32_t> frequencies;  // of each, at least 1

    std::uint32_t largest() const;
};

// The table that makes tokens with these `counts`, and itself, smallest; integer arithmetic only, so that every machine
// chooses the same. At least one count is not 0.
RansTable make_table(std::span<const std::uint64_t> counts);

// The table as the file states it: runs of tokens in use, then each frequency as its difference from the one before.
void write_table(BitWriter& out, const RansTable& table, std::uint32_t alphabet);

// The inverse; throws FormatError unless the frequencies are positive and sum to 2^scale_bits.
RansTable read_table(BitReader& in, std::uint32_t alphabet);

// By slot (a state's low scale_bits): token, frequency - 1 << 8, slot - first slot of the token << 20.
using RansSlots = std::array<std::uint32_t, std::size_t{1} << kMaxScaleBits>;
void fill_slots(const RansTable& table, RansSlots& slots);

}  // namespace lissome
