// reduce_f32_*: (outer, channels, inner) to (outer, inner) by sum, mean, product, largest or smallest. A task is one
// row where the axis is the last one, else a vector of neighbouring columns; either in four interleaved sums.
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t tasks(const Shape& shape, int) {
    const ElementShape& e = shape.element;
    return e.inner == 1 ? e.outer : e.outer * ceil_div(e.inner, kLanes);
}

struct Sum {
    static constexpr float start = 0.0f;
    static constexpr bool mean = false;
    __attribute__((always_inline)) static inline Vec of(Vec a, Vec b) { return add(a, b); }
};
struct Mean : Sum {
    static constexpr bool mean = true;
};
struct Product {
    static constexpr float start = 1.0f;
    static constexpr bool mean = false;
    __attribute__((always_inline)) static inline Vec of(Vec a, Vec b) { return multiply(a, b); }
};
struct Largest {
    static constexpr float start = -__builtin_inff();
    static constexpr bool mean = false;
    __attribute__((always_inline)) static inline Vec of(Vec a, Vec b) { return maximum(a, b); }
};
struct Smallest {
    static constexpr float start = __builtin_inff();
    static constexpr bool mean = false;
    __attribute__((always_inline)) static inline Vec of(Vec a, Vec b) { return negate(maximum(negate(a), negate(b))); }
};

// Σ of the vectors at x, x + step, …, of which there are `count`.
template <class Reduce>
LISSOME_INLINE Vec fold(const float* x, int64_t step, int64_t count) {
    const Vec start = broadcast(Reduce::start);
    Vec a = start, b = start, c = start, d = start;
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        a = Reduce::of(a, load(x + i * step));
        b = Reduce::of(b, load(x + (i + 1) * step));
        c = Reduce::of(c, load(x + (i + 2) * step));
        d = Reduce::of(d, load(x + (i + 3) * step));
    }
    for (; i < count; ++i) {
        a = Reduce::of(a, load(x + i * step));
    }
    return Reduce::of(Reduce::of(a, b), Reduce::of(c, d));
}

template <class Reduce>
LISSOME_INLINE float row(const float* x, int64_t count) {
    const int64_t whole = count / kLanes * kLanes;
    const Vec sum = fold<Reduce>(x, kLanes, count / kLanes);
    float lanes[kLanes];
    store(lanes, sum);
    Vec total = broadcast(lanes[0]);
    for (int i = 1; i < kLanes; ++i) {
        total = Reduce::of(total, broadcast(lanes[i]));
    }
    for (int64_t i = whole; i < count; ++i) {
        total = Reduce::of(total, broadcast(x[i]));
    }
    store(lanes, total);
    return lanes[0];
}

template <class Reduce>
LISSOME_INLINE Vec columns(const float* x, const ElementShape& e, int64_t count) {
    if (count == kLanes) {
        return fold<Reduce>(x, e.inner, e.channels);
    }
    Vec sum = broadcast(Reduce::start);
    for (int64_t i = 0; i < e.channels; ++i) {
        sum = Reduce::of(sum, load_some(x + i * e.inner, count));
    }
    return sum;
}

template <class Reduce>
void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const Activation activation = call.activation;
    const auto extent = static_cast<float>(e.channels);
    const int64_t vectors = ceil_div(e.inner, kLanes);
    for (int64_t task = begin; task < end; ++task) {
        if (e.inner == 1) {
            const float sum = row<Reduce>(call.in[0] + task * e.channels, e.channels);
            call.out[0][task] = activate(Reduce::mean ? sum / extent : sum, activation);
            continue;
        }
        const int64_t outer = task / vectors, first = task % vectors * kLanes;
        const int64_t count = least(e.inner - first, kLanes);
        const Vec sum = columns<Reduce>(call.in[0] + outer * e.channels * e.inner + first, e, count);
        const Vec result = activate(Reduce::mean ? divide(sum, broadcast(extent)) : sum, activation);
        store_some(call.out[0] + outer * e.inner + first, result, count);
    }
}

}  // namespace

#define LISSOME_REDUCE(name, Reduce)          \
    extern const Kernel name;                 \
    const Kernel name = {LISSOME_NAME(#name), \
                         Op::reduce,          \
                         Isa::LISSOME_ISA,    \
                         Form::none,          \
                         0,                   \
                         no_workspace,        \
                         {{tasks, run<Reduce>}, {nullptr, nullptr}}}

LISSOME_REDUCE(reduce_f32_max, Largest);
LISSOME_REDUCE(reduce_f32_mean, Mean);
LISSOME_REDUCE(reduce_f32_min, Smallest);
LISSOME_REDUCE(reduce_f32_product, Product);
LISSOME_REDUCE(reduce_f32_sum, Sum);

}  // namespace lissome::LISSOME_ISA
