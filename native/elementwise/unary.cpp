// Elementwise functions of one tensor: relu, leaky relu, sigmoid, tanh, copy. A task is a run of 4096 elements.
// exp and tanh are the C library's, the same on every instruction set.
#include <math.h>

#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel unary_f32_relu, unary_f32_leaky_relu, unary_f32_sigmoid, unary_f32_tanh, unary_f32_copy;

static constexpr int64_t kRun = 4096;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.count, kRun);
}

LISSOME_INLINE float rectify(float x, float) {
    return x < 0.0f ? 0.0f : x;
}
LISSOME_INLINE float leak(float x, float alpha) {
    return x < 0.0f ? alpha * x : x;
}
// The side of exp that cannot overflow, so that both tails are right.
LISSOME_INLINE float logistic(float x, float) {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
LISSOME_INLINE float hyperbolic(float x, float) {
    return tanhf(x);
}
LISSOME_INLINE float same(float x, float) {
    return x;
}

template <float (*function)(float, float)>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const float alpha = call.shape->element.alpha;
    const int64_t last = least(end * kRun, call.shape->element.count);
    const float* __restrict x = call.in[0];
    float* __restrict y = call.out[0];
    for (int64_t i = begin * kRun; i < last; ++i) {
        y[i] = function(x[i], alpha);
    }
}

#define LISSOME_UNARY(name, function)         \
    const Kernel name = {LISSOME_NAME(#name), \
                         Op::unary,           \
                         Isa::LISSOME_ISA,    \
                         Form::none,          \
                         0,                   \
                         no_workspace,        \
                         {{tasks, run<function>}, {nullptr, nullptr}}}

LISSOME_UNARY(unary_f32_relu, rectify);
LISSOME_UNARY(unary_f32_leaky_relu, leak);
LISSOME_UNARY(unary_f32_sigmoid, logistic);
LISSOME_UNARY(unary_f32_tanh, hyperbolic);
LISSOME_UNARY(unary_f32_copy, same);

}  // namespace lissome::LISSOME_ISA
