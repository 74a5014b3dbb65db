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

namespace lissome {

enum class Op : int { conv, gemm, pool, unary, binary, affine, softmax };
enum class Activation : int { none, relu };

// How weights lie in memory; see the packers named beside each.
enum class Form : int {
    none,
    rows,    // dense, row-major (conv), or the two rows scale and shift (affine)
    panels,  // dense, columns of `panel` outputs (gemm/pack.h)
    sell,    // sparse rows in interleaved slices (gemm/sell.h)
    taps,    // sparse filters as offsets into the padded input (conv/taps.h)
};

// What a kernel sees of packed weights. Which fields are set depends on the form.
struct WeightView {
    const float* dense = nullptr;      // rows, panels
    const uint32_t* start = nullptr;   // sell: first step of a slice; taps: first entry of a filter
    const uint32_t* length = nullptr;  // sell: entries of each row of each slice
    const uint32_t* row = nullptr;     // sell: which output each row of each slice is
    const void* index = nullptr;       // uint16_t, or uint32_t when wide
    const void* value = nullptr;       // float, or uint8_t codes into the table when coded
    const float* table = nullptr;      // entries values, then zeros to a multiple of 32
    int64_t entries = 0;
    bool wide = false, coded = false;
};

struct Shape {
    ConvShape conv;
    GemmShape gemm;
    PoolShape pool;
    ElementShape element;
};

// One node in one run: everything that a kernel may touch.
struct Call {
    const Shape* shape;
    const float* x;
    const float* x2;  // second operand of a binary operator
    float* y;
    WeightView weights;
    const float* bias;  // one a row of the weight, or nullptr
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
    int64_t panel;  // outputs in a panel of Form::panels
    int64_t (*workspace_bytes)(const Shape& shape, int workers);
    Phase phases[2];  // a second phase without `run` does not exist
};

// All kernels that this build contains, in one visible list (executor/table.cpp).
struct KernelList {
    const Kernel* const* data;
    int64_t size;
};
KernelList all_kernels() noexcept;

}  // namespace lissome
