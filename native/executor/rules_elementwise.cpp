// Rules of the functions of one tensor and of two.
#include "executor/rule_parts.h"

namespace lissome {
namespace {

// Numbers: how many elements; floats: alpha and beta, where the function has them.
Shape unary_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<1>(ints);
    require(floats.size() <= 2, "an elementwise function has at most two constants");
    Shape shape{};
    shape.element.count = checked_product(v.data(), 1);
    shape.element.alpha = floats.empty() ? 0.0f : floats[0];
    shape.element.beta = floats.size() < 2 ? 0.0f : floats[1];
    return shape;
}
Operands unary_operands(const Shape& shape, const Kernel&) {
    Operands found;
    found.in[0] = found.out[0] = shape.element.count;
    return found;
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
    found.in[0] = reach(e.dim, e.stride_a, e.rank);
    found.in[1] = reach(e.dim, e.stride_b, e.rank);
    found.out[0] = e.count;
    return found;
}

// Numbers: extents of the batch, then m, n, k, then a's strides of the batch, of its rows and of its columns, then b's;
// 3 · (r + 2) + 1 of them. Floats: alpha.
Shape product_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() >= 7 && (ints.size() - 7) % 3 == 0 && ints.size() <= 7 + 3 * kMaxRank,
            "a product has up to 8 batch axes, three extents, and strides of two operands");
    Shape shape{};
    ProductShape& p = shape.product;
    p.rank = static_cast<int64_t>((ints.size() - 7) / 3);
    const int64_t* at = ints.data();
    p.batch = checked_product(at, p.rank);
    std::copy_n(at, p.rank, p.dim);
    at += p.rank;
    p.m = at[0], p.n = at[1], p.k = at[2];
    at += 3;
    const int64_t y[] = {p.batch, p.m, p.n}, a[] = {p.m, p.k}, b[] = {p.k, p.n};
    checked_product(y, 3);
    checked_product(a, 2);
    checked_product(b, 2);
    std::copy_n(at, p.rank, p.a_stride);
    at += p.rank;
    p.a_row = at[0], p.a_column = at[1];
    at += 2;
    std::copy_n(at, p.rank, p.b_stride);
    at += p.rank;
    p.b_row = at[0], p.b_column = at[1];
    p.alpha = constants<1>(floats)[0];
    return shape;
}

int64_t product_reach(const ProductShape& p, const int64_t* batch, std::array<int64_t, 2> dim,
                      std::array<int64_t, 2> stride) {
    return reach(p.dim, batch, p.rank) + reach(dim.data(), stride.data(), 2) - 1;
}
Operands product_operands(const Shape& shape, const Kernel&) {
    const ProductShape& p = shape.product;
    Operands found;
    found.required = found.inputs = 2;
    found.in[0] = product_reach(p, p.a_stride, {p.m, p.k}, {p.a_row, p.a_column});
    found.in[1] = product_reach(p, p.b_stride, {p.k, p.n}, {p.b_row, p.b_column});
    found.out[0] = p.batch * p.m * p.n;
    return found;
}

}  // namespace

int64_t reach(const int64_t* dim, const int64_t* stride, int64_t rank) {
    int64_t last = 0;
    for (int64_t i = 0; i < rank; ++i) {
        require(stride[i] >= 0 && stride[i] < kMaxReach, "a stride is not negative");
        int64_t span = 0;
        require(!__builtin_mul_overflow(dim[i] - 1, stride[i], &span) && span < kMaxReach, "a stride is too large");
        last += span;
    }
    return last + 1;
}

const Rule* elementwise_rule(Op op) {
    static constexpr Rule kUnary{unary_shape, unary_operands, no_weight};
    static constexpr Rule kBinary{binary_shape, binary_operands, no_weight};
    static constexpr Rule kProduct{product_shape, product_operands, no_weight};
    return op == Op::unary ? &kUnary : op == Op::binary ? &kBinary : op == Op::product ? &kProduct : nullptr;
}

}  // namespace lissome
