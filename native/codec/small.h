// lissome's best coder: mask, signs and magnitudes of a group of tensors by context mixing and a binary range coder.
// Normative: docs/coder-small.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/indices.h"

namespace lissome {

// Throws WeightError for indices that contradict themselves or have 2^34 elements or more.
std::vector<std::uint8_t> small_encode(std::span<const IndicesView> group);

// Throws FormatError for data that no encoder wrote, LimitError past max_entries.
std::vector<Indices> small_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                  std::uint64_t max_entries);

}  // namespace lissome
