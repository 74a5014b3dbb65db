// A coder for short texts: context mixing over bytes, started by reading a text known to both sides.
// Normative: docs/coder-small.md, section 5.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lissome {

// The model has six tables of 2^table_bits counters. A file's have 2^16; smaller ones, for many short texts, code
// alike.
inline constexpr unsigned kTextTableBits = 16;

std::vector<std::uint8_t> text_encode(std::span<const std::uint8_t> data, std::span<const std::uint8_t> prime,
                                      unsigned table_bits = kTextTableBits);

// Throws FormatError for data that no encoder wrote, LimitError for a text of more than max_bytes.
std::vector<std::uint8_t> text_decode(std::span<const std::uint8_t> data, std::span<const std::uint8_t> prime,
                                      std::uint64_t max_bytes, unsigned table_bits = kTextTableBits);

}  // namespace lissome
