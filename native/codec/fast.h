// Static rANS for large networks: gaps as buckets with raw low bits, codes as bytes; decoded 32 lanes at a time.
// docs/coders.md has the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/indices.h"
#include "core/cpu.h"

namespace lissome {

// Throws WeightError for indices that contradict themselves.
std::vector<std::uint8_t> fast_encode(std::span<const IndicesView> group);

// Throws FormatError for data that no encoder wrote, LimitError past max_entries.
std::vector<Indices> fast_decode(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                 std::uint64_t max_entries);

// The same by an instruction set of the caller's choice, which the processor must have: all give the same result.
std::vector<Indices> fast_decode_with(Isa isa, std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                      std::uint64_t max_entries);

// Bytes that lie `step` apart.
struct Column {
    std::uint8_t* data;
    std::size_t count;
    std::ptrdiff_t step;
};

// The next tensor of a group, dense and of alphabet 256, written to columns one after another as it is decoded. `data`
// begins where the tensor does and may go on behind it; returns how many bytes the tensor takes.
std::size_t fast_decode_bytes(std::span<const std::uint8_t> data, std::span<const Column> columns);

}  // namespace lissome
