// conv_i8_depthwise: as integer/direct.cpp with one filter a channel, any filter, stride, padding and dilation.
//
// With dot products of bytes, four taps that lie side by side in a row are multiplied at once: a pixel is kLanes bytes,
// so four of them are one vector, which two shuffles turn into [channel][tap]. Where fewer taps reach the image, the
// weights of the others are shifted out; that leaves out what 0 · weight would be, so where another code stands for 0,
// the first phase makes a frame (integer/frame.h). A task is a strip of rows of one vector of channels.
#include "conv/columns.h"
#include "core/activation.h"
#include "integer/dot.h"
#include "integer/frame.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_i8_depthwise, conv_i8_depthwise_f32;

// Whether the input is copied into a frame of zeros first: only where a zero is not 0.
static bool framed(const Shape& shape) {
    return padded(shape.conv) && shape.codes.x_zero != 0;
}

static constexpr int64_t kTaskWork = 1 << 18;
static constexpr int kRun = 6;  // outputs side by side that share a load of weights

#if LISSOME_ISA_avx512_vnni
constexpr int64_t kTaps = 4;
LISSOME_INLINE Int taps(Int sum, const uint8_t* x, Int weights) {
    const __m512i pixels = _mm512_loadu_si512(x);
    const __m512i fours =
        _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), pixels);
    const __m512i turned = _mm512_shuffle_epi8(
        fours, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
    return (Int)_mm512_dpbusd_epi32((__m512i)sum, turned, (__m512i)weights);
}
#elif LISSOME_ISA_avx512 || LISSOME_ISA_avx2
constexpr int64_t kTaps = 1;
LISSOME_INLINE Int taps(Int sum, const uint8_t* x, Int weights) {
#if LISSOME_ISA_avx512
    return sum + (Int)_mm512_madd_epi16((__m512i)load_codes(x), (__m512i)weights);
#else
    return sum + (Int)_mm256_madd_epi16((__m256i)load_codes(x), (__m256i)weights);
#endif
}
#else
constexpr int64_t kTaps = 4;
LISSOME_INLINE Int taps(Int sum, const uint8_t* x, Int weights) {
    for (int t = 0; t < 4; ++t) {
        sum += load_codes(x + t * kLanes) * ((Int)((Bits)weights << static_cast<uint32_t>(24 - 8 * t)) >> 24);
    }
    return sum;
}
#endif

// The weights of taps begin … end of a unit, the first of them in front, zeros behind.
LISSOME_INLINE Int some_taps(Int weights, int64_t begin, int64_t end) {
    if constexpr (kTaps == 1) {
        return weights;
    }
    const Bits kept = (Bits)weights >> static_cast<uint32_t>(8 * begin);
    return (Int)(kept & static_cast<uint32_t>((uint64_t{1} << (8 * (end - begin))) - 1));
}

// One run of outputs. Offsets in bytes.
struct PixelRun {
    const uint8_t* x;  // the first tap of the first output
    const int8_t* w;
    int64_t rows, units;
    int64_t x_row, x_unit, x_pixel;
};

template <int P>
static void pixels(const PixelRun& run, Int offset, Int* sums) {
    Int sum[P];
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        sum[i] = offset;
    }
    const int8_t* w = run.w;
    for (int64_t r = 0; r < run.rows; ++r) {
        const uint8_t* x = run.x + r * run.x_row;
        for (int64_t u = 0; u < run.units; ++u, w += 4 * kLanes, x += run.x_unit) {
            const Int weights = load_sums(reinterpret_cast<const int32_t*>(w));
            LISSOME_UNROLL
            for (int i = 0; i < P; ++i) {
                sum[i] = taps(sum[i], x + i * run.x_pixel, weights);
            }
        }
    }
    LISSOME_UNROLL
    for (int i = 0; i < P; ++i) {
        sums[i] = sum[i];
    }
}

using RunFunction = void (*)(const PixelRun& run, Int offset, Int* sums);
static constexpr RunFunction kRuns[kRun + 1] = {nullptr,   pixels<1>, pixels<2>, pixels<3>,
                                                pixels<4>, pixels<5>, pixels<6>};

// One output of which some taps lie outside, or whose taps do not lie side by side. run.x: where its first tap would
// be, at column `left`.
static Int pixel(const ConvShape& s, const PixelRun& run, int64_t left, Int sum) {
    for (int64_t r = 0; r < run.rows; ++r) {
        for (int64_t u = 0; u < run.units; ++u) {
            const Int weights = load_sums(reinterpret_cast<const int32_t*>(run.w + (r * run.units + u) * 4 * kLanes));
            const int64_t at = left + u * kTaps * s.dilation_w;
            const Range inside = taps_inside(at, least(kTaps, s.s - u * kTaps), s.dilation_w, s.w);
            const uint8_t* x = run.x + r * run.x_row + u * run.x_unit;
            const int64_t step = s.dilation_w == 1 ? inside.end - inside.begin : 1;
            for (int64_t t = inside.begin; t < inside.end; t += step) {
                sum = taps(sum, x + t * s.dilation_w * kLanes, some_taps(weights, t, t + step));
            }
        }
    }
    return sum;
}

// One row of outputs of one vector of channels, finished into `to`, kLanes codes or floats an output.
struct Row {
    uint8_t* y;
    float* f;
    Int offset;
    Vec scale;
    Rounding to;
    const Activation* activation;
};

static void finish(const Row& row, int64_t q, Int sum) {
    const Vec x = multiply(to_float(sum), row.scale);
    if (row.f) {
        store(row.f + q * kLanes, activate(x, *row.activation));
    } else {
        store_codes(row.y + q * kLanes, round_to(x, row.to));
    }
}

static void output_row(const ConvShape& s, PixelRun run, const Row& row) {
    const Range inner{outputs_reached(-s.pad_left, s.stride_w, s.w, s.q).begin,
                      outputs_reached((s.s - 1) * s.dilation_w - s.pad_left, s.stride_w, s.w, s.q).end};
    const bool together = s.dilation_w == 1 || kTaps == 1;
    const uint8_t* first = run.x;
    for (int64_t q = 0; q < s.q;) {
        const int64_t left = q * s.stride_w - s.pad_left;
        run.x = first + left * kLanes;
        if (!together || q < inner.begin || q >= inner.end) {
            finish(row, q, pixel(s, run, left, row.offset));
            ++q;
            continue;
        }
        const int64_t width = inner.end - q, count = ceil_div(width, ceil_div(width, kRun));
        Int sums[kRun];
        kRuns[count](run, row.offset, sums);
        for (int64_t i = 0; i < count; ++i) {
            finish(row, q + i, sums[i]);
        }
        q += count;
    }
}

// The convolution that the second phase does: of the frame, where there is one.
static ConvShape inside(const Shape& shape) {
    return framed(shape) ? frame_of(shape.conv) : shape.conv;
}

static int64_t rows_of_task(const ConvShape& s) {
    return least(s.p, ceil_div(kTaskWork, s.q * s.r * s.s * kLanes));
}

static int64_t tasks(const Shape& shape, int) {
    const ConvShape& s = shape.conv;
    return s.n * ceil_div(s.c, kLanes) * ceil_div(s.p, rows_of_task(s));
}

template <bool kFloats>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape s = inside(*call.shape);
    const CodeShape& codes = call.shape->codes;
    const auto* x = reinterpret_cast<const uint8_t*>(
        framed(*call.shape) ? call.workspace : reinterpret_cast<const std::byte*>(call.in[0]));
    const int64_t rows = rows_of_task(s), tiles = ceil_div(s.p, rows), blocks = ceil_div(s.c, kLanes);
    const int64_t units = ceil_div(s.s, kTaps);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / tiles, block = plane % blocks;
        Row row{nullptr,
                nullptr,
                load_sums(call.weights.offset + block * kLanes),
                load(call.weights.scale + block * kLanes),
                rounding(codes.zero, codes.low, codes.high),
                &call.activation};
        for (int64_t p = task % tiles * rows; p < least(s.p, (task % tiles + 1) * rows); ++p) {
            const int64_t top = p * s.stride_h - s.pad_top, at = (plane * s.p + p) * s.q * kLanes;
            const Range reached = taps_inside(top, s.r, s.dilation_h, s.h);
            row.f = kFloats ? call.out[0] + at : nullptr;
            row.y = reinterpret_cast<uint8_t*>(call.out[0]) + at;
            const PixelRun of{x + (plane * s.h + top + reached.begin * s.dilation_h) * s.w * kLanes,
                              call.weights.bytes + (block * s.r + reached.begin) * units * 4 * kLanes,
                              reached.end - reached.begin,
                              units,
                              s.dilation_h * s.w * kLanes,
                              kTaps * s.dilation_w * kLanes,
                              s.stride_w * kLanes};
            output_row(s, of, row);
        }
    }
}

template <bool kFloats>
static constexpr Kernel depthwise_kernel(const char* name) {
    return {name,
            Op::conv_codes,
            Isa::LISSOME_ISA,
            Form::bytes,
            0,
            frame_bytes<kLanes>,
            {{frame_tasks<kLanes>, frame<kLanes>}, {tasks, run<kFloats>}},
            kLanes,
            kLanes,
            false,
            nullptr,
            kWeightBytes,
            true,
            1,
            kFloats ? 4 : 1};
}

const Kernel conv_i8_depthwise = depthwise_kernel<false>(LISSOME_NAME("conv_i8_depthwise"));
const Kernel conv_i8_depthwise_f32 = depthwise_kernel<true>(LISSOME_NAME("conv_i8_depthwise_f32"));

}  // namespace lissome::LISSOME_ISA
