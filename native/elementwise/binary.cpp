// binary_f32_add, binary_f32_multiply: two tensors with NumPy's broadcasting. A task is one run along the last axis.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel binary_f32_add, binary_f32_multiply;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.element.count / shape.element.dim[shape.element.rank - 1];
}

LISSOME_INLINE float sum(float a, float b) {
    return a + b;
}
LISSOME_INLINE float product(float a, float b) {
    return a * b;
}

template <float (*function)(float, float)>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t inner = e.rank - 1, extent = e.dim[inner], step_a = e.stride_a[inner], step_b = e.stride_b[inner];
    for (int64_t task = begin; task < end; ++task) {
        const float *a = call.in[0], *b = call.in[1];
        int64_t rest = task;
        for (int64_t axis = inner - 1; axis >= 0; --axis) {
            a += rest % e.dim[axis] * e.stride_a[axis];
            b += rest % e.dim[axis] * e.stride_b[axis];
            rest /= e.dim[axis];
        }
        float* y = call.out[0] + task * extent;
        if (step_a == 1 && step_b == 1) {
            for (int64_t i = 0; i < extent; ++i) {
                y[i] = function(a[i], b[i]);
            }
        } else {
            for (int64_t i = 0; i < extent; ++i) {
                y[i] = function(a[i * step_a], b[i * step_b]);
            }
        }
        activate_all(y, extent, call.activation);
    }
}

#define LISSOME_BINARY(name, function)        \
    const Kernel name = {LISSOME_NAME(#name), \
                         Op::binary,          \
                         Isa::LISSOME_ISA,    \
                         Form::none,          \
                         0,                   \
                         no_workspace,        \
                         {{tasks, run<function>}, {nullptr, nullptr}}}

LISSOME_BINARY(binary_f32_add, sum);
LISSOME_BINARY(binary_f32_multiply, product);

}  // namespace lissome::LISSOME_ISA
