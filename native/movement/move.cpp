// move_f32: a loop nest that copies one element a step, with a stride an axis on either side: transposition, slices,
// broadcasts, parts of a larger tensor. A task is a run of 4096 elements, or, where the nest transposes (the last axis
// is contiguous in the output only, the one before it in the input only), a strip of kTile rows.
#include "core/kernel.h"
#include "core/walk.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kRun = 4096, kTile = 16;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

bool transposes(const MoveShape& m) {
    return m.rank >= 2 && m.to[m.rank - 1] == 1 && m.from[m.rank - 2] == 1 && m.from[m.rank - 1] != 1 &&
           m.dim[m.rank - 2] >= 4 && m.dim[m.rank - 1] >= 4;
}

// Strips of one transposed matrix.
int64_t strips(const MoveShape& m) {
    return ceil_div(m.dim[m.rank - 2], kTile);
}

int64_t tasks(const Shape& shape, int) {
    const MoveShape& m = shape.move;
    return transposes(m) ? m.count / (m.dim[m.rank - 1] * m.dim[m.rank - 2]) * strips(m) : ceil_div(m.count, kRun);
}

// y[r · row_to + c] = x[r + c · column_from], tile by tile, so that the lines of both sides stay in the cache.
LISSOME_INLINE void transpose(const float* x, float* y, int64_t rows, int64_t columns, int64_t column_from,
                              int64_t row_to) {
    for (int64_t left = 0; left < columns; left += kTile) {
        const int64_t right = least(left + kTile, columns);
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t c = left; c < right; ++c) {
                y[r * row_to + c] = x[r + c * column_from];
            }
        }
    }
}

void run_strips(const Call& call, int64_t begin, int64_t end) {
    const MoveShape& m = call.shape->move;
    const int64_t row = m.rank - 2, column = m.rank - 1, each = strips(m);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % each * kTile;
        const float* x = call.in[0] + m.from_base + first;
        float* y = call.out[0] + m.to_base + first * m.to[row];
        int64_t rest = task / each;
        for (int64_t axis = row - 1; axis >= 0; --axis) {
            x += rest % m.dim[axis] * m.from[axis];
            y += rest % m.dim[axis] * m.to[axis];
            rest /= m.dim[axis];
        }
        transpose(x, y, least(m.dim[row] - first, kTile), m.dim[column], m.from[column], m.to[row]);
    }
}

void run(const Call& call, int64_t begin, int64_t end, int) {
    const MoveShape& m = call.shape->move;
    if (transposes(m)) {
        run_strips(call, begin, end);
        return;
    }
    const int64_t from = m.from[m.rank - 1], to = m.to[m.rank - 1];
    const int64_t* const strides[2] = {m.from, m.to};
    walk(m.dim, m.rank, strides, begin * kRun, least(end * kRun, m.count), [&](const int64_t* offset, int64_t count) {
        const float* x = call.in[0] + m.from_base + offset[0];
        float* y = call.out[0] + m.to_base + offset[1];
        if (from == 1 && to == 1) {
            __builtin_memcpy(y, x, static_cast<size_t>(count) * 4);
        } else if (from == 0 && to == 1) {
            const float value = *x;
            for (int64_t i = 0; i < count; ++i) {
                y[i] = value;
            }
        } else {
            for (int64_t i = 0; i < count; ++i) {
                y[i * to] = x[i * from];
            }
        }
    });
}

}  // namespace

extern const Kernel move_f32;
const Kernel move_f32 = {LISSOME_NAME("move_f32"),          Op::move, Isa::LISSOME_ISA, Form::none, 0, no_workspace,
                         {{tasks, run}, {nullptr, nullptr}}};

}  // namespace lissome::LISSOME_ISA
