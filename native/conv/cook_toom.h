// Winograd's minimal filtering F(m, r) from interpolation points, by Toom and Cook's construction (Toom 1963; Winograd,
// Arithmetic Complexity of Computations, 1980; Lavin and Gray, CVPR 2016):
//     y = Aᵀ [(G g) ⊙ (Bᵀ d)],  m outputs of an r-tap correlation from m + r − 1 inputs by m + r − 1 products.
// Point j gives the row (1, p, p², …) / Π_{l≠j} (p_j − p_l) of G, the column (1, p, p², …)ᵀ of Aᵀ and, as the row of
// Bᵀ, the coefficients of Π_{l≠j} (x − p_l); the last point is infinity. Points are dyadic, so that everything but
// the quotients of G is exact.
#pragma once

namespace lissome {

template <int M, int R>
struct CookToom {
    static constexpr int kIn = M + R - 1;
    double bt[kIn][kIn], g[kIn][R], at[M][kIn];
};

// static: code of one instruction set must never be linked into that of another.
template <int M, int R>
static constexpr CookToom<M, R> cook_toom(const double* points) {
    constexpr int n = M + R - 2;  // finite points
    CookToom<M, R> t{};
    for (int j = 0; j <= n; ++j) {
        double product = 1.0;
        t.bt[j][0] = 1.0;
        for (int l = 0, degree = 0; l < n; ++l) {
            if (l == j) {
                continue;
            }
            product *= j < n ? points[j] - points[l] : 1.0;
            ++degree;
            for (int i = degree; i >= 0; --i) {
                t.bt[j][i] = (i > 0 ? t.bt[j][i - 1] : 0.0) - points[l] * t.bt[j][i];
            }
        }
        double power = 1.0;
        for (int i = 0; i < M || i < R; ++i) {
            const double value = j < n ? power : 0.0;
            if (i < R) {
                t.g[j][i] = j == n && i == R - 1 ? 1.0 : value / product;
            }
            if (i < M) {
                t.at[i][j] = j == n && i == M - 1 ? 1.0 : value;
            }
            power *= j < n ? points[j] : 0.0;
        }
    }
    return t;
}

// The points of each kernel: 0, then pairs ±p, so that a pair's rows share their even and odd halves. Those of
// F(4, 3), F(6, 3) and F(2, 5) have the least error in float32 of a search over eighths (docs/kernels.md).
template <int M, int R>
struct WinogradPoints;
template <>
struct WinogradPoints<2, 3> {
    static constexpr double points[] = {0, 1, -1};
};
template <>
struct WinogradPoints<4, 3> {
    static constexpr double points[] = {0, 0.625, -0.625, 1.5, -1.5};
};
template <>
struct WinogradPoints<6, 3> {
    static constexpr double points[] = {0, 1, -1, 0.5, -0.5, 1.75, -1.75};
};
template <>
struct WinogradPoints<2, 5> {
    static constexpr double points[] = {0, 0.625, -0.625, 1.5, -1.5};
};

}  // namespace lissome
