#include "core/conv_shape.h"

#include <stdexcept>

namespace lissome {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 31;
constexpr int64_t kMaxElements = int64_t{1} << 31;

void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

bool within(int64_t value, int64_t low) {
    return value >= low && value < kMaxExtent;
}

// Extent of the output along one axis; extents are below 2^31, so nothing here overflows.
int64_t output_extent(int64_t in, int64_t window, int64_t stride, int64_t dilation, int64_t before, int64_t after,
                      bool ceil_mode) {
    const int64_t reach = dilation * (window - 1) + 1;
    const int64_t room = in + before + after - reach;
    require(room >= 0, "window is larger than its padded input");
    int64_t out = room / stride + 1;
    // A window that ceil_mode adds must still start inside the input or the padding before it.
    if (ceil_mode && room % stride != 0 && out * stride < in + before) {
        ++out;
    }
    return out;
}

template <class Shape>
void derive_output(Shape& shape, bool ceil_mode) {
    require(within(shape.stride_h, 1) && within(shape.stride_w, 1), "strides are at least 1");
    require(within(shape.dilation_h, 1) && within(shape.dilation_w, 1), "dilations are at least 1");
    require(within(shape.pad_top, 0) && within(shape.pad_left, 0) && within(shape.pad_bottom, 0) &&
                within(shape.pad_right, 0),
            "padding is at least 0");
    shape.p =
        output_extent(shape.h, shape.r, shape.stride_h, shape.dilation_h, shape.pad_top, shape.pad_bottom, ceil_mode);
    shape.q =
        output_extent(shape.w, shape.s, shape.stride_w, shape.dilation_w, shape.pad_left, shape.pad_right, ceil_mode);
    const int64_t padded[] = {shape.n, shape.c, shape.h + shape.pad_top + shape.pad_bottom,
                              shape.w + shape.pad_left + shape.pad_right};
    checked_product(padded, 4);
}

}  // namespace

int64_t checked_product(const int64_t* extents, int64_t count) {
    int64_t product = 1;
    for (int64_t i = 0; i < count; ++i) {
        require(within(extents[i], 1), "extents are at least 1 and below 2^31");
        require(!__builtin_mul_overflow(product, extents[i], &product) && product <= kMaxElements,
                "a tensor has at most 2^31 elements");
    }
    return product;
}

ConvShape make_conv_shape(const std::array<int64_t, 16>& v) {
    ConvShape shape{v[0], v[1],  v[2],  v[3],  v[4],  v[5],  v[6],  v[7], v[8],
                    v[9], v[10], v[11], v[12], v[13], v[14], v[15], 0,    0};
    for (int i = 0; i < 8; ++i) {
        require(within(v[static_cast<size_t>(i)], 1), "extents and groups are at least 1 and below 2^31");
    }
    require(shape.c % shape.groups == 0 && shape.k % shape.groups == 0, "groups divide both channel counts");
    derive_output(shape, false);
    const int64_t out[] = {shape.n, shape.k, shape.p, shape.q};
    const int64_t weight[] = {shape.k, shape.c / shape.groups, shape.r, shape.s};
    checked_product(out, 4);
    checked_product(weight, 4);
    return shape;
}

PoolShape make_pool_shape(const std::array<int64_t, 16>& v) {
    PoolShape shape{v[0], v[1],  v[2],  v[3],  v[4],  v[5],  v[6],  v[7], v[8],
                    v[9], v[10], v[11], v[12], v[13], v[14], v[15], 0,    0};
    for (int i = 0; i < 6; ++i) {
        require(within(v[static_cast<size_t>(i)], 1), "extents are at least 1 and below 2^31");
    }
    derive_output(shape, shape.ceil_mode != 0);
    const int64_t out[] = {shape.n, shape.c, shape.p, shape.q};
    checked_product(out, 4);
    return shape;
}

GemmShape make_gemm_shape(int64_t m, int64_t n, int64_t k) {
    const int64_t x[] = {m, k}, w[] = {n, k}, y[] = {m, n};
    require(within(m, 1) && within(n, 1) && within(k, 1), "extents are at least 1 and below 2^31");
    checked_product(x, 2);
    checked_product(w, 2);
    checked_product(y, 2);
    return GemmShape{m, n, k};
}

}  // namespace lissome
