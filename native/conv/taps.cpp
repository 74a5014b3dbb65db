#include "conv/taps.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "conv/pack.h"

namespace lissome {
namespace {

template <class Index>
int64_t nonfinite_taps(const WeightView& weights, int64_t k, const float* first) noexcept {
    const auto* index = static_cast<const Index*>(weights.index);
    return std::count_if(index + weights.start[k], index + weights.start[k + 1],
                         [&](Index offset) { return !std::isfinite(first[offset]); });
}

template <class Index>
void fill(const SparseSource& source, const ConvShape& shape, const TapGeometry& geometry, std::vector<Index>& index) {
    const int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
    index.reserve(source.positions.size());
    for (const int64_t position : source.positions) {
        const int64_t k = position / source.columns, column = position % source.columns;
        const int64_t c = k / filters * channels + column / (shape.r * shape.s);
        const int64_t offset = tap_offset(shape, geometry, c, column / shape.s % shape.r, column % shape.s);
        index.push_back(static_cast<Index>(offset));
    }
}

}  // namespace

TapGeometry tap_geometry(const ConvShape& shape) noexcept {
    TapGeometry g{};
    g.stride_h = shape.p == 1 ? 1 : shape.stride_h;
    g.stride_w = shape.q == 1 ? 1 : shape.stride_w;
    g.height = (shape.h + shape.pad_top + shape.pad_bottom + g.stride_h - 1) / g.stride_h;
    g.width = (shape.w + shape.pad_left + shape.pad_right + g.stride_w - 1) / g.stride_w;
    g.plane = g.height * g.width;
    g.floats = g.stride_h * g.stride_w * shape.c * g.plane;
    g.positions = (shape.p - 1) * g.width + shape.q;
    return g;
}

int64_t tap_offset(const ConvShape& shape, const TapGeometry& g, int64_t c, int64_t r, int64_t s) noexcept {
    const int64_t row = r * shape.dilation_h, column = s * shape.dilation_w;
    const int64_t phase = row % g.stride_h * g.stride_w + column % g.stride_w;
    return (phase * shape.c + c) * g.plane + row / g.stride_h * g.width + column / g.stride_w;
}

void pad_channel(const ConvShape& shape, const TapGeometry& g, const float* channel, int64_t c,
                 float* padded) noexcept {
    for (int64_t a = 0; a < g.stride_h; ++a) {
        for (int64_t b = 0; b < g.stride_w; ++b) {
            float* to = padded + ((a * g.stride_w + b) * shape.c + c) * g.plane;
            for (int64_t i = 0; i < g.height; ++i, to += g.width) {
                const int64_t y = i * g.stride_h + a - shape.pad_top;
                if (y < 0 || y >= shape.h) {
                    std::fill(to, to + g.width, 0.0f);
                    continue;
                }
                for (int64_t j = 0; j < g.width; ++j) {
                    const int64_t x = j * g.stride_w + b - shape.pad_left;
                    to[j] = x >= 0 && x < shape.w ? channel[y * shape.w + x] : 0.0f;
                }
            }
        }
    }
}

PackedPtr pack_taps(const SparseSource& source, const ConvShape& shape) {
    check_source(source);
    if (source.rows != shape.k || source.columns != shape.c / shape.groups * shape.r * shape.s) {
        throw std::invalid_argument("a sparse filter has k rows of c / groups · r · s columns");
    }
    const TapGeometry geometry = tap_geometry(shape);
    if (geometry.floats >= UINT32_MAX) {
        throw std::invalid_argument("the padded input of a sparse convolution has fewer than 2^32 elements");
    }
    auto packed = std::make_shared<Packed>();
    packed->form = Form::taps;
    packed->rows = source.rows;
    packed->columns = source.columns;
    packed->conv = shape;
    packed->conv.n = 1;
    packed->start.assign(static_cast<size_t>(shape.k) + 1, 0);
    for (const int64_t position : source.positions) {
        ++packed->start[static_cast<size_t>(position / source.columns) + 1];
    }
    for (size_t k = 1; k < packed->start.size(); ++k) {
        packed->start[k] += packed->start[k - 1];
    }
    if (geometry.floats < 65'536) {
        fill(source, shape, geometry, packed->narrow_index);
    } else {
        fill(source, shape, geometry, packed->wide_index);
    }
    packed->set_table(source.table);
    packed->codes.assign(source.codes.begin(), source.codes.end());
    packed->values.assign(source.values.begin(), source.values.end());
    return packed;
}

void poison_filter(const WeightView& weights, const ConvShape& shape, const TapGeometry& g, int64_t k,
                   const float* padded, float* y) noexcept {
    const int64_t channels = shape.c / shape.groups, first = k / (shape.k / shape.groups) * channels;
    for (int64_t p = 0; p < shape.p; ++p) {
        for (int64_t q = 0; q < shape.q; ++q) {
            const float* window = padded + p * g.width + q;
            int64_t bad = 0;
            for (int64_t c = first; c < first + channels; ++c) {
                for (int64_t tap = 0; tap < shape.r * shape.s; ++tap) {
                    bad += !std::isfinite(window[tap_offset(shape, g, c, tap / shape.s, tap % shape.s)]);
                }
            }
            const int64_t met = weights.wide ? nonfinite_taps<uint32_t>(weights, k, window)
                                             : nonfinite_taps<uint16_t>(weights, k, window);
            if (met < bad) {
                y[p * shape.q + q] = std::numeric_limits<float>::quiet_NaN();
            }
        }
    }
}

}  // namespace lissome
