// What dot products of codes come to at most: the inner loop of integer/dot.h from registers alone. Each takes its sum
// for weights, so that no compiler moves it out of the loop.
#include "core/peak.h"
#include "integer/dot.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int kSums = 12;  // as many as core/peak_loops.cpp keeps

LISSOME_INLINE FourWeights weights_of(Int sum) {
    Int parts[sizeof(FourWeights) / sizeof(Int)];
    for (Int& part : parts) {
        part = sum;
    }
    FourWeights made;
    __builtin_memcpy(&made, parts, sizeof made);
    return made;
}

void dots(int64_t rounds, float* sink) {
    const uint8_t codes[4] = {static_cast<uint8_t>(*sink)};  // zeros, but no compiler knows it: sums do not overflow
    const Four x = four(codes);
    Int sums[kSums];
    LISSOME_UNROLL
    for (int i = 0; i < kSums; ++i) {
        sums[i] = all(i);
    }
    for (int64_t round = 0; round < rounds; ++round) {
        LISSOME_UNROLL
        for (int i = 0; i < kSums; ++i) {
            sums[i] = dot(sums[i], x, weights_of(sums[i]));
        }
    }
    Int total = sums[0];
    LISSOME_UNROLL
    for (int i = 1; i < kSums; ++i) {
        total += sums[i];
    }
    *sink = static_cast<float>(total[0]);
}

}  // namespace

extern const PeakDots peak_dots;
const PeakDots peak_dots = {int64_t{kSums} * kLanes * 4, dots};

}  // namespace lissome::LISSOME_ISA
