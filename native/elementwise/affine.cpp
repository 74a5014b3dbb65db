// affine_f32, affine_f32_blocked: y = scale[c] · x + shift[c], which is what batch normalisation is at inference. A
// task is one plane: a channel of an image, or a block of channels. Weights: the row of scales, then that of shifts.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t channels(const Shape& shape, int64_t block) {
    return ceil_div(shape.element.channels, block);
}

template <int64_t block>
int64_t tasks(const Shape& shape, int) {
    return shape.element.outer * channels(shape, block);
}

void run_plain(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const Activation activation = call.activation;
    for (int64_t task = begin; task < end; ++task) {
        const float* factors = call.weights.dense + task % e.channels;
        const Vec scale = broadcast(factors[0]), shift = broadcast(factors[e.channels]);
        const float* x = call.in[0] + task * e.inner;
        float* y = call.out[0] + task * e.inner;
        int64_t i = 0;
        for (; i + kLanes <= e.inner; i += kLanes) {
            store(y + i, activate(fma(load(x + i), scale, shift), activation));
        }
        if (i < e.inner) {
            store_some(y + i, activate(fma(load_some(x + i, e.inner - i), scale, shift), activation), e.inner - i);
        }
    }
}

// Lanes behind the last channel have scale and shift 0, so that they stay zeros.
void run_blocked(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const Activation activation = call.activation;
    const int64_t blocks = channels(*call.shape, kLanes);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % blocks * kLanes, held = least(e.channels - first, kLanes);
        const float* factors = call.weights.dense + first;
        const Vec scale = load_some(factors, held), shift = load_some(factors + e.channels, held);
        const float* x = call.in[0] + task * e.inner * kLanes;
        float* y = call.out[0] + task * e.inner * kLanes;
        for (int64_t i = 0; i < e.inner; ++i) {
            Vec result = activate(fma(load(x + i * kLanes), scale, shift), activation);
            store(y + i * kLanes, result);
        }
    }
}

}  // namespace

extern const Kernel affine_f32, affine_f32_blocked;
const Kernel affine_f32 = {LISSOME_NAME("affine_f32"),
                           Op::affine,
                           Isa::LISSOME_ISA,
                           Form::rows,
                           0,
                           no_workspace,
                           {{tasks<1>, run_plain}, {nullptr, nullptr}}};
const Kernel affine_f32_blocked = {LISSOME_NAME("affine_f32_blocked"),
                                   Op::affine,
                                   Isa::LISSOME_ISA,
                                   Form::rows,
                                   0,
                                   no_workspace,
                                   {{tasks<kLanes>, run_blocked}, {nullptr, nullptr}},
                                   kLanes,
                                   kLanes};

}  // namespace lissome::LISSOME_ISA
