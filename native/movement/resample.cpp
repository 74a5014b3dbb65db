// resample_f32: y[o, k, i] = Σ_t weight[t, k] · x[o, index[t, k], i] along one axis, which is every interpolation that
// is separable; kNothing as an index gives the constant alpha. A task is a run of outputs along the axis.
// Indices and weights: (taps, made).
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kRun = 2048;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t rows_a_task(const ElementShape& e) {
    return e.inner >= kRun ? 1 : kRun / e.inner;
}

int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.outer * shape.element.made, rows_a_task(shape.element));
}

// One output of the axis: a row of `inner` elements.
LISSOME_INLINE void row(const ElementShape& e, const float* x, const uint32_t* index, const float* weight, float* y) {
    int64_t i = 0;
    for (; i + kLanes <= e.inner; i += kLanes) {
        Vec sum = zero();
        for (int64_t t = 0; t < e.taps; ++t) {
            sum = fma(broadcast(weight[t * e.made]), load(x + index[t * e.made] * e.inner + i), sum);
        }
        store(y + i, sum);
    }
    for (; i < e.inner; ++i) {
        float sum = 0.0f;
        for (int64_t t = 0; t < e.taps; ++t) {
            sum += weight[t * e.made] * x[index[t * e.made] * e.inner + i];
        }
        y[i] = sum;
    }
}

void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const uint32_t* index = static_cast<const uint32_t*>(call.weights.index);
    const int64_t each = rows_a_task(e), last = least(end * each, e.outer * e.made);
    for (int64_t at = begin * each; at < last; ++at) {
        const int64_t k = at % e.made;
        float* y = call.out[0] + at * e.inner;
        if (index[k] == kNothing) {
            for (int64_t i = 0; i < e.inner; ++i) {
                y[i] = e.alpha;
            }
        } else {
            row(e, call.in[0] + at / e.made * e.channels * e.inner, index + k, call.weights.dense + k, y);
        }
    }
}

}  // namespace

extern const Kernel resample_f32;
const Kernel resample_f32 = {
    LISSOME_NAME("resample_f32"),      Op::resample, Isa::LISSOME_ISA, Form::weighted, 0, no_workspace,
    {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
