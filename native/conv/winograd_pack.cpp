#include <algorithm>
#include <stdexcept>

#include "conv/cook_toom.h"
#include "conv/pack.h"

namespace lissome {
namespace {

constexpr int64_t kMostLanes = 64;
constexpr const char* kNoKernel = "Winograd kernels are F(2, 3), F(4, 3), F(6, 3) and F(2, 5)";

// One channel of up to a vector of filters, side by side; f: [tap][filter].
template <int M, int R>
struct Filters {
    static constexpr int kEdge = M + R - 1;
    double f[R * R][kMostLanes] = {};

    // u[position · step + filter] = (G f Gᵀ)[position], in float64, rounded once.
    void transform(const CookToom<M, R>& t, int64_t lanes, float* u, int64_t step) const {
        double half[kEdge * R][kMostLanes], sum[kMostLanes];
        for (int i = 0; i < kEdge * R; ++i) {
            for (int64_t lane = 0; lane < lanes; ++lane) {
                half[i][lane] = t.g[i / R][0] * f[i % R][lane];
            }
            for (int l = 1; l < R; ++l) {
                for (int64_t lane = 0; lane < lanes; ++lane) {
                    half[i][lane] += t.g[i / R][l] * f[l * R + i % R][lane];
                }
            }
        }
        for (int i = 0; i < kEdge * kEdge; ++i) {
            for (int64_t lane = 0; lane < lanes; ++lane) {
                sum[lane] = half[i / kEdge * R][lane] * t.g[i % kEdge][0];
            }
            for (int l = 1; l < R; ++l) {
                for (int64_t lane = 0; lane < lanes; ++lane) {
                    sum[lane] += half[i / kEdge * R + l][lane] * t.g[i % kEdge][l];
                }
            }
            for (int64_t lane = 0; lane < lanes; ++lane) {
                u[i * step + lane] = static_cast<float>(sum[lane]);
            }
        }
    }
};

template <int M, int R>
void pack_into(Packed& packed, std::span<const float> weight, const ConvShape& s, int64_t lanes) {
    static constexpr CookToom<M, R> kMatrix = cook_toom<M, R>(WinogradPoints<M, R>::points);
    constexpr int64_t kTaps = R * R, kPositions = Filters<M, R>::kEdge * Filters<M, R>::kEdge;
    const int64_t blocks = (s.k + lanes - 1) / lanes, total[] = {kPositions + kTaps, blocks * lanes, s.c};
    packed.dense.assign(static_cast<size_t>(checked_product(total, 3)), 0.0f);
    packed.plain = static_cast<size_t>(kPositions * blocks * s.c * lanes);
    float* const dense = packed.dense.data();
    for (int64_t block = 0; block < blocks; ++block) {
        const int64_t panel = block / 2 * 2, wide = panel + 1 < blocks ? 2 : 1;
        const int64_t count = std::min(lanes, s.k - block * lanes);
        for (int64_t c = 0; c < s.c; ++c) {
            Filters<M, R> filters;
            float* const taps = dense + packed.plain + (block * s.c + c) * kTaps * lanes;
            for (int64_t lane = 0; lane < count; ++lane) {
                const float* from = weight.data() + ((block * lanes + lane) * s.c + c) * kTaps;
                for (int64_t tap = 0; tap < kTaps; ++tap) {
                    filters.f[tap][lane] = static_cast<double>(from[tap]);
                    taps[tap * lanes + lane] = from[tap];
                }
            }
            float* const u = dense + (panel * s.c + c * wide + block - panel) * lanes;
            filters.transform(kMatrix, lanes, u, blocks * s.c * lanes);
        }
    }
}

template <int M, int R>
void fill(WinogradMatrices& matrices, std::span<const double> points) {
    const CookToom<M, R> t = cook_toom<M, R>(points.empty() ? WinogradPoints<M, R>::points : points.data());
    matrices.bt.assign(&t.bt[0][0], &t.bt[0][0] + sizeof t.bt / sizeof(double));
    matrices.g.assign(&t.g[0][0], &t.g[0][0] + sizeof t.g / sizeof(double));
    matrices.at.assign(&t.at[0][0], &t.at[0][0] + sizeof t.at / sizeof(double));
}

}  // namespace

WinogradMatrices winograd_matrices(int64_t m, int64_t r, std::span<const double> points) {
    if (!points.empty() && static_cast<int64_t>(points.size()) != m + r - 2) {
        throw std::invalid_argument("F(m, r) has m + r - 2 finite points");
    }
    WinogradMatrices matrices;
    if (m == 2 && r == 3) {
        fill<2, 3>(matrices, points);
    } else if (m == 4 && r == 3) {
        fill<4, 3>(matrices, points);
    } else if (m == 6 && r == 3) {
        fill<6, 3>(matrices, points);
    } else if (m == 2 && r == 5) {
        fill<2, 5>(matrices, points);
    } else {
        throw std::invalid_argument(kNoKernel);
    }
    return matrices;
}

PackedPtr pack_winograd(std::span<const float> weight, const ConvShape& shape, int64_t m, int64_t lanes) {
    const int64_t r = shape.r, extents[] = {shape.k, shape.c / shape.groups, r, shape.s};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 4) || lanes < 1 || lanes > kMostLanes) {
        throw std::invalid_argument("a weight holds k × c × r × s values, a vector 1 to 64 of them");
    }
    if (shape.groups != 1 || r != shape.s) {
        throw std::invalid_argument("Winograd's filters are square and in one group");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::winograd;
    packed->rows = shape.k;
    packed->columns = shape.c * r * r;
    packed->panel = lanes;
    packed->tile = m;
    packed->conv = shape;
    if (m == 2 && r == 3) {
        pack_into<2, 3>(*packed, weight, shape, lanes);
    } else if (m == 4 && r == 3) {
        pack_into<4, 3>(*packed, weight, shape, lanes);
    } else if (m == 6 && r == 3) {
        pack_into<6, 3>(*packed, weight, shape, lanes);
    } else if (m == 2 && r == 5) {
        pack_into<2, 5>(*packed, weight, shape, lanes);
    } else {
        throw std::invalid_argument(kNoKernel);
    }
    return packed;
}

}  // namespace lissome
