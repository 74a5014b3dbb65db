// pool_i8_max, pool_i8_average: pooling of uint8 codes in blocks of kLanes channels.
//
// max: the largest code of a window; what lies outside is not counted. average: Σ (x − x_zero) in int32, times scale
// divided by the number of pixels counted, both float32, rounded to a code (core/conv_shape.h, CodeShape). A global
// average is a window as large as the image. A task is a strip of rows of one block.
#include "conv/columns.h"
#include "integer/dot.h"

namespace lissome::LISSOME_ISA {

extern const Kernel pool_i8_max, pool_i8_average;

static constexpr int64_t kTaskWork = 1 << 15;

static int64_t rows_of_task(const PoolShape& s) {
    return least(s.p, ceil_div(kTaskWork, s.q * s.r * s.s));
}

static int64_t tasks(const Shape& shape, int) {
    const PoolShape& s = shape.pool;
    return s.n * ceil_div(s.c, kLanes) * ceil_div(s.p, rows_of_task(s));
}

LISSOME_INLINE Int larger(Int a, Int b) {
    const Int first = a > b;
    return (first & a) | (~first & b);
}

// Taps of a window from `begin` on that lie before `end`, where input and padding end.
static int64_t before(int64_t begin, int64_t taps, int64_t dilation, int64_t end) {
    return begin < end ? least(taps, (end - 1 - begin) / dilation + 1) : 0;
}

template <bool kAverage>
static void output_row(const Shape& shape, const uint8_t* plane, int64_t p, uint8_t* y) {
    const PoolShape& s = shape.pool;
    const CodeShape& c = shape.codes;
    const Rounding to = rounding(c.zero, c.low, c.high);
    const int64_t top = p * s.stride_h - s.pad_top;
    const Range rows = taps_inside(top, s.r, s.dilation_h, s.h);
    const int64_t tall =
        s.count_include_pad ? before(top, s.r, s.dilation_h, s.h + s.pad_bottom) : rows.end - rows.begin;
    for (int64_t q = 0; q < s.q; ++q) {
        const int64_t left = q * s.stride_w - s.pad_left;
        const Range columns = taps_inside(left, s.s, s.dilation_w, s.w);
        Int sum{};
        for (int64_t r = rows.begin; r < rows.end; ++r) {
            const uint8_t* row = plane + ((top + r * s.dilation_h) * s.w + left) * kLanes;
            for (int64_t t = columns.begin; t < columns.end; ++t) {
                const Int x = load_codes(row + t * s.dilation_w * kLanes);
                sum = kAverage ? sum + x : larger(sum, x);
            }
        }
        if constexpr (kAverage) {
            const int64_t wide =
                s.count_include_pad ? before(left, s.s, s.dilation_w, s.w + s.pad_right) : columns.end - columns.begin;
            const int64_t inside = (rows.end - rows.begin) * (columns.end - columns.begin);
            const float share = c.scale / static_cast<float>(tall * wide);
            sum =
                round_to(multiply(to_float(sum - all(static_cast<int32_t>(inside * c.x_zero))), broadcast(share)), to);
        }
        store_codes(y + q * kLanes, sum);
    }
}

template <bool kAverage>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const PoolShape& s = call.shape->pool;
    const int64_t rows = rows_of_task(s), tiles = ceil_div(s.p, rows);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / tiles, first = task % tiles * rows;
        for (int64_t p = first; p < least(s.p, first + rows); ++p) {
            output_row<kAverage>(*call.shape, reinterpret_cast<const uint8_t*>(call.in[0]) + plane * s.h * s.w * kLanes,
                                 p, reinterpret_cast<uint8_t*>(call.out[0]) + (plane * s.p + p) * s.q * kLanes);
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

template <bool kAverage>
static constexpr Kernel pool_kernel(const char* name) {
    return {name,
            Op::pool_codes,
            Isa::LISSOME_ISA,
            Form::none,
            0,
            no_workspace,
            {{tasks, run<kAverage>}, {nullptr, nullptr}},
            kLanes,
            kLanes,
            false,
            nullptr,
            0,
            false,
            1,
            1};
}

const Kernel pool_i8_max = pool_kernel<false>(LISSOME_NAME("pool_i8_max"));
const Kernel pool_i8_average = pool_kernel<true>(LISSOME_NAME("pool_i8_average"));

}  // namespace lissome::LISSOME_ISA
