#include <cmath>
#include <stdexcept>

#include "conv/cook_toom.h"
#include "conv/pack.h"

namespace lissome {
namespace {

// u = G f Gᵀ in float64; f (r, r), u (edge, edge).
void transform(const std::vector<double>& g, int64_t edge, int64_t r, const float* f, std::vector<double>& half,
               std::vector<double>& u) {
    const auto at = [&](int64_t i, int64_t j) { return g[static_cast<size_t>(i * r + j)]; };
    for (int64_t i = 0; i < edge * r; ++i) {
        double sum = 0.0;
        for (int64_t l = 0; l < r; ++l) {
            sum += at(i / r, l) * static_cast<double>(f[l * r + i % r]);
        }
        half[static_cast<size_t>(i)] = sum;
    }
    for (int64_t i = 0; i < edge * edge; ++i) {
        double sum = 0.0;
        for (int64_t l = 0; l < r; ++l) {
            sum += half[static_cast<size_t>(i / edge * r + l)] * at(i % edge, l);
        }
        u[static_cast<size_t>(i)] = sum;
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
        throw std::invalid_argument("Winograd kernels are F(2, 3), F(4, 3), F(6, 3) and F(2, 5)");
    }
    return matrices;
}

PackedPtr pack_winograd(std::span<const float> weight, const ConvShape& shape, int64_t m, int64_t lanes) {
    const int64_t r = shape.r, extents[] = {shape.k, shape.c / shape.groups, r, shape.s};
    if (static_cast<int64_t>(weight.size()) != checked_product(extents, 4) || lanes < 1 || lanes > 64) {
        throw std::invalid_argument("a weight holds k × c × r × s values, a vector 1 to 64 of them");
    }
    if (shape.groups != 1 || r != shape.s) {
        throw std::invalid_argument("Winograd's filters are square and in one group");
    }
    const WinogradMatrices matrices = winograd_matrices(m, r, {});
    const int64_t edge = m + r - 1, blocks = (shape.k + lanes - 1) / lanes, c = shape.c;
    const int64_t total[] = {edge * edge + r * r, blocks * lanes, c};
    auto packed = std::make_shared<Packed>();
    packed->form = Form::winograd;
    packed->rows = shape.k;
    packed->columns = c * r * r;
    packed->panel = lanes;
    packed->tile = m;
    packed->conv = shape;
    packed->dense.assign(static_cast<size_t>(checked_product(total, 3)), 0.0f);
    std::vector<double> half(static_cast<size_t>(edge * r)), u(static_cast<size_t>(edge * edge));
    float* const plain = packed->dense.data() + edge * edge * blocks * c * lanes;
    for (int64_t k = 0; k < shape.k; ++k) {
        const int64_t block = k / lanes, panel = block / 2 * 2, wide = panel + 1 < blocks ? 2 : 1;
        for (int64_t i = 0; i < c; ++i) {
            const float* filter = weight.data() + (k * c + i) * r * r;
            transform(matrices.g, edge, r, filter, half, u);
            float* to = packed->dense.data() + panel * c * lanes + (i * wide + block - panel) * lanes + k % lanes;
            for (int64_t position = 0; position < edge * edge; ++position) {
                to[position * blocks * c * lanes] = static_cast<float>(u[static_cast<size_t>(position)]);
            }
            for (int64_t tap = 0; tap < r * r; ++tap) {
                plain[((block * c + i) * r * r + tap) * lanes + k % lanes] = filter[tap];
            }
        }
    }
    return packed;
}

}  // namespace lissome
