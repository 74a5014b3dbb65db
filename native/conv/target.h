// What happens to a register block's sums before the first and after the last product.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/block.h"
#include "core/activation.h"

namespace lissome::LISSOME_ISA {

struct Target {
    float* y;
    int64_t plane;                 // floats between vectors of output channels
    const float* bias;             // of the panel's first channel, or nullptr
    const float* residual;         // beside y, or nullptr
    bool more;                     // y holds sums already, with bias and residual
    const Activation* activation;  // nullptr while sums are to come
};

template <int P, int V>
LISSOME_INLINE void start(Sums<P, V>& sums, const Target& to) {
    if (to.more) {
        load_sums(sums, to.y, to.plane);
        return;
    }
    LISSOME_UNROLL
    for (int j = 0; j < V; ++j) {
        const Vec bias = to.bias ? load(to.bias + j * kLanes) : zero();
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            sums.at[i][j] = bias;
        }
    }
    if (to.residual) {
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                sums.at[i][j] = add(sums.at[i][j], load(to.residual + j * to.plane + i * kLanes));
            }
        }
    }
}

// The rare activations, in memory: fourteen copies of hard-swish in every kernel would not be faster.
static void activate_vectors(float* y, int64_t vectors, const Activation& activation) {
    for (int64_t i = 0; i < vectors; ++i) {
        store(y + i * kLanes, activate(load(y + i * kLanes), activation));
    }
}

template <int P, int V>
LISSOME_INLINE void finish(Sums<P, V>& sums, const Target& to) {
    if (to.activation && to.activation->kind == ActivationKind::relu) {
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                sums.at[i][j] = relu(sums.at[i][j]);
            }
        }
    } else if (to.activation && to.activation->kind == ActivationKind::clip) {
        const Vec low = broadcast(to.activation->low), high = broadcast(to.activation->high);
        LISSOME_UNROLL
        for (int i = 0; i < P; ++i) {
            LISSOME_UNROLL
            for (int j = 0; j < V; ++j) {
                sums.at[i][j] = clamp(sums.at[i][j], low, high);
            }
        }
    }
    store_sums(sums, to.y, to.plane);
    if (to.activation && to.activation->kind > ActivationKind::clip) {
        for (int64_t j = 0; j < V; ++j) {
            activate_vectors(to.y + j * to.plane, P, *to.activation);
        }
    }
}

}  // namespace lissome::LISSOME_ISA
