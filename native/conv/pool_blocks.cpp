// pool_f32_max_blocks, pool_f32_average_blocks: on blocked data, a vector holds one pixel of a block of channels, so
// that windows of any stride are plain vector loads. A task is some rows of one channel block. NaN passes through both.
#include "conv/columns.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

extern const Kernel pool_f32_max_blocks, pool_f32_average_blocks;

static constexpr int64_t kTaskWork = 1 << 15;  // vector operations in a task, about
static constexpr int kChains = 4;              // reductions at once: one alone would wait for itself

static int64_t rows_of_task(const PoolShape& s) {
    return ceil_div(s.p, least(s.p, ceil_div(s.p * s.q * s.r * s.s, kTaskWork)));
}

static int64_t tasks(const Shape& shape, int) {
    const PoolShape& s = shape.pool;
    return s.n * ceil_div(s.c, kLanes) * ceil_div(s.p, rows_of_task(s));
}

struct LargerOf {
    LISSOME_INLINE Vec start() { return broadcast(-__builtin_inff()); }
    LISSOME_INLINE Vec of(Vec a, Vec b) { return maximum(a, b); }
};

struct SumOf {
    LISSOME_INLINE Vec start() { return zero(); }
    LISSOME_INLINE Vec of(Vec a, Vec b) { return add(a, b); }
};

struct Window {
    const float* x;  // first tap
    int64_t rows, columns;
    int64_t x_row, x_column;
};

// kChains neighbouring windows, `step` floats apart.
template <class Reduce>
LISSOME_INLINE void reduce_run(const Window& w, int64_t step, Vec (&result)[kChains]) {
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) {
        result[i] = Reduce::start();
    }
    for (int64_t r = 0; r < w.rows; ++r) {
        for (int64_t t = 0; t < w.columns; ++t) {
            const float* x = w.x + r * w.x_row + t * w.x_column;
#pragma GCC unroll 4
            for (int i = 0; i < kChains; ++i) {
                result[i] = Reduce::of(result[i], load(x + i * step));
            }
        }
    }
}

// One window, every fourth column in its own chain.
template <class Reduce>
LISSOME_INLINE Vec reduce_one(const Window& w) {
    Vec chain[kChains];
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) {
        chain[i] = Reduce::start();
    }
    for (int64_t r = 0; r < w.rows; ++r) {
        const float* x = w.x + r * w.x_row;
        int64_t t = 0;
        for (; t + kChains <= w.columns; t += kChains) {
#pragma GCC unroll 4
            for (int i = 0; i < kChains; ++i) {
                chain[i] = Reduce::of(chain[i], load(x + (t + i) * w.x_column));
            }
        }
        for (; t < w.columns; ++t) {
            chain[0] = Reduce::of(chain[0], load(x + t * w.x_column));
        }
    }
    return Reduce::of(Reduce::of(chain[0], chain[1]), Reduce::of(chain[2], chain[3]));
}

// Of a window's taps at begin, begin + dilation, …: how many lie before `end`, where input and padding end.
static int64_t before(int64_t begin, int64_t taps, int64_t dilation, int64_t end) {
    return begin < end ? least(taps, (end - 1 - begin) / dilation + 1) : 0;
}

template <class Reduce, bool kAverage>
static void output_row(const PoolShape& s, const float* plane, int64_t p, float* y) {
    const int64_t top = p * s.stride_h - s.pad_top, step = s.stride_w * kLanes;
    const Range rows = taps_inside(top, s.r, s.dilation_h, s.h);
    const int64_t counted_rows =
        s.count_include_pad ? before(top, s.r, s.dilation_h, s.h + s.pad_bottom) : rows.end - rows.begin;
    const Range inner{outputs_reached(-s.pad_left, s.stride_w, s.w, s.q).begin,
                      outputs_reached((s.s - 1) * s.dilation_w - s.pad_left, s.stride_w, s.w, s.q).end};
    for (int64_t q = 0; q < s.q;) {
        const int64_t left = q * s.stride_w - s.pad_left;
        const Range columns = taps_inside(left, s.s, s.dilation_w, s.w);
        const int64_t counted =
            s.count_include_pad ? before(left, s.s, s.dilation_w, s.w + s.pad_right) : columns.end - columns.begin;
        const Vec share = broadcast(1.0f / static_cast<float>(counted_rows * counted));
        const Window w{plane + ((top + rows.begin * s.dilation_h) * s.w + left + columns.begin * s.dilation_w) * kLanes,
                       rows.end - rows.begin, columns.end - columns.begin, s.dilation_h * s.w * kLanes,
                       s.dilation_w * kLanes};
        Vec result[kChains];
        int64_t count = 1;
        if (q >= inner.begin && q + kChains <= inner.end) {
            reduce_run<Reduce>(w, step, result);
            count = kChains;
        } else {
            result[0] = reduce_one<Reduce>(w);
        }
        for (int64_t i = 0; i < count; ++i) {
            store(y + (q + i) * kLanes, kAverage ? multiply(result[i], share) : result[i]);
        }
        q += count;
    }
}

template <class Reduce, bool kAverage>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const PoolShape& s = call.shape->pool;
    const int64_t rows = rows_of_task(s), tiles = ceil_div(s.p, rows);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / tiles, first = task % tiles * rows;
        for (int64_t p = first; p < least(s.p, first + rows); ++p) {
            output_row<Reduce, kAverage>(s, call.in[0] + plane * s.h * s.w * kLanes, p,
                                         call.out[0] + (plane * s.p + p) * s.q * kLanes);
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel pool_f32_max_blocks = {LISSOME_NAME("pool_f32_max_blocks"),
                                    Op::pool,
                                    Isa::LISSOME_ISA,
                                    Form::none,
                                    0,
                                    no_workspace,
                                    {{tasks, run<LargerOf, false>}, {nullptr, nullptr}},
                                    kLanes,
                                    kLanes};
const Kernel pool_f32_average_blocks = {LISSOME_NAME("pool_f32_average_blocks"),
                                        Op::pool,
                                        Isa::LISSOME_ISA,
                                        Form::none,
                                        0,
                                        no_workspace,
                                        {{tasks, run<SumOf, true>}, {nullptr, nullptr}},
                                        kLanes,
                                        kLanes};

}  // namespace lissome::LISSOME_ISA
