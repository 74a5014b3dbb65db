// binarize_b1: the signs of float32 channels in blocks of kLanes, as words of bits (binary/bits.h): (n, words, h, w, 4
// bytes), 1 from 0 on, 0 below and behind the last channel. A task is a strip of pixels of one word.
#include "binary/bits.h"
#include "core/kernel.h"

namespace lissome::LISSOME_ISA {

extern const Kernel binarize_b1;

static constexpr int64_t kStrip = 512;

static int64_t tasks(const Shape& shape, int) {
    const ElementShape& e = shape.element;
    return e.outer * ceil_div(e.channels, kWordChannels) * ceil_div(e.inner, kStrip);
}

static void run(const Call& call, int64_t begin, int64_t end, int) {
    const ElementShape& e = call.shape->element;
    const int64_t words = ceil_div(e.channels, kWordChannels), strips = ceil_div(e.inner, kStrip);
    const int64_t blocks = ceil_div(e.channels, kLanes);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % strips * kStrip, word = task / strips % words, image = task / strips / words;
        const int64_t left = e.channels - word * kWordChannels;
        const uint32_t kept = left >= kWordChannels ? ~uint32_t{0} : (uint32_t{1} << left) - 1;
        const int64_t block = word * (kWordChannels / kLanes), parts = least(kWordChannels / kLanes, blocks - block);
        const float* x = call.in[0] + (image * blocks + block) * e.inner * kLanes;
        uint8_t* y = reinterpret_cast<uint8_t*>(call.out[0]) + (image * words + word) * e.inner * 4;
        for (int64_t i = first; i < least(e.inner, first + kStrip); ++i) {
            uint32_t bits = 0;
            for (int64_t part = 0; part < parts; ++part) {
                bits |= signs(load(x + (part * e.inner + i) * kLanes)) << (part * kLanes);
            }
            bits &= kept;
            if constexpr (kWordChannels == 16) {  // four bits a byte, sixteen times that
                bits = (bits & 15) << 4 | (bits & 0xf0) << 8 | (bits & 0xf00) << 12 | (bits & 0xf000) << 16;
            }
            __builtin_memcpy(y + i * 4, &bits, sizeof bits);
        }
    }
}

static int64_t no_workspace(const Shape&, int) {
    return 0;
}

const Kernel binarize_b1 = {LISSOME_NAME("binarize_b1"),
                            Op::binarize,
                            Isa::LISSOME_ISA,
                            Form::none,
                            0,
                            no_workspace,
                            {{tasks, run}, {nullptr, nullptr}},
                            kLanes,
                            4,
                            false,
                            nullptr,
                            0,
                            false,
                            4,
                            1};

}  // namespace lissome::LISSOME_ISA
