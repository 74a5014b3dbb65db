// libFuzzer: coder fast. What the widest instruction set accepts, or refuses, the scalar code does too.
#include "codec/fast.h"
#include "fuzz/coder_fuzz.h"

namespace {

using namespace lissome;

// What decodes as a whole decodes to columns too, and takes all bytes.
void decode_into_columns(fuzz::Bytes data, const Indices& whole) {
    const auto& codes = std::get<std::vector<std::uint8_t>>(whole.codes);
    const std::size_t half = codes.size() / 2;
    std::vector<std::uint8_t> apart(3 * codes.size());
    const Column columns[] = {{apart.data(), half, 3}, {apart.data() + 3 * half, codes.size() - half, 3}};
    fuzz::require(fast_decode_bytes(data, columns) == data.size() || codes.empty());
    for (std::size_t i = 0; i < codes.size(); ++i) {
        fuzz::require(apart[3 * i] == codes[i]);
    }
}

std::vector<Indices> decode_both_ways(fuzz::Bytes data, std::span<const IndexSpec> specs, std::uint64_t max_entries) {
    const auto scalar = [](auto... arguments) { return fast_decode_with(Isa::scalar, arguments...); };
    const auto expected = fuzz::decode_hostile(data, specs, max_entries, scalar);
    try {
        std::vector<Indices> group = fast_decode(data, specs, max_entries);
        fuzz::require(expected.has_value() && fuzz::same(group, *expected));
        if (group.size() == 1 && !specs[0].sparse && specs[0].alphabet == 256) {
            decode_into_columns(data, group[0]);
        }
        return group;
    } catch (const std::exception&) {
        fuzz::require(!expected.has_value());
        throw;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto encode = [](std::span<const IndicesView> group, fuzz::Source&) { return fast_encode(group); };
    fuzz::fuzz_coder({data, size}, encode, decode_both_ways);
    return 0;
}
