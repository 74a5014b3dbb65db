// A copy of a kernel's input with its padding around it, the code of 0 in every padded pixel: the first phase of
// kernels that then need no special case at an edge. In the workspace, as (n, blocks, h, w, kBlock), and a vector more,
// which loads of a row's last pixels may reach into. Included by sources compiled once per instruction set; the source
// says when its input is `framed`.
#pragma once

#include "core/kernel.h"
#include "core/simd.h"

namespace lissome::LISSOME_ISA {

static bool framed(const Shape& shape);

static bool padded(const ConvShape& s) {
    return s.pad_top + s.pad_left + s.pad_bottom + s.pad_right > 0;
}

// The same convolution on the frame.
static ConvShape frame_of(ConvShape s) {
    s.h += s.pad_top + s.pad_bottom;
    s.w += s.pad_left + s.pad_right;
    s.pad_top = s.pad_left = s.pad_bottom = s.pad_right = 0;
    return s;
}

// A task is one row of one block.
template <int kBlock>
static int64_t frame_tasks(const Shape& shape, int) {
    const ConvShape s = frame_of(shape.conv);
    return framed(shape) ? s.n * ceil_div(s.c, kBlock) * s.h : 0;
}

template <int kBlock>
static int64_t frame_bytes(const Shape& shape, int) {
    return framed(shape) ? frame_tasks<kBlock>(shape, 1) * frame_of(shape.conv).w * kBlock + 64 : 0;
}

template <int kBlock>
static void frame(const Call& call, int64_t begin, int64_t end, int) {
    const ConvShape &s = call.shape->conv, around = frame_of(s);
    const auto zero = static_cast<int>(call.shape->codes.x_zero);
    const auto* x = reinterpret_cast<const uint8_t*>(call.in[0]);
    const auto bytes = [](int64_t count) { return static_cast<size_t>(count * kBlock); };
    for (int64_t task = begin; task < end; ++task) {
        uint8_t* row = reinterpret_cast<uint8_t*>(call.workspace) + task * around.w * kBlock;
        const int64_t plane = task / around.h, y = task % around.h - s.pad_top;
        if (y < 0 || y >= s.h) {
            __builtin_memset(row, zero, bytes(around.w));
            continue;
        }
        __builtin_memset(row, zero, bytes(s.pad_left));
        __builtin_memcpy(row + s.pad_left * kBlock, x + (plane * s.h + y) * s.w * kBlock, bytes(s.w));
        __builtin_memset(row + (s.pad_left + s.w) * kBlock, zero, bytes(s.pad_right));
    }
}

}  // namespace lissome::LISSOME_ISA
