// The kernel contract (docs/kernels.md). A kernel is a constant descriptor; the executor owns memory and threads.
//
// A kernel runs in one or two phases. A phase is a number of tasks that may run in any order and at once; the executor
// hands each worker one contiguous range and waits for all workers between phases. Every output element is written by
// one task, in an order of additions fixed by the shape alone: results do not depend on the number of threads.
// run allocates nothing, throws nothing and reads no environment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/conv_shape.h"
#include "core/cpu.h"
#include "core/schedule.h"

namespace lissome {

// A new operator is one name here and one rule in executor/rules.cpp.
enum class Op : int {
    conv,
    gemm,
    pool,
    unary,
    binary,
    affine,
    softmax,
    reorder,
    move,
    select,
    resample,
    reduce,
    layer_norm,
    lrn,
    product,
    lstm,
    conv_codes,
    gemm_codes,
    pool_codes,
    add_codes,
    quantize,
    dequantize,
    reorder_codes,
    separable,
    conv_bits,
    binarize,
};

// What a kernel that makes a tensor does to it last. low and high: the bounds of clip; low: the slope of leaky_relu.
enum class ActivationKind : int { none, relu, clip, leaky_relu, hard_swish };
struct Activation {
    ActivationKind kind = ActivationKind::none;
    float low = 0.0f, high = 0.0f;
};

constexpr int kMaxInputs = kMaxParts, kMaxOutputs = 3;

// How weights lie in memory; see the packers named beside each.
enum class Form : int {
    none,
    rows,       // dense, row-major (conv), or the two rows scale and shift (affine)
    panels,     // dense, columns of `panel` outputs (gemm/pack.h)
    sell,       // sparse rows in interleaved slices (gemm/sell.h)
    filters,    // dense, rows of one group in panels of at most `panel` (gemm/pack.h)
    slots,      // sparse rows of few values, as 16-bit slots in segments of columns (gemm/slots.h)
    codes,      // dense, few values, as codes of `tile` bits in vectors of `panel` outputs (gemm/codes.h)
    taps,       // sparse filters as offsets into the padded input (conv/taps.h)
    winograd,   // dense filters, transformed (conv/pack.h); `panel` is a vector's lanes
    mec,        // dense filters as columns of (r, s, c) in panels of `panel` (conv/pack.h)
    blocks,     // dense filters in panels of vectors, on blocks of channels (conv/pack.h)
    indices,    // uint32_t in `index`, each below the weight's columns, or kNothing (movement/pack.h)
    weighted,   // the same and as many floats in `dense`
    separable,  // dense, those of a 1×1 convolution as blocks, then depthwise filters and their bias (conv/pack.h)
    bytes,      // int8 filters for dot products of four channels (integer/pack.h); `tile`: bytes that a weight takes
    bits,       // filters of −1, 0 and 1 as planes of bits (binary/pack.h); `tile`: how many planes
};
constexpr uint32_t kNothing = 0xffffffff;

// What a kernel sees of packed weights. Which fields are set depends on the form.
struct WeightView {
    const float* dense = nullptr;      // rows, panels, filters, blocks; 64-byte aligned
    const uint32_t* start = nullptr;   // sell: first step of a slice; taps: first entry of a block's filter
    const uint32_t* length = nullptr;  // sell: entries of each row of each slice; taps: of all filters before one
    const uint32_t* row = nullptr;     // sell: which output each row of each slice is; taps: which filter
    const void* index = nullptr;       // uint16_t, or uint32_t when wide; slots: see gemm/slots.h
    const void* value = nullptr;       // float, or uint8_t codes into the table when coded
    const float* table = nullptr;      // entries values, then zeros to a multiple of 32
    int64_t entries = 0, blocks = 0;   // blocks: of channels, of taps
    bool wide = false, coded = false;
    const int8_t* bytes = nullptr;    // bytes, bits: 64-byte aligned
    const int32_t* offset = nullptr;  // bytes, bits: what each output's sum begins with, in whole vectors
    const float* scale = nullptr;     // bytes, bits: what each output's sum is multiplied with
};

struct Shape {
    ConvShape conv;
    GemmShape gemm;
    PoolShape pool;
    ElementShape element;
    ConvSchedule schedule;  // of a conv kernel of Form::blocks with more than one loop
    MoveShape move;
    ProductShape product;
    RecurrentShape recurrent;
    CodeShape codes;
    SeparableShape separable;
};

// One node in one run: everything that a kernel may touch.
struct Call {
    const Shape* shape;
    // nullptr where an optional input is left out; conv: in[1] is added before activation. A kernel whose width_in or
    // width_out is 1 finds uint8_t there.
    const float* in[kMaxInputs];
    float* out[kMaxOutputs];
    WeightView weights;
    const float* bias;  // one a row of the weight, then zeros to a multiple of 16; or nullptr
    Activation activation;
    std::byte* workspace;  // workspace_bytes(shape, workers), 64-byte aligned, contents undefined
    int workers;
};

struct Phase {
    int64_t (*tasks)(const Shape& shape, int workers);
    void (*run)(const Call& call, int64_t begin, int64_t end, int worker);
};

struct Kernel {
    const char* name;
    Op op;
    Isa isa;
    Form form;
    int64_t panel;  // outputs in a panel of Form::panels, at most those of Form::filters
    int64_t (*workspace_bytes)(const Shape& shape, int workers);
    Phase phases[2];  // a second phase without `run` does not exist
    // Channels in a block of the first input and of the output. 1: plain, (n, c, h, w); else blocked, channels in
    // whole blocks, zeros behind the last: (n, ⌈c / block⌉, h, w, block).
    int64_t block_in = 1, block_out = 1;
    bool residual = false;  // conv: whether in[1], of the output's shape and layout, may be given
    bool (*supports)(const Shape& shape) = nullptr;  // which shapes of its operator it does; nullptr: all
    int64_t tile =
        0;  // Form::winograd: outputs along the edge of a tile; Form::bytes: bytes of a weight; Form::bits: planes
    // Form::blocks: one filter a channel (groups = c = k), and no schedule.
    bool depthwise = false;
    int64_t width_in = 4, width_out = 4;  // bytes of an element of every input and output: float, or uint8_t codes
};

// All kernels that this build contains, in one visible list (executor/table.cpp).
struct KernelList {
    const Kernel* const* data;
    int64_t size;
};
KernelList all_kernels() noexcept;

}  // namespace lissome
