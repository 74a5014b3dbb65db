// What counting differing bits comes to at most: the inner loop of binary/bits.h from registers alone. Each count is of
// what it was, so that no compiler moves it out of the loop.
#include "binary/bits.h"
#include "core/peak.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int kSums = 12;  // as many as core/peak_loops.cpp keeps

void differing(int64_t rounds, float* sink) {
    Int sums[kSums];
    const Int given = Int{} + static_cast<int32_t>(*sink);  // so that no compiler knows it
    LISSOME_UNROLL
    for (int i = 0; i < kSums; ++i) {
        sums[i] = given + i;
    }
    for (int64_t round = 0; round < rounds; ++round) {
        LISSOME_UNROLL
        for (int i = 0; i < kSums; ++i) {
#if LISSOME_LOOKS_UP
            sums[i] = (Int)((Bytes)sums[i] + look_up((Bytes)given, sums[i]));
#else
            sums[i] = count(sums[i], sums[i] ^ given);
#endif
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

extern const PeakBits peak_bits;
const PeakBits peak_bits = {kSums * kEach * kLanes * (kWordChannels / kEach), differing};

}  // namespace lissome::LISSOME_ISA
