#include "codec/logistic.h"

namespace lissome {

Logistic::Tables::Tables() {
    // exp(-x / 256) by repeated multiplication, in 2^-32.
    constexpr std::uint64_t kDecay = 4278222805;  // exp(-1 / 256)
    std::uint64_t decayed = std::uint64_t{1} << 32;
    for (int x = 0; x <= kLogitMax; ++x) {
        const std::uint64_t denominator = (std::uint64_t{1} << 32) + decayed;
        const auto p = static_cast<std::uint32_t>(((std::uint64_t{1} << 48) + denominator / 2) / denominator);
        squash[static_cast<std::size_t>(kLogitMax + x)] = static_cast<std::uint16_t>(p < 65535 ? p : 65535);
        squash[static_cast<std::size_t>(kLogitMax - x)] = static_cast<std::uint16_t>(65536 - (p < 65535 ? p : 65535));
        decayed = (decayed * kDecay) >> 32;
    }
    int logit = -kLogitMax;
    for (std::uint32_t p = 0; p < 65536; ++p) {
        while (logit < kLogitMax && squash[static_cast<std::size_t>(logit + 1 + kLogitMax)] <= p) {
            ++logit;
        }
        stretch[p] = static_cast<std::int16_t>(logit);
    }
    // log2 of 1 to 2 bit by bit: squaring doubles the logarithm.
    for (std::uint64_t m = 0; m < 2048; ++m) {
        std::uint64_t y = (2048 + m) << 20;  // in 2^-31
        std::uint64_t log2 = 0;              // in 2^-24
        for (int i = 0; i < 24; ++i) {
            y = (y * y) >> 31;
            log2 <<= 1;
            if (y >> 32 != 0) {
                y >>= 1;
                ++log2;
            }
        }
        ln[m] = static_cast<std::int32_t>((log2 * kLn2) >> 24);
    }
}

const Logistic::Tables Logistic::tables_;

}  // namespace lissome
