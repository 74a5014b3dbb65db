// libFuzzer: coder huffman.
#include "codec/huffman.h"
#include "fuzz/coder_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    lissome::fuzz::fuzz_coder({data, size}, lissome::huffman_encode, lissome::huffman_decode);
    return 0;
}
