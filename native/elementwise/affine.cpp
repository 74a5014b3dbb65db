// affine_f32: y = scale[c] · x + shift[c], which is what batch normalisation is at inference. A task is one channel of
// one image. Weights: the row of scales, then the row of shifts.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel affine_f32;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.element.outer * shape.element.channels;
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t channel = task % e.channels;
        const float scale = call.weights.dense[channel], shift = call.weights.dense[e.channels + channel];
        const float* x = call.in[0] + task * e.inner;
        float* y = call.out[0] + task * e.inner;
        for (int64_t i = 0; i < e.inner; ++i) {
            y[i] = scale * x[i] + shift;
        }
        activate_all(y, e.inner, call.activation);
    }
}

const Kernel affine_f32 = {LISSOME_NAME("affine_f32"),        Op::affine, Isa::LISSOME_ISA, Form::rows, 0, no_workspace,
                           {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
