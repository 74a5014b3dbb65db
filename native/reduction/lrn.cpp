// lrn_f32, lrn_f32_blocked: y = x / (bias + alpha / size · Σ x²) ^ beta, the sum over `size` neighbouring channels
// (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012, 3.3).
// A task is a strip of kStrip pixels of one image. Squares are summed anew for every channel: a running sum would
// keep what a large value has rounded away.
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kStrip = 64;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

int64_t strips(const ElementShape& e) {
    return ceil_div(e.inner, kStrip);
}

int64_t tasks(const Shape& shape, int) {
    return shape.element.outer * strips(shape.element);
}

// x / base ^ beta; 3/4, the usual power, by roots.
LISSOME_INLINE Vec divide_by_power(Vec x, Vec base, float beta) {
    if (beta == 0.75f) {
        const Vec root = square_root(base);
        return divide(x, multiply(root, square_root(root)));
    }
    float lanes[kLanes];
    store(lanes, base);
    for (int i = 0; i < kLanes; ++i) {
        lanes[i] = powf(lanes[i], beta);
    }
    return divide(x, load(lanes));
}

LISSOME_INLINE Vec normalise(Vec x, Vec squares, const ElementShape& e) {
    const Vec base = fma(squares, broadcast(e.alpha / static_cast<float>(e.taps)), broadcast(e.gamma));
    return divide_by_power(x, base, e.beta);
}

void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t before = (e.taps - 1) / 2, after = e.taps - 1 - before;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % strips(e) * kStrip, last = least(first + kStrip, e.inner);
        const int64_t image = task / strips(e) * e.channels * e.inner;
        for (int64_t c = 0; c < e.channels; ++c) {
            const int64_t low = c < before ? 0 : c - before, high = least(c + after, e.channels - 1);
            for (int64_t i = first; i < last; i += kLanes) {
                const int64_t count = least(last - i, kLanes);
                const float* x = call.in[0] + image + i;
                Vec squares = zero();
                for (int64_t near = low; near <= high; ++near) {
                    const Vec v = load_some(x + near * e.inner, count);
                    squares = fma(v, v, squares);
                }
                const Vec centre = load_some(x + c * e.inner, count);
                store_some(call.out[0] + image + c * e.inner + i, normalise(centre, squares, e), count);
            }
        }
    }
}

// Floats for one pixel's squares, with zeros for the neighbours that the first and last channels lack.
int64_t row_floats(const ElementShape& e) {
    return ceil_div(ceil_div(e.channels, kLanes) * kLanes + e.taps, 16) * 16;
}

int64_t blocked_workspace(const Shape& shape, int workers) {
    return workers * row_floats(shape.element) * 4;
}

void run_blocked(const Call& call, int64_t begin, int64_t end, int worker) {
    const ElementShape& e = call.shape->element;
    const int64_t blocks = ceil_div(e.channels, kLanes), plane = e.inner * kLanes, before = (e.taps - 1) / 2;
    float* squares = reinterpret_cast<float*>(call.workspace) + worker * row_floats(e);
    for (int64_t i = 0; i < row_floats(e); ++i) {
        squares[i] = 0.0f;
    }
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % strips(e) * kStrip, last = least(first + kStrip, e.inner);
        for (int64_t i = first; i < last; ++i) {
            const int64_t pixel = task / strips(e) * blocks * plane + i * kLanes;
            for (int64_t block = 0; block < blocks; ++block) {
                const Vec x = load(call.in[0] + pixel + block * plane);
                store(squares + before + block * kLanes, multiply(x, x));
            }
            for (int64_t block = 0; block < blocks; ++block) {
                Vec sum = zero();
                for (int64_t near = 0; near < e.taps; ++near) {
                    sum = add(sum, load(squares + block * kLanes + near));
                }
                store(call.out[0] + pixel + block * plane, normalise(load(call.in[0] + pixel + block * plane), sum, e));
            }
        }
    }
}

}  // namespace

extern const Kernel lrn_f32, lrn_f32_blocked;
const Kernel lrn_f32 = {LISSOME_NAME("lrn_f32"),           Op::lrn, Isa::LISSOME_ISA, Form::none, 0, no_workspace,
                        {{tasks, run}, {nullptr, nullptr}}};
const Kernel lrn_f32_blocked = {LISSOME_NAME("lrn_f32_blocked"),
                                Op::lrn,
                                Isa::LISSOME_ISA,
                                Form::none,
                                0,
                                blocked_workspace,
                                {{tasks, run_blocked}, {nullptr, nullptr}},
                                kLanes,
                                kLanes};

}  // namespace lissome::LISSOME_ISA
