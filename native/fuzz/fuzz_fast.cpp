// libFuzzer: coder fast. What the widest instruction set accepts, or refuses, the scalar code does too.
#include "codec/fast.h"
#include "fuzz/coder_fuzz.h"

namespace {

using namespace lissome;

std::vector<Indices> decode_both_ways(fuzz::Bytes data, std::span<const IndexSpec> specs, std::uint64_t max_entries) {
    const auto scalar = [](auto... arguments) { return fast_decode_with(Isa::scalar, arguments...); };
    const auto expected = fuzz::decode_hostile(data, specs, max_entries, scalar);
    try {
        std::vector<Indices> group = fast_decode(data, specs, max_entries);
        fuzz::require(expected.has_value() && fuzz::same(group, *expected));
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
