// The register block of every dense kernel on blocked data: P pixels by V vectors of output channels. For each input
// channel V vectors of weights are loaded, P numbers of the input broadcast, and P · V multiply-adds done: P and V are
// picked so that the sums fill the register file, which keeps loads below half of the multiply-adds.
//
// Every loop over P or V must be unrolled whole, or the sums live in memory: hence the pragmas.
// Included by sources compiled once per instruction set.
#pragma once

#include "core/simd.h"

#define LISSOME_UNROLL _Pragma("GCC unroll 32")

namespace lissome::LISSOME_ISA {

// Vectors of output channels in a panel of weights at most, and pixels in a block of V vectors at most.
#if LISSOME_ISA_avx512
constexpr int kMaxVectors = 4;
constexpr int kPixels[kMaxVectors + 1] = {0, 14, 14, 9, 6};  // V = 1 … 4: 14 to 28 sums in 32 registers
#elif LISSOME_ISA_neon
constexpr int kMaxVectors = 4;
constexpr int kPixels[kMaxVectors + 1] = {0, 12, 12, 8, 6};
#else
constexpr int kMaxVectors = 4;
constexpr int kPixels[kMaxVectors + 1] = {0, 12, 6, 4, 3};  // 16 registers
#endif

// The same pointer, of which the compiler knows nothing: or it would keep inputs that the next channel reads again in
// registers that are not there.
LISSOME_INLINE const float* opaque(const float* p) {
    asm("" : "+r"(p));
    return p;
}

constexpr int kLine = 16;  // floats in a cache line

// For what lies far from what was read before: no stream for a processor to follow.
template <int Floats>
LISSOME_INLINE void prefetch(const float* x) {
    LISSOME_UNROLL
    for (int i = 0; i < Floats; i += kLine) {
        __builtin_prefetch(x + i);
    }
}

template <int P, int V>
struct Sums {
    Vec at[P][V];
};

template <int P, int V>
LISSOME_INLINE void clear(Sums<P, V>& sums) {
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            sums.at[i][j] = zero();
        }
    }
}

// Whether whole blocks of channels are summed without a loop: where vectors are short, the end of a loop of so few
// channels, mispredicted, would take a fifth of the time; where they are long, it is lost among the multiply-adds.
constexpr bool kUnrolled = kLanes <= 8;

// One channel: sums[i][j] += x[i · distance] · w[j], for pixels from Begin to End. The fewer of inputs and weights are
// held in registers.
template <int Begin, int End, int P, int V>
LISSOME_INLINE void accumulate_one(Sums<P, V>& sums, const float* x, int64_t distance, const float* w) {
    if constexpr (P < V) {
        Vec input[P];
        LISSOME_UNROLL
        for (int i = Begin; i < End; ++i) {
            input[i] = broadcast(x[i * distance]);
        }
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            const Vec weight = load(w + j * kLanes);
            LISSOME_UNROLL
            for (int i = Begin; i < End; ++i) {
                sums.at[i][j] = fma(input[i], weight, sums.at[i][j]);
            }
        }
        return;
    }
    Vec weight[V];
    LISSOME_UNROLL
    for (int j = 0; j < V; ++j) {
        weight[j] = load(w + j * kLanes);
    }
    LISSOME_UNROLL
    for (int i = Begin; i < End; ++i) {
        const Vec input = broadcast(x[i * distance]);
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            sums.at[i][j] = fma(input, weight[j], sums.at[i][j]);
        }
    }
}

// sums[i][j] += Σ_c x[i · D + c] · w[c][j], c below `run`, in order, for pixels from Begin to End. D: floats between
// neighbouring pixels of the block (kLanes on blocked data), or 0 when that is only known at run time (`distance`).
template <int Begin, int End, int D, int P, int V>
LISSOME_INLINE void accumulate_some(Sums<P, V>& sums, const float* x, int64_t distance, const float* w, int64_t run) {
    if (kUnrolled && D >= kLanes && run == kLanes) {
        x = opaque(x);
        LISSOME_UNROLL
        for (int c = 0; c < kLanes; ++c) {
            accumulate_one<Begin, End>(sums, x + c, D, w + c * V * kLanes);
        }
        return;
    }
    for (int64_t c = 0; c < run; ++c) {
        accumulate_one<Begin, End>(sums, opaque(x + c), D == 0 ? distance : D, w + c * V * kLanes);
    }
}

// The same for all pixels.
template <int P, int V, int D>
LISSOME_INLINE void accumulate(Sums<P, V>& sums, const float* x, int64_t distance, const float* w, int64_t run) {
    accumulate_some<0, P, D>(sums, x, distance, w, run);
}

// Vector j of pixel i is at y[j · plane + i · kLanes].
template <int P, int V>
LISSOME_INLINE void load_sums(Sums<P, V>& sums, const float* y, int64_t plane) {
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            sums.at[i][j] = load(y + j * plane + i * kLanes);
        }
    }
}

template <int P, int V>
LISSOME_INLINE void store_sums(const Sums<P, V>& sums, float* y, int64_t plane) {
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        LISSOME_UNROLL
        for (int j = 0; j < V; ++j) {
            store(y + j * plane + i * kLanes, sums.at[i][j]);
        }
    }
}

}  // namespace lissome::LISSOME_ISA
