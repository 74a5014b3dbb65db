// layer_norm_f32: y = (x − mean x) / √(variance x + ε) · scale + offset over rows of `channels` elements. A task is one
// row. Weights: the row of scales, then that of offsets. The mean goes first, so that no digits cancel.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t tasks(const Shape& shape, int) {
    return shape.element.outer;
}

// Σ f(x) in two interleaved vectors of sums, then the rest.
template <class Function>
LISSOME_INLINE float total(const float* x, int64_t count, const Function& function) {
    Vec a = zero(), b = zero();
    int64_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        a = add(a, function(load(x + i)));
        b = add(b, function(load(x + i + kLanes)));
    }
    for (; i + kLanes <= count; i += kLanes) {
        a = add(a, function(load(x + i)));
    }
    const float sum = lanes_sum(add(a, b));
    return i < count ? sum + lanes_sum(function(load_some(x + i, count - i)), count - i) : sum;
}

void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const Activation activation = call.activation;
    const float *scale = call.weights.dense, *offset = scale + e.channels;
    for (int64_t task = begin; task < end; ++task) {
        const float* x = call.in[0] + task * e.channels;
        float* y = call.out[0] + task * e.channels;
        const auto count = static_cast<float>(e.channels);
        const Vec mean = broadcast(total(x, e.channels, [](Vec v) { return v; }) / count);
        const float variance = total(x, e.channels,
                                     [&](Vec v) {
                                         const Vec centred = subtract(v, mean);
                                         return multiply(centred, centred);
                                     }) /
                               count;
        const Vec factor = broadcast(1.0f / sqrtf(variance + e.alpha));
        const auto finish = [&](Vec v, Vec s, Vec o) {
            return activate(fma(multiply(subtract(v, mean), factor), s, o), activation);
        };
        int64_t i = 0;
        for (; i + kLanes <= e.channels; i += kLanes) {
            store(y + i, finish(load(x + i), load(scale + i), load(offset + i)));
        }
        if (i < e.channels) {
            const int64_t rest = e.channels - i;
            store_some(y + i, finish(load_some(x + i, rest), load_some(scale + i, rest), load_some(offset + i, rest)),
                       rest);
        }
    }
}

}  // namespace

extern const Kernel layer_norm_f32;
const Kernel layer_norm_f32 = {
    LISSOME_NAME("layer_norm_f32"),    Op::layer_norm, Isa::LISSOME_ISA, Form::rows, 0, no_workspace,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
