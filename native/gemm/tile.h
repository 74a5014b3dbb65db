// The register tile of every dense kernel: sums[i][j] = Σ_k a(i, k) · panel[k][j], M rows by two vectors.
// Included by sources compiled once per instruction set.
#pragma once

#include "core/simd.h"

namespace lissome::LISSOME_ISA {

constexpr int64_t kPanel = 2 * kLanes;

// a(i, k) = a[i * row + k * column]; panel: (depth, kPanel); sums: (M, kPanel). Additions go in order of k.
template <int M>
LISSOME_INLINE void tile(const float* a, int64_t row, int64_t column, const float* panel, int64_t depth, float* sums) {
    Vec low[M], high[M];
    for (int i = 0; i < M; ++i) {
        low[i] = high[i] = zero();
    }
    for (int64_t k = 0; k < depth; ++k) {
        const Vec b0 = load(panel + k * kPanel), b1 = load(panel + k * kPanel + kLanes);
#pragma GCC unroll 12
        for (int i = 0; i < M; ++i) {
            const Vec x = broadcast(a[i * row + k * column]);
            low[i] = fma(x, b0, low[i]);
            high[i] = fma(x, b1, high[i]);
        }
    }
    for (int i = 0; i < M; ++i) {
        store(sums + i * kPanel, low[i]);
        store(sums + i * kPanel + kLanes, high[i]);
    }
}

// One row. A single chain of additions would wait for itself, so four chains take every fourth k each.
LISSOME_INLINE void tile_row(const float* a, int64_t column, const float* panel, int64_t depth, float* sums) {
    Vec low[4], high[4];
    for (int i = 0; i < 4; ++i) {
        low[i] = high[i] = zero();
    }
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const Vec x = broadcast(a[(k + i) * column]);
            low[i] = fma(x, load(panel + (k + i) * kPanel), low[i]);
            high[i] = fma(x, load(panel + (k + i) * kPanel + kLanes), high[i]);
        }
    }
    for (; k < depth; ++k) {
        const Vec x = broadcast(a[k * column]);
        low[0] = fma(x, load(panel + k * kPanel), low[0]);
        high[0] = fma(x, load(panel + k * kPanel + kLanes), high[0]);
    }
    store(sums, add(add(low[0], low[1]), add(low[2], low[3])));
    store(sums + kLanes, add(add(high[0], high[1]), add(high[2], high[3])));
}

// The tallest tile that fits into `rows`; returns how many rows it covered.
LISSOME_INLINE int64_t tile_rows(const float* a, int64_t row, int64_t column, const float* panel, int64_t depth,
                                 int64_t rows, float* sums) {
    if (rows >= kTileRows) {
        tile<kTileRows>(a, row, column, panel, depth, sums);
        return kTileRows;
    }
    if (rows >= 4) {
        tile<4>(a, row, column, panel, depth, sums);
        return 4;
    }
    if (rows >= 2) {
        tile<2>(a, row, column, panel, depth, sums);
        return 2;
    }
    tile_row(a, column, panel, depth, sums);
    return 1;
}

}  // namespace lissome::LISSOME_ISA
