// A group of tensors as huffman and fast lay it out: one after the other, a count of survivors before each sparse one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec/bitio.h"
#include "codec/indices.h"

namespace lissome {

// `encode(out, indices)` appends one tensor.
template <class Encode>
std::vector<std::uint8_t> encode_group(std::span<const IndicesView> group, Encode encode) {
    BitWriter out;
    for (const IndicesView& indices : group) {
        check_spec(indices.spec);
        check_indices(indices);
        if (indices.spec.sparse) {
            out.put_count(indices.positions.size());
        }
        encode(out, indices);
    }
    return out.finish();
}

// `decode(in, entries, indices)` fills one tensor, whose spec is set and whose entries the budget has paid for.
template <class Decode>
std::vector<Indices> decode_group(std::span<const std::uint8_t> data, std::span<const IndexSpec> specs,
                                  std::uint64_t max_entries, Decode decode) {
    BitReader in(data);
    Budget budget(max_entries);
    std::vector<Indices> group;
    for (const IndexSpec& spec : specs) {
        check_spec(spec);
        const std::uint64_t entries = spec.sparse ? in.get_count() : spec.size;
        if (entries > spec.size) {
            throw FormatError(std::to_string(entries) + " weights in a tensor of " + std::to_string(spec.size));
        }
        budget.take(entries);
        group.emplace_back().spec = spec;
        decode(in, entries, group.back());
    }
    in.finish();
    return group;
}

}  // namespace lissome
