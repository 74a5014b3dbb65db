// Winograd's transforms of one tile, a vector of channels at a time, from the matrices of cook_toom.h. Points come as
// pairs ±p, so the rows of Bᵀ for a pair are an even half plus or minus an odd half, and the columns of Aᵀ for a pair
// act on the sum and the difference of two numbers: half the multiplications. Zeros and ones cost nothing, as every
// coefficient is known to the compiler. Included by sources compiled once per instruction set.
#pragma once

#include "conv/block.h"
#include "conv/cook_toom.h"

namespace lissome::LISSOME_ISA {

template <int M_, int R_>
struct WinogradTile {
    static constexpr int M = M_, R = R_, A = M + R - 1;  // outputs, taps and inputs along an edge
    static constexpr CookToom<M, R> kMatrix = cook_toom<M, R>(WinogradPoints<M, R>::points);

    // v[(i · A + j) · step] = (Bᵀ d B)[i][j]; d[i][j] at x[i · row + j · kLanes].
    LISSOME_INLINE void input(const float* x, int64_t row, float* v, int64_t step) {
        Vec t[A][A];
        for (int j = 0; j < A; ++j) {
            Vec d[A], e[A];
            LISSOME_UNROLL
            for (int i = 0; i < A; ++i) {
                d[i] = load(x + i * row + j * kLanes);
            }
            input_line(d, e);
            LISSOME_UNROLL
            for (int i = 0; i < A; ++i) {
                t[i][j] = e[i];
            }
        }
        for (int i = 0; i < A; ++i) {
            Vec e[A];
            input_line(t[i], e);
            LISSOME_UNROLL
            for (int j = 0; j < A; ++j) {
                store(v + (i * A + j) * step, e[j]);
            }
        }
    }

    // t = Aᵀ m, of which `row` makes a row of y = Aᵀ m A; m[i][j] at m[(i · A + j) · step].
    LISSOME_INLINE void columns(const float* m, int64_t step, Vec (*t)[A]) {
        for (int j = 0; j < A; ++j) {
            Vec d[A], e[M];
            LISSOME_UNROLL
            for (int i = 0; i < A; ++i) {
                d[i] = load(m + (i * A + j) * step);
            }
            output_line(d, e);
            LISSOME_UNROLL
            for (int i = 0; i < M; ++i) {
                t[i][j] = e[i];
            }
        }
    }
    LISSOME_INLINE void row(const Vec* t, Vec* y) { output_line(t, y); }

  private:
    template <int Row, int J>
    static constexpr float kB = static_cast<float>(kMatrix.bt[Row][J]);
    template <int Row, int J>
    static constexpr float kA = static_cast<float>(kMatrix.at[Row][J]);

    // sum + Σ kB<Row, j> · x[j], j = J, J + 2, …
    template <int Row, int J>
    LISSOME_INLINE Vec add_half(Vec sum, const Vec* x) {
        if constexpr (J < A) {
            if constexpr (kB<Row, J> == 1.0f) {
                sum = add(sum, x[J]);
            } else if constexpr (kB<Row, J> != 0.0f) {
                sum = fma(x[J], broadcast(kB<Row, J>), sum);
            }
            return add_half<Row, J + 2>(sum, x);
        } else {
            return sum;
        }
    }

    template <int Row, int J>
    LISSOME_INLINE Vec half(const Vec* x) {
        if constexpr (kB<Row, J> == 0.0f) {
            return half<Row, J + 2>(x);
        } else if constexpr (kB<Row, J> == 1.0f) {
            return add_half<Row, J + 2>(x[J], x);
        } else {
            return add_half<Row, J + 2>(multiply(x[J], broadcast(kB<Row, J>)), x);
        }
    }

    template <int Row>
    LISSOME_INLINE void input_pairs(const Vec* x, Vec* y) {
        if constexpr (Row + 1 < A) {
            const Vec even = half<Row, 0>(x), odd = half<Row, 1>(x);
            // The row of −p has the signs of its odd coefficients, or of its even ones, turned.
            constexpr bool kOddTurned = kB<Row, 2> == kB<Row + 1, 2>;
            y[Row] = add(even, odd);
            y[Row + 1] = kOddTurned ? subtract(even, odd) : subtract(odd, even);
            input_pairs<Row + 2>(x, y);
        }
    }

    LISSOME_INLINE void input_line(const Vec* x, Vec* y) {
        y[0] = half<0, 0>(x);
        input_pairs<1>(x, y);
        y[A - 1] = half<A - 1, 1>(x);
    }

    // sum + Σ kA<Row, j> · pair[j], j = J, J + 2, …: pair[j] holds sums of pairs, pair[j + 1] their differences.
    template <int Row, int J>
    LISSOME_INLINE Vec add_pairs(Vec sum, const Vec* pair) {
        if constexpr (J + 1 < A) {
            if constexpr (kA<Row, J> == 1.0f) {
                sum = add(sum, pair[J + Row % 2]);
            } else {
                sum = fma(pair[J + Row % 2], broadcast(kA<Row, J>), sum);
            }
            return add_pairs<Row, J + 2>(sum, pair);
        } else {
            return sum;
        }
    }

    template <int Row>
    LISSOME_INLINE void output_rows(const Vec* x, const Vec* pair, Vec* y) {
        if constexpr (Row < M) {
            if constexpr (Row == 0 || Row == M - 1) {
                y[Row] = add_pairs<Row, 1>(x[Row == 0 ? 0 : A - 1], pair);
            } else {
                y[Row] = add_pairs<Row, 3>(multiply(pair[1 + Row % 2], broadcast(kA<Row, 1>)), pair);
            }
            output_rows<Row + 1>(x, pair, y);
        }
    }

    LISSOME_INLINE void output_line(const Vec* x, Vec* y) {
        Vec pair[A];
        LISSOME_UNROLL
        for (int j = 1; j + 1 < A; j += 2) {
            pair[j] = add(x[j], x[j + 1]);
            pair[j + 1] = subtract(x[j], x[j + 1]);
        }
        output_rows<0>(x, pair, y);
    }
};

}  // namespace lissome::LISSOME_ISA
