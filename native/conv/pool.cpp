// pool_f32_max, pool_f32_average: one task a channel of an image. NaN passes through both, as in NumPy.
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel pool_f32_max, pool_f32_average;

// One row of the input's width for each worker: the window's rows reduced into one, vector by vector.
static int64_t row_floats(const PoolShape& s) {
    return ceil_div(s.w, 16) * 16;
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

// Windows that overlap in height have their rows read again; that costs less than keeping them would in code.
template <class Reduce>
static void run(const Call& call, int64_t begin, int64_t end, int worker) {
    const PoolShape& s = call.shape->pool;
    float* row = reinterpret_cast<float*>(call.workspace) + worker * row_floats(s);
    for (int64_t task = begin; task < end; ++task) {
        const float* x = call.in[0] + task * s.h * s.w;
        float* y = call.out[0] + task * s.p * s.q;
        for (int64_t p = 0; p < s.p; ++p) {
            const int64_t top = p * s.stride_h - s.pad_top;
            const Taps rows = inside(top, s.r, s.dilation_h, s.h);
            const int64_t counted_rows = before(top, s.r, s.dilation_h, s.h + s.pad_bottom);
            reduce_rows<Reduce>(s, x, top, rows, row);
            for (int64_t q = 0; q < s.q; ++q) {
                const int64_t left = q * s.stride_w - s.pad_left;
                const Taps columns = inside(left, s.s, s.dilation_w, s.w);
                float result = Reduce::start;
                for (int64_t t = columns.first; t < columns.last; ++t) {
                    result = Reduce::of(result, row[left + t * s.dilation_w]);
                }
                if (Reduce::start == 0.0f) {
                    const int64_t count = s.count_include_pad
                                              ? counted_rows * before(left, s.s, s.dilation_w, s.w + s.pad_right)
                                              : (rows.last - rows.first) * (columns.last - columns.first);
                    result /= static_cast<float>(count);
                }
                y[p * s.q + q] = result;
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
