// Rules of the operators on uint8 codes (core/conv_shape.h, CodeShape).
#include <cmath>

#include "binary/pack.h"
#include "executor/rule_parts.h"

namespace lissome {
namespace {

void check_codes(const CodeShape& c) {
    for (const int64_t code : {c.x_zero, c.zero, c.low, c.high, c.r_zero, c.sum_zero, c.sum_low, c.sum_high}) {
        require(code >= 0 && code <= 255, "a code is within 0 and 255");
    }
    require(c.low <= c.high && c.sum_low <= c.sum_high, "codes lie between a lower and a higher one");
    require(std::isfinite(c.keep) && std::isfinite(c.add) && std::isfinite(c.scale) && c.scale >= 0,
            "scales are finite");
}

// Numbers: vectors in a panel, then x_zero, zero, low, high, then r_zero, sum_zero, sum_low, sum_high. Floats: keep and
// add, where a residual is added.
CodeShape layer_codes(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<9>(ints);
    require(v[0] >= 1 && v[0] <= 4 && (floats.empty() || floats.size() == 2), "a panel has 1 to 4 vectors");
    CodeShape c{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], 0.0f, 0.0f, 0.0f};
    if (!floats.empty()) {
        c.keep = floats[0], c.add = floats[1];
    }
    check_codes(c);
    return c;
}

// Numbers: a ConvShape's, then those of its codes.
Shape conv_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() > 16, "a convolution has 16 numbers, and its codes 9");
    Shape shape{};
    shape.conv = make_conv_shape(numbers<16>(ints.first(16)));
    shape.codes = layer_codes(ints.subspan(16), floats);
    return shape;
}
Operands conv_operands(const Shape& shape, const Kernel& kernel) {
    const ConvShape& c = shape.conv;
    Operands found;
    found.in[0] = blocked(c.n, c.c, c.h, c.w, kernel.block_in);
    found.out[0] = found.in[1] = blocked(c.n, c.k, c.p, c.q, kernel.block_out);
    found.inputs = kernel.residual ? 2 : 1;
    return found;
}
WeightExtents conv_weight(const Shape& shape) {
    const ConvShape& c = shape.conv;
    return {c.k, c.c / c.groups * c.r * c.s, false};
}

// Numbers: m, n, k, then those of its codes.
Shape gemm_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() > 3, "a linear layer has 3 numbers, and its codes 9");
    Shape shape{};
    shape.gemm = make_gemm_shape(ints[0], ints[1], ints[2]);
    shape.codes = layer_codes(ints.subspan(3), floats);
    return shape;
}
Operands gemm_operands(const Shape& shape, const Kernel& kernel) {
    const GemmShape& g = shape.gemm;
    Operands found;
    found.in[0] = blocked(g.m, g.k, 1, 1, kernel.block_in);
    found.out[0] = blocked(g.m, g.n, 1, 1, kernel.block_out);
    return found;
}
WeightExtents gemm_weight(const Shape& shape) {
    return {shape.gemm.n, shape.gemm.k, false};
}

// x_zero, zero, low and high, and the scale.
CodeShape few_codes(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<4>(ints);
    CodeShape c{};
    c.x_zero = v[0], c.zero = v[1], c.low = v[2], c.high = v[3];
    c.scale = constants<1>(floats)[0];
    check_codes(c);
    return c;
}

// Numbers: a PoolShape's, then four of its codes; floats: the scale.
Shape pool_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() > 16, "a pooling has 16 numbers, and its codes 4");
    Shape shape{};
    shape.pool = make_pool_shape(numbers<16>(ints.first(16)));
    shape.codes = few_codes(ints.subspan(16), floats);
    return shape;
}
Operands pool_operands(const Shape& shape, const Kernel& kernel) {
    const PoolShape& p = shape.pool;
    require(p.r * p.s < (int64_t{1} << 23), "the sum of a window fits into int32");
    Operands found;
    found.in[0] = blocked(p.n, p.c, p.h, p.w, kernel.block_in);
    found.out[0] = blocked(p.n, p.c, p.p, p.q, kernel.block_out);
    return found;
}

// Numbers: elements, x_zero, r_zero, zero, low, high; floats: keep and add.
Shape add_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<6>(ints);
    Shape shape{};
    shape.element.count = checked_product(v.data(), 1);
    shape.codes = {1, v[1], v[3], v[4], v[5], v[2], 0, 0, 0, constants<2>(floats)[0], floats[1], 0.0f};
    check_codes(shape.codes);
    return shape;
}
Operands add_operands(const Shape& shape, const Kernel&) {
    Operands found;
    found.required = found.inputs = 2;
    found.in[0] = found.in[1] = found.out[0] = shape.element.count;
    return found;
}

// Numbers: n, c, pixels, then four of its codes; floats: the scale.
Shape layout_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() == 7, "a layout has 3 numbers, and its codes 4");
    Shape shape{};
    ElementShape& e = shape.element;
    e.count = checked_product(ints.data(), 3);
    e.outer = ints[0], e.channels = ints[1], e.inner = ints[2];
    shape.codes = few_codes(ints.subspan(3), floats);
    return shape;
}
Operands layout_operands(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_in);
    found.out[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_out);
    return found;
}

int64_t words_of(int64_t channels, const Kernel& kernel) {
    const int64_t word = bits_form(kernel).channels;
    return (channels + word - 1) / word;
}

// Numbers: a ConvShape's, then the vectors of a panel. The input is words of 32 bits, four codes each.
Shape bits_shape(std::span<const int64_t> ints, std::span<const float>) {
    require(ints.size() == 17 && ints[16] >= 1 && ints[16] <= 4,
            "a convolution has 16 numbers, and a panel 1 to 4 vectors");
    Shape shape{};
    shape.conv = make_conv_shape(numbers<16>(ints.first(16)));
    shape.codes.vectors = ints[16];
    return shape;
}
Operands bits_operands(const Shape& shape, const Kernel& kernel) {
    const ConvShape& c = shape.conv;
    Operands found;
    found.in[0] = blocked(c.n, words_of(c.c, kernel) * 4, c.h, c.w, kernel.block_in);
    found.out[0] = blocked(c.n, c.k, c.p, c.q, kernel.block_out);
    return found;
}

// Numbers: n, c, pixels.
Shape binarize_shape(std::span<const int64_t> ints, std::span<const float>) {
    const auto v = numbers<3>(ints);
    Shape shape{};
    ElementShape& e = shape.element;
    e.count = checked_product(v.data(), 3);
    e.outer = v[0], e.channels = v[1], e.inner = v[2];
    return shape;
}
Operands binarize_operands(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_in);
    found.out[0] = blocked(e.outer, words_of(e.channels, kernel) * 4, e.inner, 1, kernel.block_out);
    return found;
}

}  // namespace

const Rule* codes_rule(Op op) {
    static constexpr Rule kConv{conv_shape, conv_operands, conv_weight};
    static constexpr Rule kGemm{gemm_shape, gemm_operands, gemm_weight};
    static constexpr Rule kPool{pool_shape, pool_operands, no_weight};
    static constexpr Rule kAdd{add_shape, add_operands, no_weight};
    static constexpr Rule kLayout{layout_shape, layout_operands, no_weight};
    static constexpr Rule kBits{bits_shape, bits_operands, conv_weight};
    static constexpr Rule kBinarize{binarize_shape, binarize_operands, no_weight};
    switch (op) {
        case Op::conv_bits:
            return &kBits;
        case Op::binarize:
            return &kBinarize;
        case Op::conv_codes:
            return &kConv;
        case Op::gemm_codes:
            return &kGemm;
        case Op::pool_codes:
            return &kPool;
        case Op::add_codes:
            return &kAdd;
        case Op::quantize:
        case Op::dequantize:
        case Op::reorder_codes:
            return &kLayout;
        default:
            return nullptr;
    }
}

}  // namespace lissome
