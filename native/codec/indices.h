// What an entropy coder codes: the native twin of src/lissome/pack/coder.py, and how its memory is bounded.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "codec/errors.h"

namespace lissome {

// Sizes stay below 2^48, so that no sum of a position and a gap can overflow.
inline constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 48;
inline constexpr std::uint32_t kMaxAlphabet = 65536;

// What the (untrusted) header says of one tensor.
struct IndexSpec {
    std::uint64_t size;                // elements of the dense tensor, below kMaxSize
    bool sparse;                       // whether positions are coded
    std::uint32_t alphabet;            // codes are below it; 1 to kMaxAlphabet
    std::vector<std::uint64_t> shape;  // its product is size; only `small` looks at it
};

// Codes of one tensor, one byte each where the alphabet has at most 256, else two; positions increase strictly and are
// empty when the tensor is dense.
struct Indices {
    IndexSpec spec{};
    std::vector<std::int64_t> positions;
    std::variant<std::vector<std::uint8_t>, std::vector<std::uint16_t>> codes;
};

// The same, borrowed from the caller.
struct IndicesView {
    IndexSpec spec{};
    std::span<const std::int64_t> positions;
    std::variant<std::span<const std::uint8_t>, std::span<const std::uint16_t>> codes;
};

// Throws FormatError unless the spec keeps the limits above.
void check_spec(const IndexSpec& spec);

// Throws WeightError unless an encoder may take it: counts agree, positions increase within size, codes are in range.
void check_indices(const IndicesView& indices);

// The codes that may still be decoded, over a whole group.
class Budget {
  public:
    explicit Budget(std::uint64_t max_entries) : left_(max_entries) {}

    // Throws LimitError when fewer than `entries` are left.
    void take(std::uint64_t entries);

  private:
    std::uint64_t left_;
};

}  // namespace lissome
