// Rules of what moves elements: strided copies, and selections along one axis.
#include "executor/rule_parts.h"

namespace lissome {
namespace {

// Every element of one side lies within its tensor.
void check_side(const MoveShape& m, const int64_t* stride, int64_t base, int64_t elements) {
    checked_product(&elements, 1);
    require(base >= 0 && base < elements, "a move begins within its tensors");
    int64_t low = base, high = base;
    for (int64_t i = 0; i < m.rank; ++i) {
        int64_t span = 0;
        require(!__builtin_mul_overflow(m.dim[i] - 1, stride[i], &span) && span > -kMaxReach && span < kMaxReach,
                "a stride is too large");
        (span < 0 ? low : high) += span;
    }
    require(low >= 0 && high < elements, "a move stays within its tensors");
}

// No element is written twice: each stride goes beyond all that the axes of smaller strides reach.
void check_distinct(const MoveShape& m) {
    for (int64_t i = 0; i < m.rank; ++i) {
        int64_t reached = 0;
        for (int64_t j = 0; j < m.rank; ++j) {
            reached += j != i && m.to[j] <= m.to[i] ? (m.dim[j] - 1) * m.to[j] : 0;
        }
        require(m.dim[i] == 1 || m.to[i] > reached, "a move writes every element once");
    }
}

// Numbers: elements of the input and of the output, the first of each, then extents, strides of the input, which may
// be negative, and strides of the output.
Shape move_shape(std::span<const int64_t> ints, std::span<const float>) {
    require(ints.size() >= 7 && (ints.size() - 4) % 3 == 0 && ints.size() <= 4 + 3 * kMaxRank,
            "a move has 1 to 8 axes, each with two strides");
    Shape shape{};
    MoveShape& m = shape.move;
    m.from_elements = ints[0], m.to_elements = ints[1], m.from_base = ints[2], m.to_base = ints[3];
    m.rank = static_cast<int64_t>((ints.size() - 4) / 3);
    const auto at = ints.begin() + 4;
    std::copy_n(at, m.rank, m.dim);
    std::copy_n(at + m.rank, m.rank, m.from);
    std::copy_n(at + 2 * m.rank, m.rank, m.to);
    m.count = checked_product(m.dim, m.rank);
    check_side(m, m.from, m.from_base, m.from_elements);
    check_side(m, m.to, m.to_base, m.to_elements);
    check_distinct(m);
    return shape;
}
Operands move_operands(const Shape& shape, const Kernel&) {
    Operands found;
    found.in[0] = shape.move.from_elements;
    found.out[0] = shape.move.to_elements;
    return found;
}

// Numbers: extents before and behind the axis, how many elements are made, then the axis's extent in every input.
Shape select_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    require(ints.size() >= 4 && ints.size() <= 3 + kMaxParts, "a selection has 1 to 8 inputs");
    Shape shape{};
    ElementShape& e = shape.element;
    e.outer = ints[0], e.inner = ints[1], e.made = ints[2];
    const int64_t out[] = {e.outer, e.inner, e.made};
    checked_product(out, 3);
    for (size_t i = 3; i < ints.size(); ++i) {
        e.parts[i - 3] = ints[i];
        const int64_t in[] = {e.outer, e.inner, ints[i]};
        checked_product(in, 3);
        e.channels += ints[i];
    }
    checked_product(&e.channels, 1);
    e.alpha = constants<1>(floats)[0];
    return shape;
}
Operands select_operands(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found;
    found.inputs = 0;
    while (found.inputs < kMaxParts && e.parts[found.inputs] > 0) {
        found.in[found.inputs] = blocked(e.outer, e.parts[found.inputs], e.inner, 1, kernel.block_in);
        ++found.inputs;
    }
    found.required = found.inputs;
    found.out[0] = blocked(e.outer, e.made, e.inner, 1, kernel.block_out);
    return found;
}
WeightExtents select_weight(const Shape& shape) {
    return {shape.element.made, shape.element.channels, false};
}

// Numbers: extents before and behind the axis, how many elements are made, of how many taps each, and the extent of
// the axis. Floats: what lies outside.
Shape resample_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<5>(ints);
    Shape shape{};
    ElementShape& e = shape.element;
    e.outer = v[0], e.inner = v[1], e.made = v[2], e.taps = v[3], e.channels = v[4];
    const int64_t out[] = {v[0], v[1], v[2]}, in[] = {v[0], v[1], v[4]}, table[] = {v[2], v[3]};
    checked_product(out, 3);
    checked_product(in, 3);
    checked_product(table, 2);
    e.alpha = constants<1>(floats)[0];
    return shape;
}
Operands resample_operands(const Shape& shape, const Kernel&) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = e.outer * e.inner * e.channels;
    found.out[0] = e.outer * e.inner * e.made;
    return found;
}
WeightExtents resample_weight(const Shape& shape) {
    return {shape.element.made * shape.element.taps, shape.element.channels, false};
}

}  // namespace

const Rule* movement_rule(Op op) {
    static constexpr Rule kMove{move_shape, move_operands, no_weight};
    static constexpr Rule kSelect{select_shape, select_operands, select_weight};
    static constexpr Rule kResample{resample_shape, resample_operands, resample_weight};
    return op == Op::move ? &kMove : op == Op::select ? &kSelect : op == Op::resample ? &kResample : nullptr;
}

}  // namespace lissome
