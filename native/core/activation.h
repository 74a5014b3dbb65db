// What a kernel does to a tensor last, for a vector or for one element, with the same result to the bit.
// Included only by sources that are compiled once per instruction set.
#pragma once

#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

LISSOME_INLINE Vec activate(Vec x, const Activation& a) {
    switch (a.kind) {
        case ActivationKind::relu:
            return relu(x);
        case ActivationKind::clip:
            return clamp(x, broadcast(a.low), broadcast(a.high));
        case ActivationKind::leaky_relu: {
            // One of the two summands is zero: the sum is exact.
            const Vec most = broadcast(__builtin_inff());
            return fma(clamp(x, broadcast(-__builtin_inff()), zero()), broadcast(a.low), clamp(x, zero(), most));
        }
        case ActivationKind::hard_swish:
            return multiply(x, clamp(fma(x, broadcast(1.0f / 6.0f), broadcast(0.5f)), zero(), broadcast(1.0f)));
        case ActivationKind::none:
            break;
    }
    return x;
}

// Not inlined, so that sums which no rare activation awaits stay in registers.
__attribute__((noinline)) static Vec activate_rarely(Vec sum, const Activation& activation) {
    return activate(sum, activation);
}

// V vectors, at most 8, that are to stay in registers.
template <int V>
LISSOME_INLINE void activate_each(Vec* sum, const Activation& activation) {
    if (activation.kind == ActivationKind::relu) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = relu(sum[v]);
        }
    } else if (activation.kind == ActivationKind::clip) {
        const Vec low = broadcast(activation.low), high = broadcast(activation.high);
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = clamp(sum[v], low, high);
        }
    } else if (activation.kind != ActivationKind::none) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = activate_rarely(sum[v], activation);
        }
    }
}

LISSOME_INLINE float activate(float x, const Activation& a) {
    float lanes[kLanes];
    store(lanes, activate(broadcast(x), a));
    return lanes[0];
}

// In place, for kernels whose sums are in memory already.
LISSOME_INLINE void activate_all(float* y, int64_t count, const Activation& a) {
    if (a.kind == ActivationKind::none) {
        return;
    }
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        store(y + i, activate(load(y + i), a));
    }
    for (; i < count; ++i) {
        y[i] = activate(y[i], a);
    }
}

}  // namespace lissome::LISSOME_ISA
