// pool_f32_max, pool_f32_average: one task a channel of an image. NaN passes through both, as in NumPy.
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

extern const Kernel pool_f32_max, pool_f32_average;

// One row for each worker: the window's rows reduced into one, between padding that every window's columns lie in.
static int64_t row_floats(const PoolShape& s) {
    const int64_t reach = ceil_div(s.q, kLanes) * kLanes * s.stride_w + (s.s - 1) * s.dilation_w + 2 * kLanes;
    const int64_t width = s.pad_left + s.w + kLanes;
    return ceil_div(width < reach ? reach : width, 16) * 16;
}

static int64_t workspace_bytes(const Shape& shape, int workers) {
    return workers * row_floats(shape.pool) * 4;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.pool.n * shape.pool.c;
}

// Taps first to last along one axis that fall inside the input, for a window that begins at `begin`.
struct Taps {
    int64_t first, last;
};

static Taps inside(int64_t begin, int64_t taps, int64_t dilation, int64_t extent) {
    if (begin >= 0 && begin + dilation * (taps - 1) < extent) {
        return {0, taps};
    }
    const int64_t first = begin < 0 ? ceil_div(-begin, dilation) : 0;
    const int64_t last = begin < extent ? least(taps, (extent - 1 - begin) / dilation + 1) : 0;
    return {first, last < first ? first : last};
}

// Of a window's taps at begin, begin + dilation, …: how many lie before `end`, where input and padding end.
static int64_t before(int64_t begin, int64_t taps, int64_t dilation, int64_t end) {
    return begin < end ? least(taps, (end - 1 - begin) / dilation + 1) : 0;
}

struct Max {
    static constexpr float start = -__builtin_inff();
    LISSOME_INLINE float of(float a, float b) { return b > a || b != b ? b : a; }
    LISSOME_INLINE Vec of(Vec a, Vec b) { return maximum(a, b); }
};

struct Sum {
    static constexpr float start = 0.0f;
    LISSOME_INLINE float of(float a, float b) { return a + b; }
    LISSOME_INLINE Vec of(Vec a, Vec b) { return add(a, b); }
};

template <class Reduce>
static void reduce_rows(const PoolShape& s, const float* x, int64_t top, Taps rows, float* row) {
    int64_t i = 0;
    for (; i + kLanes <= s.w; i += kLanes) {
        Vec sum = broadcast(Reduce::start);
        for (int64_t r = rows.first; r < rows.last; ++r) {
            sum = Reduce::of(sum, load(x + (top + r * s.dilation_h) * s.w + i));
        }
        store(row + i, sum);
    }
    for (; i < s.w; ++i) {
        row[i] = Reduce::start;
        for (int64_t r = rows.first; r < rows.last; ++r) {
            row[i] = Reduce::of(row[i], x[(top + r * s.dilation_h) * s.w + i]);
        }
    }
}

// Outputs [0, q) of a row that holds the window's rows reduced into one.
template <class Reduce>
static void reduce_columns(const PoolShape& s, const float* row, float* y) {
    Int even;
    for (int i = 0; i < kLanes; ++i) {
        even[i] = 2 * i;
    }
    for (int64_t q = 0; q < s.q; q += kLanes) {
        const float* from = row + q * s.stride_w;
        Vec sum = broadcast(Reduce::start);
        for (int64_t t = 0; t < s.s; ++t, from += s.dilation_w) {
            if (s.stride_w == 1) {
                sum = Reduce::of(sum, load(from));
            } else if (s.stride_w == 2) {
                sum = Reduce::of(sum, permute(load(from), load(from + kLanes), even));
            } else {
                float lanes[kLanes];
                for (int i = 0; i < kLanes; ++i) {
                    lanes[i] = from[i * s.stride_w];
                }
                sum = Reduce::of(sum, load(lanes));
            }
        }
        store_some(y + q, sum, least(kLanes, s.q - q));
    }
}

// Sums to averages: row p of the outputs, of windows whose rows inside are so many.
static void divide_row(const PoolShape& s, int64_t rows, int64_t counted_rows, float* y) {
    for (int64_t q = 0; q < s.q; ++q) {
        const int64_t left = q * s.stride_w - s.pad_left;
        const Taps columns = inside(left, s.s, s.dilation_w, s.w);
        const int64_t count = s.count_include_pad ? counted_rows * before(left, s.s, s.dilation_w, s.w + s.pad_right)
                                                  : rows * (columns.last - columns.first);
        y[q] /= static_cast<float>(count);
    }
}

// Windows that overlap in height have their rows read again; that costs less than keeping them would in code.
template <class Reduce>
static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const PoolShape& s = call.shape->pool;
    float* row = reinterpret_cast<float*>(call.workspace) + worker * row_floats(s);
    for (int64_t i = 0; i < row_floats(s); ++i) {
        row[i] = Reduce::start;
    }
    for (int64_t task = begin; task < end; ++task) {
        const float* x = call.in[0] + task * s.h * s.w;
        float* y = call.out[0] + task * s.p * s.q;
        for (int64_t p = 0; p < s.p; ++p) {
            const int64_t top = p * s.stride_h - s.pad_top;
            const Taps rows = inside(top, s.r, s.dilation_h, s.h);
            reduce_rows<Reduce>(s, x, top, rows, row + s.pad_left);
            reduce_columns<Reduce>(s, row, y + p * s.q);
            if (Reduce::start == 0.0f) {
                const int64_t counted_rows = before(top, s.r, s.dilation_h, s.h + s.pad_bottom);
                divide_row(s, rows.last - rows.first, counted_rows, y + p * s.q);
            }
        }
    }
}

const Kernel pool_f32_max = {
    LISSOME_NAME("pool_f32_max"),           Op::pool, Isa::LISSOME_ISA, Form::none, 0, workspace_bytes,
    {{tasks, run<Max>}, {nullptr, nullptr}}};
const Kernel pool_f32_average = {
    LISSOME_NAME("pool_f32_average"),       Op::pool, Isa::LISSOME_ISA, Form::none, 0, workspace_bytes,
    {{tasks, run<Sum>}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
