#include "codec/indices.h"

#include <string>

namespace lissome {

void check_spec(const IndexSpec& spec) {
    if (spec.size >= kMaxSize) {
        throw FormatError("a tensor of " + std::to_string(spec.size) +
                          " elements; a file holds fewer than 2^48 of one");
    }
    if (spec.alphabet < 1 || spec.alphabet > kMaxAlphabet) {
        throw FormatError("an alphabet of " + std::to_string(spec.alphabet) + " codes; a file allows 1 to 65536");
    }
}

void check_indices(const IndicesView& indices) {
    const std::size_t count = std::visit([](auto codes) { return codes.size(); }, indices.codes);
    const std::uint64_t want = indices.spec.sparse ? indices.positions.size() : indices.spec.size;
    if (count != want) {
        throw WeightError(std::to_string(count) + " codes for " + std::to_string(want) + " weights");
    }
    if (std::holds_alternative<std::span<const std::uint8_t>>(indices.codes) != (indices.spec.alphabet <= 256)) {
        throw WeightError("codes of an alphabet of at most 256 take one byte each, others two");
    }
    std::int64_t previous = -1;
    for (const std::int64_t position : indices.positions) {
        if (position <= previous || static_cast<std::uint64_t>(position) >= indices.spec.size) {
            throw WeightError("positions must increase strictly below " + std::to_string(indices.spec.size) + "; " +
                              std::to_string(position) + " follows " + std::to_string(previous));
        }
        previous = position;
    }
    std::visit(
        [&](auto codes) {
            for (const std::uint32_t code : codes) {
                if (code >= indices.spec.alphabet) {
                    throw WeightError("code " + std::to_string(code) + " in an alphabet of " +
                                      std::to_string(indices.spec.alphabet));
                }
            }
        },
        indices.codes);
}

void Budget::take(std::uint64_t entries) {
    if (entries > left_) {
        throw LimitError("the stream holds " + std::to_string(entries) + " more codes, but the limit leaves " +
                         std::to_string(left_) + "; raise the limit if the file is to be trusted");
    }
    left_ -= entries;
}

}  // namespace lissome
