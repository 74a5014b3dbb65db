// The coding of the Deep Compression paper (Han, Mao and Dally, ICLR 2016, sections 2 and 4): relative indices of a
// bounded width with filler zeros, canonical Huffman codes for them and for the codes. docs/coders.md has the bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/indices.h"

namespace lissome {

// Throws WeightError for indices that contradict themselves.
std::vector<std::uint8_t> huffman_encode(std::span<const IndicesView> group);

// Throws FormatError for data that no encoder wrote, LimitError past max_entries.
std::vector<Indices> huffman_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                    std::uint64_t max_entries);

}  // namespace lissome
