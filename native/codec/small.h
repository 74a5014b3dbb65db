// lissome's best coder: mask, signs and magnitudes of a group of tensors by context mixing and a binary range coder.
// Normative: docs/coder-small.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/indices.h"
#include "codec/small_layout.h"

namespace lissome {

// Throws WeightError for indices that contradict themselves or have 2^34 elements or more.
std::vector<std::uint8_t> small_encode(std::span<const IndicesView> group);

// How an encoder sees a tensor: whether its columns are pixels, and its first positive code.
struct SmallSettings {
    Pixels pixels = Pixels::none;
    std::uint32_t split = 0;
};

// The same with settings of the caller's choice for every tensor, instead of the best of each: coded once, not a dozen
// times. Tensors whose columns are no such pixels have none. Throws WeightError for a split outside an alphabet.
std::vector<std::uint8_t> small_encode_as(std::span<const IndicesView> group, SmallSettings settings);

// Throws FormatError for data that no encoder wrote, LimitError past max_entries.
std::vector<Indices> small_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                  std::uint64_t max_entries);

}  // namespace lissome
