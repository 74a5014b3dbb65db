// select_f32, select_f32_blocked: y[o, k, i] = x[o, index[k], i] along one axis of up to kMaxInputs tensors that are
// taken as if concatenated there; kNothing as an index gives the constant alpha, on blocks zero. This is Gather, Pad,
// and every concatenation, split and shuffle of channels that is no mere view, in one pass over memory.
//
// Blocked: the axis is that of the channels, (o, ⌈channels / block⌉, i, block); lanes behind the last stay zero.
#include <stddef.h>

#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {
namespace {

constexpr int64_t kRun = 4096;

int64_t no_workspace(const Shape&, int) {
    return 0;
}

// Which input holds an index of the concatenation, and where in it.
struct Source {
    int input;
    int64_t at;
};

LISSOME_INLINE Source locate(const ElementShape& e, int64_t index) {
    int input = 0;
    while (index >= e.parts[input]) {
        index -= e.parts[input++];
    }
    return {input, index};
}

int64_t rows_a_task(const ElementShape& e) {
    return e.inner >= kRun ? 1 : kRun / e.inner;
}

int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.outer * shape.element.made, rows_a_task(shape.element));
}

void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const uint32_t* index = static_cast<const uint32_t*>(call.weights.index);
    const int64_t each = rows_a_task(e), last = least(end * each, e.outer * e.made);
    for (int64_t row = begin * each; row < last;) {
        const int64_t outer = row / e.made, k = row % e.made;
        const int64_t most = least(e.made - k, last - row);
        float* y = call.out[0] + row * e.inner;
        if (index[k] == kNothing) {
            for (int64_t i = 0; i < e.inner; ++i) {
                y[i] = e.alpha;
            }
            ++row;
            continue;
        }
        const Source source = locate(e, index[k]);
        const int64_t together = least(most, e.parts[source.input] - source.at);
        int64_t count = 1;
        while (count < together && index[k + count] == index[k] + count) {
            ++count;
        }
        const float* x = call.in[source.input] + (outer * e.parts[source.input] + source.at) * e.inner;
        __builtin_memcpy(y, x, static_cast<size_t>(count * e.inner) * 4);
        row += count;
    }
}

int64_t blocked_tasks(const Shape& shape, int) {
    return shape.element.outer * ceil_div(shape.element.made, kLanes);
}

// Where the lanes of one block of the output come from: blocks of inputs, each once, and a lane of one of them.
struct Lanes {
    const float* block[kLanes];
    int blocks, of[kLanes], lane[kLanes];  // of: which block, or -1 for nothing
};

LISSOME_INLINE Lanes sources(const Call& call, int64_t outer, int64_t first) {
    const ElementShape& e = call.shape->element;
    const uint32_t* index = static_cast<const uint32_t*>(call.weights.index);
    Lanes found;
    found.blocks = 0;
    for (int i = 0; i < kLanes; ++i) {
        if (first + i >= e.made || index[first + i] == kNothing) {
            found.of[i] = -1;
            found.lane[i] = 0;
            continue;
        }
        const Source source = locate(e, index[first + i]);
        const int64_t number = outer * ceil_div(e.parts[source.input], kLanes) + source.at / kLanes;
        const float* block = call.in[source.input] + number * e.inner * kLanes;
        int known = 0;
        while (known < found.blocks && found.block[known] != block) {
            ++known;
        }
        found.block[known] = block;
        found.blocks += known == found.blocks ? 1 : 0;
        found.of[i] = known;
        found.lane[i] = static_cast<int>(source.at % kLanes);
    }
    return found;
}

bool is_copy(const Lanes& s) {
    for (int i = 0; i < kLanes; ++i) {
        if (s.of[i] != 0 || s.lane[i] != i) {
            return false;
        }
    }
    return true;
}

// Up to four blocks of inputs: two permutations of two, and a choice between them.
LISSOME_INLINE void permute_all(const Lanes& s, int64_t pixels, float* y) {
    Int low, high, upper, present;
    for (int i = 0; i < kLanes; ++i) {
        low[i] = s.of[i] == 1 ? s.lane[i] + kLanes : s.lane[i];
        high[i] = s.of[i] == 3 ? s.lane[i] + kLanes : s.lane[i];
        upper[i] = s.of[i] >= 2 ? -1 : 0;
        present[i] = s.of[i] >= 0 ? -1 : 0;
    }
    const float *a = s.block[0], *b = s.blocks > 1 ? s.block[1] : a, *c = s.blocks > 2 ? s.block[2] : a;
    const float* d = s.blocks > 3 ? s.block[3] : c;
    for (int64_t i = 0; i < pixels * kLanes; i += kLanes) {
        Vec value = permute(load(a + i), load(b + i), low);
        if (s.blocks > 2) {
            value = pick(upper, permute(load(c + i), load(d + i), high), value);
        }
        store(y + i, pick(present, value, zero()));
    }
}

void run_blocked(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t blocks = ceil_div(e.made, kLanes);
    for (int64_t task = begin; task < end; ++task) {
        const Lanes s = sources(call, task / blocks, task % blocks * kLanes);
        float* y = call.out[0] + task * e.inner * kLanes;
        if (is_copy(s)) {
            __builtin_memcpy(y, s.block[0], static_cast<size_t>(e.inner * kLanes) * 4);
        } else if (s.blocks >= 1 && s.blocks <= 4) {
            permute_all(s, e.inner, y);
        } else {
            for (int64_t i = 0; i < e.inner * kLanes; i += kLanes) {
                for (int lane = 0; lane < kLanes; ++lane) {
                    y[i + lane] = s.of[lane] < 0 ? 0.0f : s.block[s.of[lane]][i + s.lane[lane]];
                }
            }
        }
    }
}

}  // namespace

extern const Kernel select_f32, select_f32_blocked;
const Kernel select_f32 = {
    LISSOME_NAME("select_f32"),        Op::select, Isa::LISSOME_ISA, Form::indices, 0, no_workspace,
    {{tasks, run}, {nullptr, nullptr}}};
const Kernel select_f32_blocked = {LISSOME_NAME("select_f32_blocked"),
                                   Op::select,
                                   Isa::LISSOME_ISA,
                                   Form::indices,
                                   0,
                                   no_workspace,
                                   {{blocked_tasks, run_blocked}, {nullptr, nullptr}},
                                   kLanes,
                                   kLanes};

}  // namespace lissome::LISSOME_ISA
