// add_i8: the sum of two tensors of uint8 codes, each with a scale and a zero of its own, in any layout:
//
//   y = zero + round((a − x_zero) · keep + (b − r_zero) · add), within low and high     (core/conv_shape.h, CodeShape)
//
// where both products and their sum are rounded to float32. A task is a strip of elements.
#include "integer/dot.h"

namespace lissome::LISSOME_ISA {

extern const Kernel add_i8;

static constexpr int64_t kStrip = 1 << 14;

static int64_t tasks(const Shape& shape, int) {
    return ceil_div(shape.element.count, kStrip);
}

LISSOME_INLINE Int sum(const uint8_t* a, const uint8_t* b, const CodeShape& c, const Rounding& to) {
    const Vec kept = multiply(to_float(load_codes(a) - all(static_cast<int32_t>(c.x_zero))), broadcast(c.keep));
    const Vec added = multiply(to_float(load_codes(b) - all(static_cast<int32_t>(c.r_zero))), broadcast(c.add));
    return round_to(add(kept, added), to);
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const CodeShape& c = call.shape->codes;
    const Rounding to = rounding(c.zero, c.low, c.high);
    const auto *a = reinterpret_cast<const uint8_t*>(call.in[0]), *b = reinterpret_cast<const uint8_t*>(call.in[1]);
    auto* y = reinterpret_cast<uint8_t*>(call.out[0]);
    int64_t i = begin * kStrip;
    const int64_t last = least(end * kStrip, call.shape->element.count);
    for (; i + kLanes <= last; i += kLanes) {
        store_codes(y + i, sum(a + i, b + i, c, to));
    }
    if (i < last) {
        uint8_t left[kLanes] = {}, right[kLanes] = {}, made[kLanes];
        for (int64_t j = 0; j < last - i; ++j) {
            left[j] = a[i + j], right[j] = b[i + j];
        }
        store_codes(made, sum(left, right, c, to));
        for (int64_t j = 0; j < last - i; ++j) {
            y[i + j] = made[j];
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel add_i8 = {LISSOME_NAME("add_i8"),
                       Op::add_codes,
                       Isa::LISSOME_ISA,
                       Form::none,
                       0,
                       no_workspace,
                       {{tasks, run}, {nullptr, nullptr}},
                       1,
                       1,
                       false,
                       nullptr,
                       0,
                       false,
                       1,
                       1};

}  // namespace lissome::LISSOME_ISA
