#include "binary/pack.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace lissome {
namespace {

int64_t units(int64_t count, int64_t unit) {
    return (count + unit - 1) / unit;
}

void require(bool holds, const char* message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

}  // namespace

BitsForm bits_form(const Kernel& kernel) {
    const bool halves = kernel.isa == Isa::avx2 || kernel.isa == Isa::avx512;
    const bool layer = kernel.form == Form::bits;
    return {halves ? 16 : 32, layer ? kernel.block_out : kernel.block_in, halves ? 4 : 1, layer ? kernel.tile : 0};
}

int64_t bit_bytes(const ConvShape& s, const BitsForm& form) {
    require(s.groups == 1, "filters of bits are one group");
    const int64_t width = form.lanes * form.each;
    const int64_t extents[] = {units(s.k, width) * width, units(s.c, form.channels), s.r * s.s, form.planes, 4};
    return checked_product(extents, 5);
}

PackedPtr pack_bits(std::span<const int8_t> weight, const ConvShape& s, const BitsForm& form, int64_t vectors,
                    std::span<const float> scale, std::span<const float> bias) {
    const int64_t channels = form.channels, lanes = form.lanes, planes = form.planes, width = lanes * form.each;
    const int64_t bytes = bit_bytes(s, form), taps = s.r * s.s, columns = s.c * taps;
    const int64_t all = units(s.k, lanes), vectors_of = units(s.k, width), words = units(s.c, channels);
    const auto filters = static_cast<size_t>(s.k);
    require(weight.size() == filters * static_cast<size_t>(columns) && vectors >= 1 && vectors <= 4,
            "a filter bank has k · c · r · s weights, a panel 1 to 4 vectors");
    require(scale.size() == filters && bias.size() == filters, "one scale and one bias a filter");
    const auto fits = [planes](int8_t w) { return w >= -1 && w <= 1 && (planes == 2 || w != 0); };
    require(std::all_of(weight.begin(), weight.end(), fits), "weights are −1 and 1, and 0 only in two planes");
    auto packed = std::make_shared<Packed>();
    packed->form = Form::bits;
    packed->rows = s.k;
    packed->columns = columns;
    packed->panel = vectors;
    packed->tile = planes;
    packed->conv = s;
    packed->bytes_of_filters.assign(static_cast<size_t>(bytes), 0);
    packed->offset.assign(static_cast<size_t>(all * lanes * (1 + taps)), 0);
    packed->scale.assign(static_cast<size_t>(2 * all * lanes), 0.0f);
    const auto put = [&](int64_t byte, int64_t bit) {
        packed->bytes_of_filters[static_cast<size_t>(byte)] |= static_cast<int8_t>(1 << bit);
    };
    for (int64_t k = 0; k < s.k; ++k) {
        const int64_t block = k / lanes, lane = k % lanes, vector = k / width, first = vector / vectors * vectors;
        const int64_t wide = std::min(vectors, vectors_of - first);
        packed->scale[static_cast<size_t>(k)] = scale[static_cast<size_t>(k)];
        packed->scale[static_cast<size_t>(all * lanes + k)] = bias[static_cast<size_t>(k)];
        for (int64_t i = 0; i < columns; ++i) {
            const int64_t c = i / taps, tap = i % taps;
            const int8_t w = weight[static_cast<size_t>(k * columns + i)];
            packed->offset[static_cast<size_t>(k)] += std::abs(w);
            packed->offset[static_cast<size_t>((all + block * taps + tap) * lanes + lane)] += w;
            const int64_t word = first * words * taps * planes + (c / channels * taps + tap) * wide * planes;
            for (int64_t plane = 0; plane < planes; ++plane) {
                const bool set = plane == 0 ? w > 0 : form.each == 1 ? w != 0 : w < 0;
                const int64_t row = plane * wide + vector - first;  // of a word's, or of each of its bytes'
                if (set && form.each == 1) {
                    put((word + row) * lanes * 4 + lane * 4 + c % channels / 8, c % 8);
                } else if (set) {
                    const int64_t byte = c % channels / 4 * wide * planes + row;
                    put(word * 4 * width + byte * width + lane * 4 + k % width / lanes, c % 4);
                }
            }
        }
    }
    return packed;
}

}  // namespace lissome
