// Canonical, length-limited Huffman codes: how long they are, how a file states them, how they are read.
//
// Lengths by package-merge (Larmore and Hirschberg, JACM 1990): optimal among codes no longer than the limit. Only
// lengths travel; the codes follow by counting (shorter first, then by symbol).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/bitio.h"

namespace lissome {

// An alphabet of 65,537 needs 17 bits at least; two codes of 20 fit in one window of 57.
inline constexpr unsigned kMaxCodeLength = 20;

struct HuffmanCode {
    std::vector<std::uint32_t> symbols;  // those in use, increasing
    std::vector<std::uint8_t> lengths;   // of each, in bits; a lone symbol has length 0
};

// `counts` by symbol; those with 0 get no code. At least one is not 0.
HuffmanCode make_code(std::span<const std::uint64_t> counts);

// The table as the file states it: runs of symbols in use, then each length as its difference from the one before.
void write_code(BitWriter& out, const HuffmanCode& code, std::uint32_t alphabet);

// The inverse; throws FormatError unless the lengths are within 1 to kMaxCodeLength and fill the code space exactly.
HuffmanCode read_code(BitReader& in, std::uint32_t alphabet);

// Bits of each symbol's code, ready to write.
struct EncodeTable {
    EncodeTable(const HuffmanCode& code, std::uint32_t alphabet);
    void put(BitWriter& out, std::uint32_t symbol) const { out.put(codes[symbol], lengths[symbol]); }

    std::vector<std::uint32_t> codes;
    std::vector<std::uint8_t> lengths;
};

// Short codes are looked up in one step; long ones, which are rare, by comparing with the last code of each length.
class DecodeTable {
  public:
    explicit DecodeTable(const HuffmanCode& code);

    struct Hit {
        std::uint32_t symbol;
        unsigned length;
    };

    // The symbol whose code begins `window` (see BitReader::window). Every window begins with one.
    Hit find(std::uint64_t window) const {
        const std::uint32_t entry = first_[(window >> 1) >> (63 - first_bits_)];
        const unsigned length = entry & 31;
        return length <= first_bits_ ? Hit{entry >> 5, length} : find_long(window);
    }

    unsigned shortest() const { return shortest_; }
    unsigned longest() const { return longest_; }

  private:
    Hit find_long(std::uint64_t window) const;

    unsigned first_bits_ = 0;
    unsigned shortest_ = 0;
    unsigned longest_ = 0;
    std::vector<std::uint32_t> first_;    // symbol << 5 | length, by the window's first bits; 31: a long code
    std::vector<std::uint32_t> symbols_;  // in the order of their codes
    std::array<std::uint32_t, kMaxCodeLength + 1> end_{};     // by length: one past its last code
    std::array<std::uint32_t, kMaxCodeLength + 1> offset_{};  // by length: end_ minus this is its end in symbols_
};

}  // namespace lissome
