// libFuzzer: coder small. The encoder's search for the best settings codes each tensor a dozen times, so most inputs
// choose their own, bad ones too.
#include "codec/small.h"
#include "fuzz/coder_fuzz.h"

namespace {

using namespace lissome;

std::vector<std::uint8_t> encode(std::span<const IndicesView> group, fuzz::Source& source) {
    std::uint32_t alphabet = group.empty() ? 1 : 65536;
    std::uint64_t elements = 0;
    for (const IndicesView& indices : group) {
        alphabet = std::min(alphabet, indices.spec.alphabet);
        elements += indices.spec.size;
    }
    if (source.rare() && elements <= 4096) {
        return small_encode(group);
    }
    const std::uint64_t chosen = source.number(2);
    const auto split = static_cast<std::uint32_t>(alphabet == 1 ? 0 : (chosen >> 2) % (alphabet + 1));
    return small_encode_as(group, {static_cast<Pixels>(chosen & 3), split});
}

// A byte may stand for 10^5 zeros, each of which takes a step; of streams for huge tensors only the first bytes are
// left.
std::vector<Indices> decode(fuzz::Bytes data, std::span<const IndexSpec> specs, std::uint64_t max_entries) {
    constexpr std::uint64_t kHuge = std::uint64_t{1} << 20;  // more than any that is encoded
    const bool huge = std::ranges::any_of(specs, [](const IndexSpec& spec) { return spec.size > kHuge; });
    return small_decode(huge ? data.first(std::min<std::size_t>(data.size(), 8)) : data, specs, max_entries);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::fuzz_coder({data, size}, encode, decode);
    return 0;
}
