// The register tile of the dense linear layer: sums[i][j] = Σ_k x[i][k] · panel[k][j], M rows by one or two vectors.
// Included by sources compiled once per instruction set.
#pragma once

#include "core/simd.h"

namespace lissome::LISSOME_ISA {

constexpr int64_t kPanel = 2 * kLanes;

// Chains of additions for each sum, each of which takes every so manieth k: one alone would wait for itself where few
// rows have few sums. Eight or more multiply-adds are then under way at any time.
constexpr int chains(int rows, int vectors) {
    return rows * vectors >= 8 ? 1 : rows * vectors >= 4 ? 2 : 4;
}

// x: rows of `depth` floats; panel: (depth, pitch), of which V vectors are loaded at each k; sums: (M, kPanel). Lanes
// from `pitch` on hold numbers without meaning.
template <int M, int V>
static void tile(const float* x, const float* panel, int64_t pitch, int64_t depth, float* sums) {
    constexpr int kChains = chains(M, V);
    Vec sum[kChains][M][V];
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
#pragma GCC unroll 12
        for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) {
                sum[c][i][v] = zero();
            }
        }
    }
    const auto step = [&](Vec(&to)[M][V], int64_t k) __attribute__((always_inline)) {
        Vec weight[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            weight[v] = load(panel + v * kLanes);
        }
        panel += pitch;
#pragma GCC unroll 12
        for (int i = 0; i < M; ++i) {
            const Vec input = broadcast(x[i * depth + k]);
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) {
                to[i][v] = fma(input, weight[v], to[i][v]);
            }
        }
    };
    int64_t k = 0;
    for (; k + kChains <= depth; k += kChains) {
#pragma GCC unroll 4
        for (int c = 0; c < kChains; ++c) {
            step(sum[c], k + c);
        }
    }
    for (; k < depth; ++k) {
        step(sum[0], k);
    }
#pragma GCC unroll 12
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            Vec total = sum[0][i][v];
#pragma GCC unroll 4
            for (int c = 1; c < kChains; ++c) {
                total = add(total, sum[c][i][v]);
            }
            store(sums + i * kPanel + v * kLanes, total);
        }
    }
}

using Tile = void (*)(const float* x, const float* panel, int64_t pitch, int64_t depth, float* sums);

struct Tiles {
    Tile of[2][kTileRows + 1];  // by vectors − 1, and rows
};

template <int M>
static constexpr void fill_tiles(Tiles& table) {
    if constexpr (M > 0) {
        table.of[0][M] = tile<M, 1>;
        table.of[1][M] = tile<M, 2>;
        fill_tiles<M - 1>(table);
    }
}

static constexpr Tiles make_tiles() {
    Tiles table{};
    fill_tiles<kTileRows>(table);
    return table;
}

// The tile of `rows` rows, 1 to kTileRows, by as many vectors as `columns` need, kPanel at most.
constexpr Tiles kTiles = make_tiles();
LISSOME_INLINE Tile find_tile(int64_t rows, int64_t columns) {
    return kTiles.of[columns > kLanes][rows];
}

}  // namespace lissome::LISSOME_ISA
