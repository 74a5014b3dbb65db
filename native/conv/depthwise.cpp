// conv_f32_depthwise: one filter a channel (groups = c = k) on blocked data; any filter, stride, padding and dilation.
//
//   y[c][p][q] = Σ_r Σ_s x[c][p · stride_h − pad_top + r · dilation_h][…] · w[c][r][s]
//
// A vector holds one pixel of a block of channels. A run of pixels of one output row is summed in registers; filters
// with rows of 3 or 5 neighbouring taps load each input once for all sums that it goes into, and leave out those beyond
// the edges. With other filters, pixels whose windows hang over the left or right edge go one by one, over the taps
// inside. Traffic: each input once, as rows of one channel block stay cached. Weights: Form::blocks (conv/pack.h), (c /
// lanes, r, s, lanes). No workspace.
#include "conv/depthwise.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_f32_depthwise;

#if LISSOME_ISA_avx512 || LISSOME_ISA_neon
static constexpr int kRun = 14;
#else
static constexpr int kRun = 10;
#endif
static constexpr int64_t kTaskWork = 1 << 15;  // vector operations in a task, about

// What is the same for all of a plane's outputs. Steps in floats.
struct Steps {
    int64_t x_row, x_column, x_pixel, w_row;
    const float* bias;
    const Activation* activation;
};

// Where a run of neighbouring pixels of one output row lies. Handed on by value and field by field: a copy through
// memory would wait for the stores that wrote it.
struct Place {
    const float* x;         // first tap of the first pixel
    const float* w;         // its weight
    int64_t rows, columns;  // of the filter, in the image
    Range inside;           // inputs of a row, from x on, that lie in the image; for neighbouring taps only
    float* y;
    const float* residual;
};

// The place `pixels` further on, whose windows begin `inputs` further on.
LISSOME_INLINE Place further(const Place& at, int64_t pixels, int64_t inputs) {
    return {at.x + inputs * kLanes,
            at.w,
            at.rows,
            at.columns,
            {at.inside.begin - inputs, at.inside.end - inputs},
            at.y + pixels * kLanes,
            at.residual ? at.residual + pixels * kLanes : nullptr};
}

// Keeps a compiler from loading the vector again at every use, as it otherwise prefers to.
LISSOME_INLINE Vec in_register(Vec a) {
#if LISSOME_ISA_avx512
    asm("" : "+v"(a));
#elif LISSOME_ISA_avx2
    asm("" : "+x"(a));
#elif LISSOME_ISA_neon
    asm("" : "+w"(a));
#endif
    return a;
}

// One row of S neighbouring taps: each input is loaded once, for all pixels that it concerns. D: pixels between
// windows. Every window has a tap inside, so that only the first and the last inputs may be beyond the edges.
template <int T, int D, int S>
LISSOME_INLINE void taps(Sums<T, 1>& sums, const float* x, const float* w, const Range& inside) {
    constexpr int kInputs = (T - 1) * D + S;
    Vec weight[S];
    LISSOME_UNROLL
    for (int s = 0; s < S; ++s) {
        weight[s] = load(w + s * kLanes);
    }
#pragma GCC unroll 40
    for (int j = 0; j < kInputs; ++j) {
        if ((j < S - 1 && j < inside.begin) || (j > kInputs - S && j >= inside.end)) {
            continue;
        }
        const Vec input = in_register(load(x + j * kLanes));
        LISSOME_UNROLL
        for (int s = 0; s < S; ++s) {
            if (j >= s && (j - s) % D == 0 && (j - s) / D < T) {
                sums.at[(j - s) / D][0] = fma(input, weight[s], sums.at[(j - s) / D][0]);
            }
        }
    }
}

// Taps of any number and dilation, one by one. D = 0: windows at a distance known only at run time.
template <int T, int D>
LISSOME_INLINE void any_taps(Sums<T, 1>& sums, const Steps& steps, int64_t columns, const float* x, const float* w) {
    for (int64_t s = 0; s < columns; ++s) {
        const Vec weight = load(w + s * kLanes);
        LISSOME_UNROLL
        for (int i = 0; i < T; ++i) {
            const Vec input = load(x + s * steps.x_column + i * (D == 0 ? steps.x_pixel : D * kLanes));
            sums.at[i][0] = fma(input, weight, sums.at[i][0]);
        }
    }
}

// `count` runs, one behind the other. S: taps in a row of the filter, or 0 for any_taps.
template <int T, int D, int S>
static void pixels(const Steps& steps, const float* x, const float* w, int64_t rows, int64_t columns, int64_t left,
                   int64_t right, float* y, const float* residual, int64_t count) {
    Place at{x, w, rows, columns, {left, right}, y, residual};
    for (; count > 0; --count) {
        const Target to{at.y, 0, steps.bias, at.residual, false, steps.activation};
        Sums<T, 1> sums;
        start(sums, to);
        for (int64_t r = 0; r < at.rows; ++r) {
            const float *from = at.x + r * steps.x_row, *weight = at.w + r * steps.w_row;
            if constexpr (S > 0) {
                taps<T, D, S>(sums, from, weight, at.inside);
            } else {
                any_taps<T, D>(sums, steps, at.columns, from, weight);
            }
        }
        finish(sums, to);
        at = further(at, T, T * D);
    }
}

using RunFunction = void (*)(const Steps& steps, const float* x, const float* w, int64_t rows, int64_t columns,
                             int64_t left, int64_t right, float* y, const float* residual, int64_t count);

LISSOME_INLINE void run_pixels(RunFunction function, const Steps& steps, const Place& at, int64_t count) {
    function(steps, at.x, at.w, at.rows, at.columns, at.inside.begin, at.inside.end, at.y, at.residual, count);
}

struct RunTable {
    RunFunction of[kRun + 1];
    int64_t widest;
};

template <int T, int D, int S>
static constexpr void fill(RunTable& table) {
    if constexpr (T > 0) {
        table.of[T] = pixels<T, D, S>;
        fill<T - 1, D, S>(table);
    }
}

template <int D, int S>
static constexpr RunTable make_table() {
    constexpr int kWidest = D == 0 ? 4 : kRun;
    RunTable table{};
    table.widest = kWidest;
    fill<kWidest, D, S>(table);
    return table;
}

template <int D, int S>
static constexpr RunTable kTable = make_table<D, S>();

// Whether the kernels for rows of 3 and 5 neighbouring taps can do a layer.
static bool neighbouring(const ConvShape& s) {
    const bool known = (s.s == 3 || s.s == 5) && s.dilation_w == 1 && (s.stride_w == 1 || s.stride_w == 2);
    return known && s.pad_left < s.s && s.pad_right < s.s;
}

template <int D>
static const RunTable* table_for(const ConvShape& s) {
    return !neighbouring(s) ? &kTable<D, 0> : s.s == 3 ? &kTable<D, 3> : &kTable<D, 5>;
}

static const RunTable* run_table(const ConvShape& s) {
    return s.stride_w == 1 ? table_for<1>(s) : s.stride_w == 2 ? table_for<2>(s) : &kTable<0, 0>;
}

struct Planes {
    const RunTable* table;
    bool neighbouring;
    int64_t blocks, rows, tiles;  // channel blocks; output rows in a task; tasks of a plane
    int64_t runs, wide, wider;    // in a row; pixels in each, and how many have one more
    Range inner;                  // output columns whose whole window lies in the image
};

static Planes planes_of(const ConvShape& s) {
    Planes l;
    l.table = run_table(s);
    l.neighbouring = neighbouring(s);
    l.blocks = ceil_div(s.c, kLanes);
    const int64_t tiles = least(s.p, ceil_div(s.p * s.q * s.r * s.s, kTaskWork));
    l.rows = ceil_div(s.p, tiles);
    l.tiles = ceil_div(s.p, l.rows);
    l.runs = ceil_div(s.q, l.table->widest);
    l.wide = s.q / l.runs;
    l.wider = s.q % l.runs;
    l.inner = {outputs_reached(-s.pad_left, s.stride_w, s.w, s.q).begin,
               outputs_reached((s.s - 1) * s.dilation_w - s.pad_left, s.stride_w, s.w, s.q).end};
    return l;
}

// One output row, from its leftmost input, weight and output.
LISSOME_INLINE void neighbouring_row(const ConvShape& s, const Planes& l, const Steps& steps, const Place& row) {
    Place at = row;
    at.x -= s.pad_left * kLanes;
    at.inside = {s.pad_left, s.w + s.pad_left};
    if (l.wider > 0) {
        run_pixels(l.table->of[l.wide + 1], steps, at, l.wider);
        const int64_t q = l.wider * (l.wide + 1);
        at = further(at, q, q * s.stride_w);
    }
    run_pixels(l.table->of[l.wide], steps, at, l.runs - l.wider);
}

// The same for any filter.
static void any_row(const ConvShape& s, const Planes& l, const Steps& steps, const Place& row) {
    for (int64_t q = 0, left = -s.pad_left; q < s.q; left = q * s.stride_w - s.pad_left) {
        Place at = further(row, q, 0);
        if (q >= l.inner.begin && q < l.inner.end) {
            const int64_t width = l.inner.end - q, count = ceil_div(width, ceil_div(width, l.table->widest));
            at.columns = s.s;
            at.x += left * kLanes;
            run_pixels(l.table->of[count], steps, at, 1);
            q += count;
            continue;
        }
        const Range columns = taps_inside(left, s.s, s.dilation_w, s.w);
        at.columns = columns.end - columns.begin;
        if (at.columns > 0) {
            at.x += (left + columns.begin * s.dilation_w) * kLanes;
            at.w += columns.begin * kLanes;
        }
        run_pixels(pixels<1, 1, 0>, steps, at, 1);
        ++q;
    }
}

static int64_t tasks(const Shape& shape, int) {
    const Planes l = planes_of(shape.conv);
    return shape.conv.n * l.blocks * l.tiles;
}

static void rows_of(const ConvShape& s, const Planes& l, const DepthwisePlane& plane, Range of) {
    const Steps steps{s.dilation_h * s.w * kLanes,
                      s.dilation_w * kLanes,
                      s.stride_w * kLanes,
                      s.s * kLanes,
                      plane.bias,
                      plane.activation};
    for (int64_t p = of.begin; p < of.end; ++p) {
        const int64_t top = p * s.stride_h - s.pad_top, at = (p - of.begin) * s.q * kLanes;
        const Range rows = taps_inside(top, s.r, s.dilation_h, s.h);
        const int64_t count = rows.end - rows.begin;
        const Place row{plane.x + (count > 0 ? (top + rows.begin * s.dilation_h) * s.w * kLanes : 0),
                        plane.w + rows.begin * s.s * kLanes,
                        count,
                        s.s,
                        {},
                        plane.y + at,
                        plane.residual ? plane.residual + at : nullptr};
        if (l.neighbouring) {
            neighbouring_row(s, l, steps, row);
        } else {
            any_row(s, l, steps, row);
        }
    }
}

void depthwise_rows(const ConvShape& s, const DepthwisePlane& plane, Range of) {
    rows_of(s, planes_of(s), plane, of);
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape& s = call.shape->conv;
    const Planes l = planes_of(s);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / l.tiles, block = plane % l.blocks, first = task % l.tiles * l.rows;
        const int64_t at = (plane * s.p + first) * s.q * kLanes;
        const DepthwisePlane of{call.in[0] + plane * s.h * s.w * kLanes,
                                call.weights.dense + block * s.r * s.s * kLanes,
                                call.bias ? call.bias + block * kLanes : nullptr,
                                call.in[1] ? call.in[1] + at : nullptr,
                                call.out[0] + at,
                                &call.activation};
        rows_of(s, l, of, {first, least(s.p, first + l.rows)});
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel conv_f32_depthwise = {LISSOME_NAME("conv_f32_depthwise"),
                                   Op::conv,
                                   Isa::LISSOME_ISA,
                                   Form::blocks,
                                   0,
                                   no_workspace,
                                   {{tasks, run}, {nullptr, nullptr}},
                                   kLanes,
                                   kLanes,
                                   true,
                                   nullptr,
                                   0,
                                   true};

}  // namespace lissome::LISSOME_ISA
