// Crossing of Indices between Python and the native coders; every coder's binding uses these two.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <span>
#include <vector>

#include "codec/indices.h"

namespace lissome {

using Encode = std::vector<std::uint8_t> (*)(std::span<const IndicesView>);
using Decode = std::vector<Indices> (*)(std::span<const std::uint8_t>, std::span<const IndexSpec>, std::uint64_t);

// Adds NAME_encode(list of (shape, sparse, alphabet, positions or None, codes)) -> bytes
// and NAME_decode(uint8 array, list of (shape, sparse, alphabet), max_entries) -> list of (positions or None, codes).
void bind_coder(nanobind::module_& m, const char* name, Encode encode, Decode decode);

}  // namespace lissome
