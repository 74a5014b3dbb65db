// conv_i8_direct, conv_i8_first: convolution of uint8 codes with int8 weights, in blocks of channels; any stride,
// padding and dilation, and groups whose channels are whole blocks.
//
//   sum[k][p][q] = offset[k] + Σ_c Σ_r Σ_s x[c][…] · w[k][c][r][s]         in int32, exactly
//   y = zero + round(scale[k] · sum), within low and high                 (core/conv_shape.h, CodeShape)
//
// offset holds the bias and −x_zero · Σ w, so that a padded pixel is x_zero: with padding, the first phase copies the
// input into a frame of those, which saves every special case at the edges. `_f32` leaves scale[k] · sum as float32.
// first: blocks of four channels, for images. A task is a panel of outputs over a strip of rows.
#include "conv/columns.h"
#include "core/activation.h"
#include "integer/block.h"
#include "integer/frame.h"

namespace lissome::LISSOME_ISA {

extern const Kernel conv_i8_direct, conv_i8_direct_f32, conv_i8_first, conv_i8_first_f32;

static constexpr int64_t kTaskWork = 1 << 21;  // multiply-adds: some microseconds

static bool framed(const Shape& shape) {
    return padded(shape.conv);
}

struct Layer {
    ConvShape s;                                   // of the frame, where there is one
    int64_t blocks, vectors, panels, rows, tiles;  // of one group: blocks, vectors, panels; rows of a task, tasks
    Window window;
};

static ConvShape flattened(ConvShape s) {
    s = frame_of(s);
    if (s.r == 1 && s.s == 1 && s.stride_h == 1 && s.stride_w == 1) {
        s.w = s.q = s.h * s.w;
        s.h = s.p = 1;
    }
    return s;
}

template <int kBlock>
static Layer layer_of(const Shape& shape) {
    Layer l;
    const ConvShape& s = l.s = flattened(shape.conv);
    l.blocks = ceil_div(s.c / s.groups, kBlock);
    l.vectors = ceil_div(s.k / s.groups, kLanes);
    l.panels = ceil_div(l.vectors, shape.codes.vectors);
    const int64_t row_work = s.q * s.r * s.s * l.blocks * kBlock * shape.codes.vectors * kLanes;
    l.rows = least(s.p, ceil_div(kTaskWork, row_work));
    l.tiles = ceil_div(s.p, l.rows);
    l.window = {l.blocks,           s.r, s.s, s.h * s.w * kBlock, s.dilation_h * s.w * kBlock, s.dilation_w * kBlock,
                s.stride_w * kBlock};
    return l;
}

template <int kBlock>
static int64_t tasks(const Shape& shape, int) {
    const Layer l = layer_of<kBlock>(shape);
    return l.s.n * l.s.groups * l.panels * l.tiles;
}

template <int kBlock, bool kFloats>
static void run(const Call& call, int64_t begin, int64_t end, int) {
    const Layer l = layer_of<kBlock>(*call.shape);
    const ConvShape& s = l.s;
    const CodeShape& codes = call.shape->codes;
    const auto* x = reinterpret_cast<const uint8_t*>(
        framed(*call.shape) ? call.workspace : reinterpret_cast<const std::byte*>(call.in[0]));
    const int64_t all_blocks = ceil_div(s.c, kBlock), plane = s.p * s.q * kLanes;
    const int64_t vector_bytes = l.blocks * s.r * s.s * (kBlock / 4) * kFourBytes;
    for (int64_t task = begin; task < end; ++task) {
        const int64_t tile = task % l.tiles, panel = task / l.tiles % l.panels;
        const int64_t group = task / l.tiles / l.panels % s.groups, image = task / l.tiles / l.panels / s.groups;
        const int64_t first = panel * codes.vectors, vectors = least(codes.vectors, l.vectors - first);
        const int64_t vector = group * l.vectors + first;
        const uint8_t* from = x + (image * all_blocks + group * l.blocks) * l.window.x_block;
        const int8_t* w = call.weights.bytes + vector * vector_bytes;
        const BlockTable& table = kTables<kBlock / 4>[vectors - 1];
        const int64_t count = ceil_div(s.q, table.widest), out = (image * s.groups * l.vectors + vector) * plane;
        for (int64_t p = tile * l.rows; p < least(s.p, (tile + 1) * l.rows); ++p) {
            for (int64_t i = 0; i < count; ++i) {
                const Range to = piece_of(i, count, s.q);
                const int64_t at = out + (p * s.q + to.begin) * kLanes;
                const Result result{reinterpret_cast<uint8_t*>(call.out[0]) + at,
                                    kFloats ? call.out[0] + at : nullptr,
                                    call.in[1] ? reinterpret_cast<const uint8_t*>(call.in[1]) + at : nullptr,
                                    kLanes,
                                    plane,
                                    call.weights.offset + vector * kLanes,
                                    call.weights.scale + vector * kLanes,
                                    &codes,
                                    &call.activation};
                table.of[to.end - to.begin](l.window, from + (p * s.stride_h * s.w + to.begin * s.stride_w) * kBlock, w,
                                            result);
            }
        }
    }
}

template <int kBlock, bool kFloats>
static constexpr Kernel conv_kernel(const char* name) {
    return {name,
            Op::conv_codes,
            Isa::LISSOME_ISA,
            Form::bytes,
            0,
            frame_bytes<kBlock>,
            {{frame_tasks<kBlock>, frame<kBlock>}, {tasks<kBlock>, run<kBlock, kFloats>}},
            kBlock,
            kLanes,
            !kFloats,
            nullptr,
            kWeightBytes,
            false,
            1,
            kFloats ? 4 : 1};
}

const Kernel conv_i8_direct = conv_kernel<kLanes, false>(LISSOME_NAME("conv_i8_direct"));
const Kernel conv_i8_direct_f32 = conv_kernel<kLanes, true>(LISSOME_NAME("conv_i8_direct_f32"));
const Kernel conv_i8_first = conv_kernel<4, false>(LISSOME_NAME("conv_i8_first"));
const Kernel conv_i8_first_f32 = conv_kernel<4, true>(LISSOME_NAME("conv_i8_first_f32"));

}  // namespace lissome::LISSOME_ISA
