// pool_f32_max, pool_f32_average: one task a channel of an image. NaN passes through both, as in NumPy.
#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

extern const Kernel pool_f32_max, pool_f32_average;

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

static int64_t tasks(const Shape& shape, int) {
    return shape.pool.n * shape.pool.c;
}

// Taps first to last along one axis that fall inside the input, for a window that begins at `begin`.
struct Taps {
    int64_t first, last;
};

static Taps inside(int64_t begin, int64_t taps, int64_t dilation, int64_t extent) {
    const int64_t first = begin < 0 ? ceil_div(-begin, dilation) : 0;
    const int64_t last = begin < extent ? least(taps, (extent - 1 - begin) / dilation + 1) : 0;
    return {first, last};
}

static float maximum(const PoolShape& s, const float* x, int64_t top, int64_t left, Taps rows, Taps columns) {
    float most = -__builtin_inff();
    for (int64_t r = rows.first; r < rows.last; ++r) {
        const float* row = x + (top + r * s.dilation_h) * s.w + left;
        for (int64_t t = columns.first; t < columns.last; ++t) {
            const float value = row[t * s.dilation_w];
            most = value > most || value != value ? value : most;
        }
    }
    return most;
}

// Of a window's `taps` at begin, begin + dilation, …: how many lie in the input or its padding.
static int64_t counted(int64_t begin, int64_t taps, int64_t dilation, int64_t padded_end) {
    return begin < padded_end ? least(taps, (padded_end - 1 - begin) / dilation + 1) : 0;
}

static float average(const PoolShape& s, const float* x, int64_t top, int64_t left, Taps rows, Taps columns) {
    float sum = 0.0f;
    for (int64_t r = rows.first; r < rows.last; ++r) {
        const float* row = x + (top + r * s.dilation_h) * s.w + left;
        for (int64_t t = columns.first; t < columns.last; ++t) {
            sum += row[t * s.dilation_w];
        }
    }
    int64_t count = (rows.last - rows.first) * (columns.last - columns.first);
    if (s.count_include_pad) {
        count =
            counted(top, s.r, s.dilation_h, s.h + s.pad_bottom) * counted(left, s.s, s.dilation_w, s.w + s.pad_right);
    }
    return sum / static_cast<float>(count);
}

template <float (*reduce)(const PoolShape&, const float*, int64_t, int64_t, Taps, Taps)>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const PoolShape& s = call.shape->pool;
    for (int64_t task = begin; task < end; ++task) {
        const float* x = call.x + task * s.h * s.w;
        float* y = call.y + task * s.p * s.q;
        for (int64_t p = 0; p < s.p; ++p) {
            const int64_t top = p * s.stride_h - s.pad_top;
            const Taps rows = inside(top, s.r, s.dilation_h, s.h);
            for (int64_t q = 0; q < s.q; ++q) {
                const int64_t left = q * s.stride_w - s.pad_left;
                y[p * s.q + q] = reduce(s, x, top, left, rows, inside(left, s.s, s.dilation_w, s.w));
            }
        }
    }
}

const Kernel pool_f32_max = {LISSOME_NAME("pool_f32_max"),
                             Op::pool,
                             Isa::LISSOME_ISA,
                             Form::none,
                             0,
                             no_workspace,
                             {{tasks, run<maximum>}, {nullptr, nullptr}}};
const Kernel pool_f32_average = {
    LISSOME_NAME("pool_f32_average"),           Op::pool, Isa::LISSOME_ISA, Form::none, 0, no_workspace,
    {{tasks, run<average>}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
