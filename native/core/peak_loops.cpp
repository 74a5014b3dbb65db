// The loops that peak.cpp times, compiled once per instruction set.
#include "core/peak.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {
namespace {

// Independent sums: more than the longest latency times the most units of any processor of its kind (5 × 2), and few
// enough for 16 registers beside the two factors.
constexpr int kSums = 12;

void keep(const Vec* sums, float* sink) {
    Vec total = sums[0];
    for (int i = 1; i < kSums; ++i) {
        total = add(total, sums[i]);
    }
    float lanes[kLanes];
    store(lanes, total);
    *sink = lanes[0];
}

void multiply_add(int64_t rounds, float* sink) {
    // x ← 0.5 · x + 0.25 stays near 0.5: neither infinite nor denormal. Read from `sink`, so that no compiler knows it.
    const Vec half = broadcast(0.5f + 0.0f * *sink), quarter = broadcast(0.25f + 0.0f * *sink);
    Vec sums[kSums];
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
        sums[i] = broadcast(static_cast<float>(i));
    }
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
        for (int i = 0; i < kSums; ++i) {
            sums[i] = fma(sums[i], half, quarter);
        }
    }
    keep(sums, sink);
}

void read(const float* data, int64_t count, int64_t rounds, float* sink) {
    Vec sums[kSums];
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
        sums[i] = zero();
    }
    for (int64_t round = 0; round < rounds; ++round) {
        for (const float* p = data; p < data + count; p += kSums * kLanes) {
#pragma GCC unroll 12
            for (int i = 0; i < kSums; ++i) {
                sums[i] = add(sums[i], load(p + i * kLanes));
            }
        }
    }
    keep(sums, sink);
}

void copy(const float* from, float* to, int64_t count, int64_t rounds) {
    for (int64_t round = 0; round < rounds; ++round) {
        for (int64_t i = 0; i < count; i += kSums * kLanes) {
#pragma GCC unroll 12
            for (int j = 0; j < kSums; ++j) {
                store(to + i + j * kLanes, load(from + i + j * kLanes));
            }
        }
        asm volatile("" : : "r"(to) : "memory");  // every round is one
    }
}

}  // namespace

extern const PeakLoops peak_loops;
const PeakLoops peak_loops = {int64_t{2} * kSums * kLanes, int64_t{kSums} * kLanes, multiply_add, read, copy};

}  // namespace lissome::LISSOME_ISA
