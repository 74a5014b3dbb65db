#include "executor/rules.h"

#include <stdexcept>

#include "executor/rule_parts.h"

namespace lissome {
namespace {

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

// Numbers: the depthwise ConvShape's, filters of the 1×1 convolution, vectors in a panel of them, rows; and the bounds.
Shape separable_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() == 19, "a separable convolution has 19 numbers");
    Shape shape{};
    const ConvShape& d = shape.separable.depthwise = make_conv_shape(numbers<16>(ints.first(16)));
    const auto v = numbers<3>(ints.subspan(16));
    require(d.groups == d.c && d.groups == d.k, "a depthwise convolution has one filter a channel");
    require(v[1] >= 1 && v[1] <= 4 && v[2] >= 1 && v[2] <= d.p, "a panel has 1 to 4 vectors, a tile a row or more");
    shape.conv = make_conv_shape({d.n, d.k, d.p, d.q, v[0], 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
    shape.schedule.vectors = v[1];
    shape.separable.rows = v[2];
    const auto bounds = constants<2>(floats);
    shape.separable.low = bounds[0];
    shape.separable.high = bounds[1];
    return shape;
}
Operands separable_operands(const Shape& shape, const Kernel& kernel) {
    const ConvShape &d = shape.separable.depthwise, &c = shape.conv;
    Operands found;
    found.in[0] = blocked(d.n, d.c, d.h, d.w, kernel.block_in);
    found.out[0] = found.in[1] = blocked(c.n, c.k, c.p, c.q, kernel.block_out);
    found.inputs = 2;
    return found;
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

}  // namespace

const Rule& rule_of(Op op) {
    static constexpr Rule kConv{conv_shape, conv_operands, conv_weight};
    static constexpr Rule kGemm{gemm_shape, gemm_operands, gemm_weight};
    static constexpr Rule kSeparable{separable_shape, separable_operands, conv_weight};
    static constexpr Rule kPool{pool_shape, pool_operands, no_weight};
    switch (op) {
        case Op::conv:
            return kConv;
        case Op::gemm:
            return kGemm;
        case Op::separable:
            return kSeparable;
        case Op::pool:
            return kPool;
        default:
            break;
    }
    for (const Rule* found : {elementwise_rule(op), axis_rule(op), movement_rule(op), codes_rule(op)}) {
        if (found != nullptr) {
            return *found;
        }
    }
    throw std::invalid_argument("no rule for this operator");
}

}  // namespace lissome
