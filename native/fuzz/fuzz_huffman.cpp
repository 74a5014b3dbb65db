// libFuzzer: coder huffman.
#include "codec/huffman.h"
#include "fuzz/coder_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lissome;
    const auto encode = [](std::span<const IndicesView> group, fuzz::Source&) { return huffman_encode(group); };
    fuzz::fuzz_coder({data, size}, encode, huffman_decode);
    return 0;
}
