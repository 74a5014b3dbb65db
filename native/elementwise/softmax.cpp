// softmax_f32: y = exp(x − max x) / Σ exp(x − max x) along one axis. A task is one (outer, inner) pair.
#include <math.h>

#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel softmax_f32;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.element.outer * shape.element.inner;
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t base = task / e.inner * e.channels * e.inner + task % e.inner;
        const float* x = call.in[0] + base;
        float* y = call.out[0] + base;
        float most = x[0], sum = 0.0f;
        for (int64_t i = 1; i < e.channels; ++i) {
            most = x[i * e.inner] > most ? x[i * e.inner] : most;
        }
        for (int64_t i = 0; i < e.channels; ++i) {
            y[i * e.inner] = expf(x[i * e.inner] - most);
            sum += y[i * e.inner];
        }
        for (int64_t i = 0; i < e.channels; ++i) {
            y[i * e.inner] /= sum;
        }
    }
}

const Kernel softmax_f32 = {
    LISSOME_NAME("softmax_f32"),       Op::softmax, Isa::LISSOME_ISA, Form::none, 0, no_workspace,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
