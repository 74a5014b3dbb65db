// Rules of what goes along one axis of a tensor seen as (outer, channels, inner), and of recurrent layers.
#include "executor/rule_parts.h"

namespace lissome {
namespace {

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
Operands same_size(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = found.out[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_in);
    return found;
}
WeightExtents scale_and_shift(const Shape& shape) {
    return {2, shape.element.channels, false};
}

Operands reordered(const Shape& shape, const Kernel& kernel) {
    const ElementShape& e = shape.element;
    Operands found = same_size(shape, kernel);
    found.out[0] = blocked(e.outer, e.channels, e.inner, 1, kernel.block_out);
    return found;
}

Operands reduced(const Shape& shape, const Kernel&) {
    const ElementShape& e = shape.element;
    Operands found;
    found.in[0] = e.count;
    found.out[0] = e.outer * e.inner;
    return found;
}

// Numbers: rows, and how long each is. Floats: ε.
Shape layer_norm_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<2>(ints);
    const int64_t extents[] = {v[0], v[1], 1};
    Shape shape = axis_shape(extents, {});
    shape.element.alpha = constants<1>(floats)[0];
    return shape;
}

// Numbers: those of an axis, and how many neighbours are summed. Floats: alpha, beta, bias.
Shape lrn_shape(std::span<const int64_t> ints, std::span<const float> floats) {
    const auto v = numbers<4>(ints);
    const auto f = constants<3>(floats);
    Shape shape = axis_shape(ints.first(3), {});
    ElementShape& e = shape.element;
    checked_product(&v[3], 1);
    e.taps = v[3];
    e.alpha = f[0], e.beta = f[1], e.gamma = f[2];
    return shape;
}

// Numbers: steps, batch, hidden units, those in whole vectors, directions, which of them, whether it goes backwards.
Shape lstm_shape(std::span<const int64_t> ints, std::span<const float>) {
    const auto v = numbers<7>(ints);
    Shape shape{};
    shape.recurrent = {v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
    const int64_t out[] = {v[0], v[1], v[2], v[4]}, gates[] = {v[0], v[1], 4, v[3]};
    checked_product(out, 4);
    checked_product(gates, 4);
    require(v[4] <= 2 && v[5] >= 0 && v[5] < v[4], "a recurrent layer has one or two directions");
    return shape;
}
Operands lstm_operands(const Shape& shape, const Kernel& kernel) {
    const RecurrentShape& s = shape.recurrent;
    const int64_t lanes = kernel.panel / 4;
    require(s.units == (s.hidden + lanes - 1) / lanes * lanes, "hidden units are padded to whole vectors");
    Operands found;
    found.required = found.inputs = 4;
    found.outputs = 3;
    found.in[0] = s.steps * s.batch * 4 * s.units;
    found.in[1] = found.in[2] = s.batch * s.hidden;
    found.in[3] = 3 * s.units;
    found.out[0] = s.steps * s.directions * s.batch * s.hidden;
    found.out[1] = found.out[2] = s.batch * s.hidden;
    return found;
}
WeightExtents lstm_weight(const Shape& shape) {
    return {4 * shape.recurrent.units, shape.recurrent.hidden, false};
}

}  // namespace

const Rule* axis_rule(Op op) {
    static constexpr Rule kAffine{axis_shape, same_size, scale_and_shift};
    static constexpr Rule kSoftmax{axis_shape, same_size, no_weight};
    static constexpr Rule kReorder{axis_shape, reordered, no_weight};
    static constexpr Rule kReduce{axis_shape, reduced, no_weight};
    static constexpr Rule kLayerNorm{layer_norm_shape, same_size, scale_and_shift};
    static constexpr Rule kLrn{lrn_shape, same_size, no_weight};
    static constexpr Rule kLstm{lstm_shape, lstm_operands, lstm_weight};
    switch (op) {
        case Op::affine:
            return &kAffine;
        case Op::softmax:
            return &kSoftmax;
        case Op::reorder:
            return &kReorder;
        case Op::reduce:
            return &kReduce;
        case Op::layer_norm:
            return &kLayerNorm;
        case Op::lrn:
            return &kLrn;
        case Op::lstm:
            return &kLstm;
        default:
            return nullptr;
    }
}

}  // namespace lissome
