#include "executor/rules.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace lissome {
namespace {

constexpr int64_t kMaxReach = int64_t{1} << 46;

void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

template <size_t N>
std::array<int64_t, N> numbers(std::span<const int64_t> ints) {
    require(ints.size() == N, "a step has as many numbers as its operator takes");
    std::array<int64_t, N> values{};
    std::copy(ints.begin(), ints.end(), values.begin());
    return values;
}

// Elements of (n, channels, h, w) with channels in whole blocks.
int64_t blocked(int64_t n, int64_t channels, int64_t h, int64_t w, int64_t block) {
    const int64_t extents[] = {n, (channels + block - 1) / block * block, h, w};
    return checked_product(extents, 4);
}

WeightExtents no_weight(const Shape&) {
    return {};
}

// Numbers: a ConvShape's, then a ConvSchedule's where the kernel follows one.
Shape conv_shape(std::span<const int64_t> ints, std::span<const float>) {
    require(ints.size() >= 16, "a convolution has 16 numbers");
    Shape shape{};
    shape.conv = make_conv_shape(numbers<16>(ints.first(16)));
    if (ints.size() > 16) {
        const auto v = numbers<7>(ints.subspan(16));
        shape.schedule = {v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
        const bool positive = std::all_of(v.begin() + 1, v.end(), [](int64_t i) { return i >= 1 && i < kMaxReach; });
        require(positive && v[0] >= 0 && v[0] <= 2 && v[1] <= 4, "a schedule has an order, 1 to 4 vectors and tiles");
    }
    return shape;
}
Operands conv_operands(const Shape& shape, const Kernel& kernel) {
    const ConvShape& c = shape.conv;
    Operands found;
    found.in[0] = blocked(c.n, c.c, c.h, c.w, kernel.block_in);
    found.out[0] = found.in[1] = blocked(c.n, c.k, c.p, c.q, kernel.block_out);
    found.inputs = kernel.residual ? 2 : 1;
    require(kernel.form != Form::blocks || kernel.depthwise || shape.schedule.vectors > 0,
            "this kernel has a schedule");
    return found;
}
WeightExtents conv_weight(const Shape& shape) {
    const ConvShape& c = shape.conv;
    return {c.k, c.c / c.groups * c.r * c.s, true};
}

Shape gemm_shape(std::span<const int64_t> ints, std::span<const float>) {
    const auto v = numbers<3>(ints);
    Shape shape{};
    shape.gemm = make_gemm_shape(v[0], v[1], v[2]);
    return shape;
}
Operands gemm_operands(const Shape& shape, const Kernel&) {
    const GemmShape& g = shape.gemm;
    Operands found;
    found.in[0] = g.m * g.k;
    found.out[0] = g.m * g.n;
    return found;
}
WeightExtents gemm_weight(const Shape& shape) {
    return {shape.gemm.n, shape.gemm.k, true};
}

Shape pool_shape(std::span<const int64_t> ints, std::span<const float>) {
    Shape shape{};
    shape.pool = make_pool_shape(numbers<16>(ints));
    return shape;
}
Operands pool_operands(const Shape& shape, const Kernel& kernel) {
    const PoolShape& p = shape.pool;
    Operands found;
    found.in[0] = blocked(p.n, p.c, p.h, p.w, kernel.block_in);
    found.out[0] = blocked(p.n, p.c, p.p, p.q, kernel.block_out);
    return found;
}

// Numbers: how many elements; floats: alpha, when the function has one.
Shape unary_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<1>(ints);
    require(floats.size() <= 1, "an elementwise function has at most one constant");
    Shape shape{};
    shape.element.count = checked_product(v.data(), 1);
    shape.element.alpha = floats.empty() ? 0.0f : floats[0];
    return shape;
}
Operands same_count(const Shape& shape, const Kernel&) {
    Operands found;
    found.in[0] = found.out[0] = shape.element.count;
    return found;
}

int64_t reach(const ElementShape& e, const int64_t* stride) {
    int64_t last = 0;
    for (int64_t i = 0; i < e.rank; ++i) {
        require(stride[i] >= 0 && stride[i] < kMaxReach, "a stride is not negative");
        int64_t span = 0;
        require(!__builtin_mul_overflow(e.dim[i] - 1, stride[i], &span) && span < kMaxReach, "a stride is too large");
        last += span;
    }
    return last + 1;
}

// Numbers: the output's extents, then the first operand's strides, then the second's.
Shape binary_shape(std::span<const int64_t> ints, std::span<const float>) {
    require(ints.size() % 3 == 0 && ints.size() >= 3 && ints.size() <= 3 * kMaxRank,
            "a binary operator has 1 to 8 axes, each with two strides");
    Shape shape{};
    ElementShape& e = shape.element;
    e.rank = static_cast<int64_t>(ints.size() / 3);
    e.count = checked_product(ints.data(), e.rank);
    std::copy_n(ints.begin(), e.rank, e.dim);
    std::copy_n(ints.begin() + e.rank, e.rank, e.stride_a);
    std::copy_n(ints.begin() + 2 * e.rank, e.rank, e.stride_b);
    return shape;
}
Operands binary_operands(const Shape& shape, const Kernel&) {
    const ElementShape& e = shape.element;
    Operands found;
    found.required = found.inputs = 2;
    found.in[0] = reach(e, e.stride_a);
    found.in[1] = reach(e, e.stride_b);
    found.out[0] = e.count;
    return found;
}

// Numbers: extents before the axis, of the axis, and behind it.
Shape axis_shape(std::span<const int64_t> ints, std::span<const float>) {
    const auto v = numbers<3>(ints);
    Shape shape{};
    ElementShape& e = shape.element;
    e.count = checked_product(v.data(), 3);
    e.outer = v[0];
    e.channels = v[1];
    e.inner = v[2];
    return shape;
}
WeightExtents scale_and_shift(const Shape& shape) {
    return {2, shape.element.channels, false};
}

Operands reorder_operands(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_in);
    found.out[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_out);
    return found;
}

}  // namespace

const Rule& rule_of(Op op) {
    static constexpr Rule kConv{conv_shape, conv_operands, conv_weight};
    static constexpr Rule kGemm{gemm_shape, gemm_operands, gemm_weight};
    static constexpr Rule kPool{pool_shape, pool_operands, no_weight};
    static constexpr Rule kUnary{unary_shape, same_count, no_weight};
    static constexpr Rule kBinary{binary_shape, binary_operands, no_weight};
    static constexpr Rule kAffine{axis_shape, same_count, scale_and_shift};
    static constexpr Rule kSoftmax{axis_shape, same_count, no_weight};
    static constexpr Rule kReorder{axis_shape, reorder_operands, no_weight};
    switch (op) {
        case Op::conv:
            return kConv;
        case Op::gemm:
            return kGemm;
        case Op::pool:
            return kPool;
        case Op::unary:
            return kUnary;
        case Op::binary:
            return kBinary;
        case Op::affine:
            return kAffine;
        case Op::softmax:
            return kSoftmax;
        case Op::reorder:
            return kReorder;
    }
    throw std::invalid_argument("no rule for this operator");
}

}  // namespace lissome
