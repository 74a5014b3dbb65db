#include <algorithm>
#include <stdexcept>

#include "conv/pack.h"

namespace lissome {
namespace {

int64_t whole(int64_t count, int64_t unit) {
    return (count + unit - 1) / unit * unit;
}

void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

}  // namespace

int64_t blocks_floats(const ConvShape& shape, int64_t block, int64_t lanes, bool depthwise) {
    require(block >= 1 && block <= 64 && lanes >= 1 && lanes <= 64, "a block has 1 to 64 channels");
    const int64_t taps[] = {shape.r, shape.s};
    if (depthwise) {
        require(shape.groups == shape.c && shape.groups == shape.k, "a depthwise convolution has one filter a channel");
        const int64_t extents[] = {whole(shape.c, lanes), checked_product(taps, 2)};
        return checked_product(extents, 2);
    }
    const int64_t channels = shape.c / shape.groups, filters = shape.k / shape.groups;
    require(shape.groups == 1 || (channels % block == 0 && filters % lanes == 0), "groups fill their blocks");
    const int64_t extents[] = {shape.groups, whole(filters, lanes), whole(channels, block), checked_product(taps, 2)};
    return checked_product(extents, 4);
}

PackedPtr pack_blocks(std::span<const float> weight, const ConvShape& shape, int64_t block, int64_t lanes,
                      int64_t vectors, bool depthwise) {
    const int64_t floats = blocks_floats(shape, block, lanes, depthwise), taps = shape.r * shape.s;
    // A depthwise layer is packed as one group of filters over a single channel.
    const int64_t groups = depthwise ? 1 : shape.groups, unit = depthwise ? 1 : block;
    const int64_t channels = depthwise ? 1 : shape.c / groups, filters = shape.k / groups;
    const int64_t extents[] = {shape.k, channels, taps};
    require(static_cast<int64_t>(weight.size()) == checked_product(extents, 3) && vectors >= 1 && vectors <= 64,
            "a filter bank has k · c / groups · r · s weights, a panel 1 to 64 vectors");
    auto packed = std::make_shared<Packed>();
    packed->form = Form::blocks;
    packed->rows = shape.k;
    packed->columns = channels * taps;
    packed->panel = vectors;
    packed->dense.assign(static_cast<size_t>(floats), 0.0f);
    float* to = packed->dense.data();
    for (int64_t group = 0; group < groups; ++group) {
        for (int64_t first = 0; first < filters; first += vectors * lanes) {
            const int64_t left = filters - first, width = std::min(vectors * lanes, whole(left, lanes));
            for (int64_t c = 0; c < whole(channels, unit); c += unit) {
                // A filter's weights of a block are read one after the other: across filters, whose distance is often
                // a power of two, the same few lines of the cache would be wanted again and again.
                const int64_t count = std::min(unit, channels - c);
                for (int64_t k = 0; k < std::min(width, left); ++k) {
                    const float* from = weight.data() + ((group * filters + first + k) * channels + c) * taps;
                    for (int64_t channel = 0; channel < count; ++channel, from += taps) {
                        for (int64_t tap = 0; tap < taps; ++tap) {
                            to[(tap * unit + channel) * width + k] = from[tap];
                        }
                    }
                }
                to += taps * unit * width;
            }
        }
    }
    return packed;
}

int64_t separable_floats(const ConvShape& depthwise, const ConvShape& conv, int64_t lanes) {
    return blocks_floats(conv, lanes, lanes, false) + blocks_floats(depthwise, lanes, lanes, true) +
           whole(depthwise.c, lanes);
}

PackedPtr pack_separable(std::span<const float> filters, std::span<const float> bias, const ConvShape& depthwise,
                         std::span<const float> pointwise, const ConvShape& conv, int64_t lanes, int64_t vectors) {
    require(static_cast<int64_t>(bias.size()) == depthwise.k, "a bias has one value a channel");
    const PackedPtr first = pack_blocks(filters, depthwise, lanes, lanes, 1, true);
    const PackedPtr second = pack_blocks(pointwise, conv, lanes, lanes, vectors, false);
    auto packed = std::make_shared<Packed>();
    packed->form = Form::separable;
    packed->rows = second->rows;
    packed->columns = second->columns;
    packed->panel = vectors;
    packed->dense.assign(static_cast<size_t>(separable_floats(depthwise, conv, lanes)), 0.0f);
    auto to = std::copy(second->dense.begin(), second->dense.end(), packed->dense.begin());
    to = std::copy(first->dense.begin(), first->dense.end(), to);
    std::copy(bias.begin(), bias.end(), to);
    return packed;
}

}  // namespace lissome
