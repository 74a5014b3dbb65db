// The inner loop of rANS decoding, compiled once per instruction set; every one gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lissome {

inline constexpr std::size_t kRansLanes = 32;

// Where decoding stands. Token i belongs to lane i % kRansLanes; a lane whose state has fallen below 2^16 takes the
// next word of two bytes (little-endian), lanes in rising order.
struct RansCursor {
    const std::uint32_t* slots;  // RansSlots
    unsigned scale_bits;
    std::uint32_t* states;      // kRansLanes, each at least 2^16
    const std::uint8_t* words;  // the next word
    std::size_t words_left;
    std::uint8_t* out;  // the next token, of lane 0
    std::size_t out_left;
};

// Decodes rounds of kRansLanes tokens and moves the cursor, while kRansLanes words and tokens are left: no round takes
// more words, so none is read past the end.
using RansRounds = void (*)(RansCursor&);

namespace scalar {
void rans_rounds(RansCursor& cursor);
}
namespace neon {
void rans_rounds(RansCursor& cursor);
}
namespace avx2 {
void rans_rounds(RansCursor& cursor);
}
namespace avx512 {
void rans_rounds(RansCursor& cursor);
}

}  // namespace lissome
