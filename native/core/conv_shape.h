// Shapes of the operators, plain data. The makers below own the arithmetic of output extents on the native side; the
// Python side's only home of it is graph/conv_shape.py, and a test holds the two together.
//
// No member functions: kernels are compiled once per instruction set, and an inline function compiled for the widest
// must never be the copy that the linker keeps.
#pragma once

#include <array>
#include <cstdint>

namespace lissome {

// Two-dimensional convolution, NCHW. Weight (k, c / groups, r, s); output (n, k, p, q).
struct ConvShape {
    int64_t n, c, h, w;
    int64_t k, r, s, groups;
    int64_t stride_h, stride_w, dilation_h, dilation_w;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t p, q;
};

// Two-dimensional pooling window over (n, c, h, w); output (n, c, p, q). The divisor of an average counts padding
// when count_include_pad says so, but never what ceil_mode adds beyond the padding.
struct PoolShape {
    int64_t n, c, h, w;
    int64_t r, s, stride_h, stride_w, dilation_h, dilation_w;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t ceil_mode, count_include_pad;
    int64_t p, q;
};

// y (m, n) = x (m, k) · wᵀ with w (n, k).
struct GemmShape {
    int64_t m, n, k;
};

constexpr int kMaxRank = 8, kMaxParts = 8;

// Elementwise work, and work along one axis. Unary: `count`, and the constants alpha and beta. Binary: the output's
// extents `dim[0..rank)`, and for each operand the stride of every extent, 0 where it is broadcast. The others see a
// tensor as (outer, channels, inner). Select: `made` elements of the concatenation of `parts`; resample: `made`
// elements of `taps` each; alpha is what lies outside. Layer norm: alpha is ε. LRN: taps is its size, gamma its bias.
struct ElementShape {
    int64_t count, outer, channels, inner;
    int64_t made, taps;
    int64_t parts[kMaxParts];
    int64_t rank;
    int64_t dim[kMaxRank], stride_a[kMaxRank], stride_b[kMaxRank];
    float alpha, beta, gamma;
};

// A loop nest over dim[0..rank) that copies from_base + Σ i · from to to_base + Σ i · to, both within tensors of
// from_elements and to_elements.
struct MoveShape {
    int64_t count, rank;
    int64_t dim[kMaxRank], from[kMaxRank], to[kMaxRank];
    int64_t from_base, to_base, from_elements, to_elements;
};

// y (batch, m, n) = alpha · a · b, a (m, k) and b (k, n) with any strides. The batch has extents dim[0..rank).
struct ProductShape {
    int64_t batch, m, n, k;
    int64_t a_row, a_column, b_row, b_column;
    int64_t rank;
    int64_t dim[kMaxRank], a_stride[kMaxRank], b_stride[kMaxRank];
    float alpha;
};

// One of `directions` of a recurrent layer, over `steps` steps, backwards if `reverse`. units: hidden, in whole
// vectors.
struct RecurrentShape {
    int64_t steps, batch, hidden, units, directions, direction, reverse;
};

// A depthwise convolution, kept within low and high, before the 1×1 convolution that Shape::conv then is; `rows` of its
// output at a time.
struct SeparableShape {
    ConvShape depthwise;
    int64_t rows;
    float low, high;
};

// How uint8_t codes stand for numbers: value = scale · (code − zero). A sum of products is multiplied with its output's
// factor, rounded to the nearest (ties to even), and kept within low and high, which are what an activation leaves.
// With a residual r, the result is then (code − zero) · keep + (r − r_zero) · add in float, rounded into the *_sum
// fields.
struct CodeShape {
    int64_t vectors;  // of outputs in a panel of Form::bytes
    int64_t x_zero, zero, low, high;
    int64_t r_zero, sum_zero, sum_low, sum_high;
    float keep, add, scale;
};

// All makers throw std::invalid_argument for extents that are not positive, contradict each other or overflow.
// Order of values: the fields in the order of declaration, without p and q, which are derived.
ConvShape make_conv_shape(const std::array<int64_t, 16>& values);
PoolShape make_pool_shape(const std::array<int64_t, 16>& values);
GemmShape make_gemm_shape(int64_t m, int64_t n, int64_t k);

// Product of extents, each at least 1 and below 2^31; throws std::invalid_argument when it is above 2^31 elements.
int64_t checked_product(const int64_t* extents, int64_t count);

}  // namespace lissome
