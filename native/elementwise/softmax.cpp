// softmax_f32, log_softmax_f32: y = exp(x − max x) / Σ exp(x − max x) along one axis, or its logarithm. A task is one
// row where the axis is the last one, else a vector of neighbouring columns.
#include "core/functions.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {
namespace {

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t tasks(const Shape& shape, int) {
    const ElementShape& e = shape.element;
    return e.inner == 1 ? e.outer : e.outer * ceil_div(e.inner, kLanes);
}

LISSOME_INLINE float lanes_largest(Vec x) {
    float lanes[kLanes], most;
    store(lanes, x);
    most = lanes[0];
    for (int i = 1; i < kLanes; ++i) {
        most = lanes[i] > most || lanes[i] != lanes[i] ? lanes[i] : most;
    }
    return most;
}

// What is left of x after the largest and the sum of all exponentials are known.
template <bool Log>
LISSOME_INLINE Vec finish(Vec centred_or_exponential, Vec sum) {
    return Log ? subtract(centred_or_exponential, logarithm(sum)) : divide(centred_or_exponential, sum);
}

template <bool Log>
LISSOME_INLINE void row(const float* x, float* y, int64_t count) {
    const Vec least_of_all = broadcast(-__builtin_inff());
    Vec most = least_of_all, sum = zero();
    const int64_t whole = count / kLanes * kLanes, rest = count - whole;
    for (int64_t i = 0; i < whole; i += kLanes) {
        most = maximum(most, load(x + i));
    }
    float largest = lanes_largest(most), total = 0.0f;
    for (int64_t i = whole; i < count; ++i) {
        largest = x[i] > largest || x[i] != x[i] ? x[i] : largest;
    }
    const Vec centre = broadcast(largest);
    for (int64_t i = 0; i < whole; i += kLanes) {
        const Vec centred = subtract(load(x + i), centre), e = exponential(centred);
        store(y + i, Log ? centred : e);
        sum = add(sum, e);
    }
    total = lanes_sum(sum);
    if (rest > 0) {
        const Vec centred = subtract(load_some(x + whole, rest), centre), e = exponential(centred);
        store_some(y + whole, Log ? centred : e, rest);
        total += lanes_sum(e, rest);
    }
    const Vec divisor = broadcast(total);
    for (int64_t i = 0; i < whole; i += kLanes) {
        store(y + i, finish<Log>(load(y + i), divisor));
    }
    if (rest > 0) {
        store_some(y + whole, finish<Log>(load_some(y + whole, rest), divisor), rest);
    }
}

// `count` columns, kLanes at most, of an axis whose elements lie `inner` apart.
template <bool Log>
LISSOME_INLINE void columns(const float* x, float* y, int64_t axis, int64_t inner, int64_t count) {
    const auto get = [&](const float* p) { return load_some(p, count); };
    const auto put = [&](float* p, Vec value) { store_some(p, value, count); };
    Vec most = get(x), sum = zero();
    for (int64_t i = 1; i < axis; ++i) {
        most = maximum(most, get(x + i * inner));
    }
    for (int64_t i = 0; i < axis; ++i) {
        const Vec centred = subtract(get(x + i * inner), most), e = exponential(centred);
        put(y + i * inner, Log ? centred : e);
        sum = add(sum, e);
    }
    for (int64_t i = 0; i < axis; ++i) {
        put(y + i * inner, finish<Log>(get(y + i * inner), sum));
    }
}

template <bool Log>
void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t vectors = ceil_div(e.inner, kLanes);
    for (int64_t task = begin; task < end; ++task) {
        if (e.inner == 1) {
            row<Log>(call.in[0] + task * e.channels, call.out[0] + task * e.channels, e.channels);
            continue;
        }
        const int64_t first = task % vectors * kLanes, base = task / vectors * e.channels * e.inner + first;
        columns<Log>(call.in[0] + base, call.out[0] + base, e.channels, e.inner, least(e.inner - first, kLanes));
    }
}

}  // namespace

extern const Kernel softmax_f32, log_softmax_f32;
const Kernel softmax_f32 = {LISSOME_NAME("softmax_f32"),
                            Op::softmax,
                            Isa::LISSOME_ISA,
                            Form::none,
                            0,
                            no_workspace,
                            {{tasks, run<false>}, {nullptr, nullptr}}};
const Kernel log_softmax_f32 = {
    LISSOME_NAME("log_softmax_f32"),         Op::softmax, Isa::LISSOME_ISA, Form::none, 0, no_workspace,
    {{tasks, run<true>}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
