// quantize_i8_block, quantize_i8_image, quantize_i8_lanes: float32 to uint8 codes, zero + round(x / scale) within low
// and high, as ONNX's QuantizeLinear; NaN becomes low. From plain tensors to blocks of kLanes or, for images, of four
// channels, where what fills a block is the zero; or in the layout that the tensor has.
// dequantize_i8: scale · (code − zero) in float32, in the layout that the tensor has.
// reorder_i8_plain, reorder_i8_block: codes in blocks of kLanes to plain ones, and back.
// A task is a strip of elements, or of pixels of one block.
#include "integer/dot.h"

namespace lissome::LISSOME_ISA {

extern const Kernel quantize_i8_block, quantize_i8_image, quantize_i8_lanes, dequantize_i8, reorder_i8_plain,
    reorder_i8_block;

static constexpr int64_t kStrip = 1 << 14, kPixels = 1 << 10;

static int64_t strips(const Shape& shape, int) {
    return ceil_div(shape.element.count, kStrip);
}

// Fewer than kLanes numbers to codes.
static void quantize_few(const float* x, uint8_t* y, int64_t count, Vec scale, const Rounding& to) {
    uint8_t codes[kLanes];
    store_codes(codes, round_to(divide(load_some(x, count), scale), to));
    for (int64_t i = 0; i < count; ++i) {
        y[i] = codes[i];
    }
}

static void quantize_lanes(const Call& call, int64_t begin, int64_t end, int) {
    const CodeShape& c = call.shape->codes;
    const Rounding to = rounding(c.zero, c.low, c.high);
    const Vec scale = broadcast(c.scale);
    auto* y = reinterpret_cast<uint8_t*>(call.out[0]);
    int64_t i = begin * kStrip;
    const int64_t last = least(end * kStrip, call.shape->element.count);
    for (; i + kLanes <= last; i += kLanes) {
        store_codes(y + i, round_to(divide(load(call.in[0] + i), scale), to));
    }
    if (i < last) {
        quantize_few(call.in[0] + i, y + i, last - i, scale, to);
    }
}

static void dequantize(const Call& call, int64_t begin, int64_t end, int) {
    const CodeShape& c = call.shape->codes;
    const Int zero = all(static_cast<int32_t>(c.x_zero));
    const Vec scale = broadcast(c.scale);
    const auto* x = reinterpret_cast<const uint8_t*>(call.in[0]);
    int64_t i = begin * kStrip;
    const int64_t last = least(end * kStrip, call.shape->element.count);
    for (; i + kLanes <= last; i += kLanes) {
        store(call.out[0] + i, multiply(to_float(load_codes(x + i) - zero), scale));
    }
    for (; i < last; ++i) {
        call.out[0][i] = static_cast<float>(x[i] - static_cast<int32_t>(c.x_zero)) * c.scale;
    }
}

// A strip of pixels of one block of kBlock channels.
template <int kBlock>
struct Strip {
    int64_t plain, blocked, channels, pixels;  // where it begins, plain and in blocks
};

template <int kBlock>
static Strip<kBlock> strip_of(const ElementShape& e, int64_t task) {
    const int64_t blocks = ceil_div(e.channels, kBlock), parts = ceil_div(e.inner, kPixels);
    const int64_t first = task % parts * kPixels, block = task / parts % blocks, image = task / parts / blocks;
    return {(image * e.channels + block * kBlock) * e.inner + first,
            ((image * blocks + block) * e.inner + first) * kBlock, least(kBlock, e.channels - block * kBlock),
            least(kPixels, e.inner - first)};
}

template <int kBlock>
static int64_t block_tasks(const Shape& shape, int) {
    const ElementShape& e = shape.element;
    return e.outer * ceil_div(e.channels, kBlock) * ceil_div(e.inner, kPixels);
}

// Channel by channel to a strip of codes, which lies in the first-level cache, and from there to its block.
template <int kBlock>
static void quantize_block(const Call& call, int64_t begin, int64_t end, int) {
    const CodeShape& c = call.shape->codes;
    const Rounding to = rounding(c.zero, c.low, c.high);
    const Vec scale = broadcast(c.scale);
    alignas(64) uint8_t codes[kBlock][kPixels];
    for (int64_t task = begin; task < end; ++task) {
        const Strip<kBlock> at = strip_of<kBlock>(call.shape->element, task);
        for (int64_t channel = 0; channel < kBlock; ++channel) {
            if (channel >= at.channels) {
                __builtin_memset(codes[channel], static_cast<int>(c.zero), static_cast<size_t>(at.pixels));
                continue;
            }
            const float* x = call.in[0] + at.plain + channel * call.shape->element.inner;
            int64_t i = 0;
            for (; i + kLanes <= at.pixels; i += kLanes) {
                store_codes(codes[channel] + i, round_to(divide(load(x + i), scale), to));
            }
            if (i < at.pixels) {
                quantize_few(x + i, codes[channel] + i, at.pixels - i, scale, to);
            }
        }
        uint8_t* y = reinterpret_cast<uint8_t*>(call.out[0]) + at.blocked;
        for (int64_t i = 0; i < at.pixels; ++i) {
            for (int64_t channel = 0; channel < kBlock; ++channel) {
                y[i * kBlock + channel] = codes[channel][i];
            }
        }
    }
}

template <bool kToBlocks>
static void reorder(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const auto* x = reinterpret_cast<const uint8_t*>(call.in[0]);
    auto* y = reinterpret_cast<uint8_t*>(call.out[0]);
    for (int64_t task = begin; task < end; ++task) {
        const Strip<kLanes> at = strip_of<kLanes>(e, task);
        for (int64_t i = 0; i < at.pixels; ++i) {
            for (int64_t c = 0; c < (kToBlocks ? kLanes : at.channels); ++c) {
                const int64_t plain = at.plain + c * e.inner + i, blocked = at.blocked + i * kLanes + c;
                if constexpr (kToBlocks) {
                    y[blocked] = c < at.channels ? x[plain] : static_cast<uint8_t>(call.shape->codes.zero);
                } else {
                    y[plain] = x[blocked];
                }
            }
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

using Tasks = int64_t (*)(const Shape& shape, int workers);
using Run = void (*)(const Call& call, int64_t begin, int64_t end, int worker);

static constexpr Kernel converter(const char* name, Op op, Tasks count, Run run, int64_t block_in, int64_t block_out,
                                  int64_t width_in, int64_t width_out) {
    return {name,
            op,
            Isa::LISSOME_ISA,
            Form::none,
            0,
            no_workspace,
            {{count, run}, {nullptr, nullptr}},
            block_in,
            block_out,
            false,
            nullptr,
            0,
            false,
            width_in,
            width_out};
}

const Kernel quantize_i8_block = converter(LISSOME_NAME("quantize_i8_block"), Op::quantize, block_tasks<kLanes>,
                                           quantize_block<kLanes>, 1, kLanes, 4, 1);
const Kernel quantize_i8_image =
    converter(LISSOME_NAME("quantize_i8_image"), Op::quantize, block_tasks<4>, quantize_block<4>, 1, 4, 4, 1);
const Kernel quantize_i8_lanes =
    converter(LISSOME_NAME("quantize_i8_lanes"), Op::quantize, strips, quantize_lanes, 1, 1, 4, 1);
const Kernel dequantize_i8 = converter(LISSOME_NAME("dequantize_i8"), Op::dequantize, strips, dequantize, 1, 1, 1, 4);
const Kernel reorder_i8_plain = converter(LISSOME_NAME("reorder_i8_plain"), Op::reorder_codes, block_tasks<kLanes>,
                                          reorder<false>, kLanes, 1, 1, 1);
const Kernel reorder_i8_block =
    converter(LISSOME_NAME("reorder_i8_block"), Op::reorder_codes, block_tasks<kLanes>, reorder<true>, 1, kLanes, 1, 1);

}  // namespace lissome::LISSOME_ISA
