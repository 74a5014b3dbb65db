// binary_f32_*: two tensors with NumPy's broadcasting. A task is a run of 4096 elements of the output.
#include "core/activation.h"
#include "core/functions.h"
#include "core/kernel.h"
#include "core/walk.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kRun = 4096;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.count, kRun);
}

LISSOME_INLINE Vec sum(Vec a, Vec b) {
    return add(a, b);
}
LISSOME_INLINE Vec difference(Vec a, Vec b) {
    return subtract(a, b);
}
LISSOME_INLINE Vec product(Vec a, Vec b) {
    return multiply(a, b);
}
LISSOME_INLINE Vec quotient(Vec a, Vec b) {
    return divide(a, b);
}
LISSOME_INLINE Vec larger(Vec a, Vec b) {
    return maximum(a, b);
}
LISSOME_INLINE Vec smaller(Vec a, Vec b) {
    return negate(maximum(negate(a), negate(b)));
}
// Negative a times its slope b.
LISSOME_INLINE Vec sloped(Vec a, Vec b) {
    return pick(less(a, zero()), multiply(a, b), a);
}
// The C library's, lane by lane: a power by logarithms loses digits as the exponent grows.
LISSOME_INLINE Vec power(Vec a, Vec b) {
    float base[kLanes], exponent[kLanes];
    store(base, a);
    store(exponent, b);
    for (int i = 0; i < kLanes; ++i) {
        base[i] = powf(base[i], exponent[i]);
    }
    return load(base);
}

// The first `count` elements of an operand, kLanes at most, that lie `step` apart.
LISSOME_INLINE Vec operand(const float* p, int64_t step, int64_t count) {
    if (step == 1 && count == kLanes) {
        return load(p);
    }
    if (step == 0) {
        return broadcast(*p);
    }
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i * step];
    }
    return load(lanes);
}

// `run` elements of the output at y. Steps that are known when compiling make the common cases plain vector loops.
template <Vec (*function)(Vec, Vec)>
LISSOME_INLINE void line(const float* a, int64_t step_a, const float* b, int64_t step_b, float* y, int64_t run,
                         const Activation& activation) {
    int64_t i = 0;
    for (; i + kLanes <= run; i += kLanes) {
        const Vec left = operand(a + i * step_a, step_a, kLanes), right = operand(b + i * step_b, step_b, kLanes);
        store(y + i, activate(function(left, right), activation));
    }
    if (i < run) {
        const Vec left = operand(a + i * step_a, step_a, run - i), right = operand(b + i * step_b, step_b, run - i);
        store_some(y + i, activate(function(left, right), activation), run - i);
    }
}

template <Vec (*function)(Vec, Vec)>
void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t step_a = e.stride_a[e.rank - 1], step_b = e.stride_b[e.rank - 1];
    const int64_t* const strides[2] = {e.stride_a, e.stride_b};
    float* y = call.out[0] + begin * kRun;
    const Activation activation = call.activation;
    walk(e.dim, e.rank, strides, begin * kRun, least(end * kRun, e.count), [&](const int64_t* offset, int64_t run) {
        const float *a = call.in[0] + offset[0], *b = call.in[1] + offset[1];
        if (step_a == 1 && step_b == 1) {
            line<function>(a, 1, b, 1, y, run, activation);
        } else if (step_a == 1 && step_b == 0) {
            line<function>(a, 1, b, 0, y, run, activation);
        } else {
            line<function>(a, step_a, b, step_b, y, run, activation);
        }
        y += run;
    });
}

}  // namespace

#define LISSOME_BINARY(name, function)        \
    extern const Kernel name;                 \
    const Kernel name = {LISSOME_NAME(#name), \
                         Op::binary,          \
                         Isa::LISSOME_ISA,    \
                         Form::none,          \
                         0,                   \
                         no_workspace,        \
                         {{tasks, run<function>}, {nullptr, nullptr}}}

LISSOME_BINARY(binary_f32_add, sum);
LISSOME_BINARY(binary_f32_divide, quotient);
LISSOME_BINARY(binary_f32_maximum, larger);
LISSOME_BINARY(binary_f32_minimum, smaller);
LISSOME_BINARY(binary_f32_multiply, product);
LISSOME_BINARY(binary_f32_power, power);
LISSOME_BINARY(binary_f32_prelu, sloped);
LISSOME_BINARY(binary_f32_subtract, difference);

}  // namespace lissome::LISSOME_ISA
