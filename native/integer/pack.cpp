#include "integer/pack.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace lissome {
namespace {

int64_t units(int64_t count, int64_t unit) {
    return (count + unit - 1) / unit;
}

void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

// Byte at which the weight of lane `lane` and channel `four` of four lies.
int64_t place(const BytesForm& form, int64_t lane, int64_t four) {
    return form.weight_bytes == 1 ? lane * 4 + four : (four % 2 * form.lanes + lane) * 4 + four / 2 * 2;
}

void put(int8_t* to, int8_t weight, int64_t weight_bytes) {
    to[0] = weight;
    if (weight_bytes == 2) {
        to[1] = weight < 0 ? -1 : 0;
    }
}

void fill_dense(Packed& packed, std::span<const int8_t> weight, const ConvShape& s, const BytesForm& form) {
    const int64_t channels = s.c / s.groups, filters = s.k / s.groups, taps = s.r * s.s;
    const int64_t four_bytes = 4 * form.lanes * form.weight_bytes, all = units(filters, form.lanes);
    int8_t* to = packed.bytes_of_filters.data();
    for (int64_t group = 0; group < s.groups; ++group) {
        for (int64_t first = 0; first < all; first += packed.panel) {
            const int64_t vectors = std::min(packed.panel, all - first);
            for (int64_t c = 0; c < units(channels, form.block) * form.block; c += form.block) {
                for (int64_t tap = 0; tap < taps; ++tap) {
                    for (int64_t channel = c; channel < c + form.block; channel += 4, to += vectors * four_bytes) {
                        for (int64_t i = 0; i < vectors * form.lanes * 4; ++i) {
                            const int64_t lane = i / 4 % form.lanes, vector = i / 4 / form.lanes, four = i % 4;
                            const int64_t k = (first + vector) * form.lanes + lane;
                            if (k < filters && channel + four < channels) {
                                const int64_t at = ((group * filters + k) * channels + channel + four) * taps + tap;
                                put(to + vector * four_bytes + place(form, lane, four), weight[static_cast<size_t>(at)],
                                    form.weight_bytes);
                            }
                        }
                    }
                }
            }
        }
    }
}

void fill_depthwise(Packed& packed, std::span<const int8_t> weight, const ConvShape& s, const BytesForm& form) {
    const int64_t taps = form.weight_bytes == 1 ? 4 : 1, row = units(s.s, taps);
    for (int64_t k = 0; k < s.k; ++k) {
        for (int64_t i = 0; i < s.r * s.s; ++i) {
            const int64_t r = i / s.s, column = i % s.s;
            const int64_t unit = (k / form.lanes * s.r + r) * row + column / taps;
            put(packed.bytes_of_filters.data() + (unit * form.lanes + k % form.lanes) * 4 + column % taps,
                weight[static_cast<size_t>(k * s.r * s.s + i)], form.weight_bytes);
        }
    }
}

}  // namespace

BytesForm bytes_form(const Kernel& kernel) {
    require(kernel.form == Form::bytes, "this kernel has no int8 weights");
    return {kernel.block_in, kernel.block_out, kernel.tile, kernel.depthwise};
}

ConvShape linear_conv(int64_t outputs, int64_t inputs) {
    return make_conv_shape({1, inputs, 1, 1, outputs, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
}

int64_t filter_bytes(const ConvShape& s, const BytesForm& form) {
    if (form.depthwise) {
        require(s.groups == s.c && s.groups == s.k, "a depthwise convolution has one filter a channel");
        const int64_t extents[] = {units(s.c, form.lanes), form.lanes * 4, s.r,
                                   units(s.s, form.weight_bytes == 1 ? 4 : 1)};
        return checked_product(extents, 4);
    }
    const int64_t channels = s.c / s.groups, filters = s.k / s.groups;
    require(s.groups == 1 || (channels % form.block == 0 && filters % form.lanes == 0), "groups fill their blocks");
    const int64_t extents[] = {s.groups, units(filters, form.lanes) * form.lanes,
                               units(channels, form.block) * form.block, s.r * s.s, form.weight_bytes};
    return checked_product(extents, 5);
}

PackedPtr pack_bytes(std::span<const int8_t> weight, const ConvShape& shape, const BytesForm& form, int64_t vectors,
                     int64_t x_zero, std::span<const int64_t> bias, std::span<const float> scale) {
    const int64_t columns = shape.c / shape.groups * shape.r * shape.s, bytes = filter_bytes(shape, form);
    const auto filters = static_cast<size_t>(shape.k);
    require(weight.size() == filters * static_cast<size_t>(columns) && vectors >= 1 && vectors <= 4,
            "a filter bank has k · c / groups · r · s weights, a panel 1 to 4 vectors");
    require(bias.size() == filters && scale.size() == filters && x_zero >= 0 && x_zero <= 255,
            "one bias and one scale a filter, and a zero that is a code");
    auto packed = std::make_shared<Packed>();
    packed->form = Form::bytes;
    packed->rows = shape.k;
    packed->columns = columns;
    packed->panel = vectors;
    packed->tile = form.weight_bytes;
    packed->conv = shape;
    packed->bytes_of_filters.assign(static_cast<size_t>(bytes), 0);
    const auto lanes = static_cast<size_t>(form.lanes), padded = (filters + lanes - 1) / lanes * lanes;
    packed->offset.assign(padded, 0);
    packed->scale.assign(padded, 0.0f);
    for (size_t k = 0; k < filters; ++k) {
        int64_t sum = 0, magnitude = 0;
        for (const int8_t w : weight.subspan(k * static_cast<size_t>(columns), static_cast<size_t>(columns))) {
            sum += w;
            magnitude += std::abs(w);
        }
        const bool fits =
            bias[k] > INT32_MIN && bias[k] <= INT32_MAX && std::abs(bias[k]) + 255 * magnitude <= INT32_MAX;
        require(fits && std::isfinite(scale[k]), "a filter's sum may leave int32, or its scale is not finite");
        packed->offset[k] = static_cast<int32_t>(bias[k] - x_zero * sum);
        packed->scale[k] = scale[k];
    }
    form.depthwise ? fill_depthwise(*packed, weight, shape, form) : fill_dense(*packed, weight, shape, form);
    return packed;
}

}  // namespace lissome
