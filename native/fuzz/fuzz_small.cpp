// libFuzzer: coder small.
#include "codec/small.h"
#include "fuzz/coder_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    lissome::fuzz::fuzz_coder({data, size}, lissome::small_encode, lissome::small_decode);
    return 0;
}
