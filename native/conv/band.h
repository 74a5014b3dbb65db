// Bands of a padded, phase-split input (conv/taps.h), and filling them.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/taps.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

// Copies into a band, and whether what was copied is finite: Σ 0 · x, in turns of two.
struct Copying {
    Vec zeros[2];
};
LISSOME_INLINE Copying start_copying() {
    return {{zero(), zero()}};
}
LISSOME_INLINE bool copied_finite(const Copying& copying) {
    return all_finite(add(copying.zeros[0], copying.zeros[1]));
}

// Looks at whole vectors that stay where they are.
LISSOME_INLINE void scan(const float* x, int64_t count, Copying& copying) {
    Vec first = copying.zeros[0], second = copying.zeros[1];
    int64_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        first = fma(load(x + i), zero(), first);
        second = fma(load(x + i + kLanes), zero(), second);
    }
    copying.zeros[0] = i < count ? fma(load(x + i), zero(), first) : first;
    copying.zeros[1] = second;
}

LISSOME_INLINE int64_t within(int64_t x, int64_t most) {
    return x < 0 ? 0 : least(x, most);
}

// The lanes of p that are elements [−before, after) from it, the others 0.
LISSOME_INLINE Vec load_inside(const float* p, int64_t before, int64_t after) {
    const int64_t last = within(after, kLanes);
    return load_between(p, least(last, within(-before, kLanes)), last);
}

// to[j] = row[x + j · step] where that is inside [0, w), else 0, for count · step ≤ what a row has and is padded by.
// Vectors are stored whole where `room` floats follow: what comes next overwrites what is too much.
template <int Step>
LISSOME_INLINE void copy_row(float* to, int64_t count, int64_t room, const float* row, int64_t x, int64_t w,
                             Copying& copying) {
    Int even;
    for (int i = 0; i < kLanes; ++i) {
        even[i] = 2 * i;
    }
    Vec zeros = copying.zeros[0], other = copying.zeros[1];
    for (int64_t j = 0; j < count; j += kLanes) {
        const int64_t at = x + j * Step, some = least(kLanes, count - j), next = at + (Step - 1) * kLanes;
        const bool whole = at >= 0 && next + kLanes <= w;
        Vec from = whole ? load(row + at) : load_inside(row + at, at, w - at);
        if constexpr (Step == 2) {
            from = permute(from, whole ? load(row + next) : load_inside(row + next, next, w - next), even);
        }
        const Vec last = other;
        other = fma(from, zero(), zeros);
        zeros = last;
        if (room - j >= kLanes) {
            store(to + j, from);
        } else {
            store_some(to + j, from, some);
        }
    }
    copying = {{zeros, other}};
}

static void copy_any_row(float* to, int64_t count, const float* row, int64_t x, int64_t step, int64_t w,
                         Copying& copying) {
    for (int64_t j = 0; j < count; ++j) {
        const int64_t at = x + j * step;
        to[j] = at >= 0 && at < w ? row[at] : 0.0f;
        copying.zeros[0] = fma(broadcast(to[j]), zero(), copying.zeros[0]);
    }
}

// Whether outputs and the inputs that a tap reads for them are the same run of numbers.
LISSOME_INLINE bool flat(const ConvShape& s, const TapGeometry& g) {
    return s.r * s.s * g.stride_h * g.stride_w == 1 && s.p == s.h && s.q == s.w && s.pad_top + s.pad_left == 0;
}

// The planes of one channel's phases, from position `first` on. channel: (h, w).
static void fill_planes(const ConvShape& s, const TapGeometry& g, const float* channel, int64_t first, float* to,
                        Copying& copying) {
    if (flat(s, g)) {
        copy_row<1>(to, g.plane, g.plane, channel, first, s.h * s.w, copying);
        return;
    }
    for (int64_t phase = 0; phase < g.phases_h * g.phases_w; ++phase, to += g.plane) {
        int64_t row = first / g.width, column = first % g.width;
        for (int64_t done = 0; done < g.plane; column = 0, ++row) {
            const int64_t room = g.plane - done, count = least(g.width - column, room);
            const int64_t y = row * g.stride_h + phase / g.phases_w - s.pad_top;
            const int64_t x = column * g.stride_w + phase % g.phases_w - s.pad_left;
            const bool inside = y >= 0 && y < s.h;
            const float* from = inside ? channel + y * s.w : channel;
            const int64_t w = inside ? s.w : 0;
            if (g.stride_w == 1) {
                copy_row<1>(to + done, count, room, from, x, w, copying);
            } else if (g.stride_w == 2) {
                copy_row<2>(to + done, count, room, from, x, w, copying);
            } else {
                copy_any_row(to + done, count, from, x, g.stride_w, w, copying);
            }
            done += count;
        }
    }
}

// The planes of a block of channels, of which there are `channels`; block: (h, w, kLanes). As many pixels as a vector
// has lanes are turned over at once.
static void fill_block(const ConvShape& s, const TapGeometry& g, const float* block, int64_t channels, int64_t first,
                       float* to, Copying& copying) {
    const bool run = flat(s, g);
    const int64_t phases = g.phases_h * g.phases_w, channel = phases * g.plane;
    const int64_t width = run ? g.positions + g.plane : g.width, w = run ? s.h * s.w : s.w;
    alignas(64) static constexpr float zeros[kLanes] = {};
    for (int64_t phase = 0; phase < phases; ++phase, to += g.plane) {
        int64_t row = first / width, column = first % width;
        for (int64_t done = 0; done < g.plane;) {
            const int64_t room = g.plane - done, count = least(least(width - column, room), kLanes);
            const int64_t y = row * g.stride_h + phase / g.phases_w - s.pad_top;
            const int64_t x = column * g.stride_w + phase % g.phases_w - s.pad_left;
            const bool row_inside = y >= 0 && y < (run ? 1 : s.h);
            const float* from = block + (y * w + x) * kLanes;
            const bool whole = row_inside && count == kLanes && x >= 0 && x + (kLanes - 1) * g.stride_w < w;
            const float* pixel[kLanes];
            for (int64_t j = 0; j < kLanes; ++j) {
                const int64_t at = x + j * g.stride_w;
                const bool inside = whole || (row_inside && at >= 0 && at < w && j < count);
                pixel[j] = inside ? from + j * g.stride_w * kLanes : zeros;
            }
            Vec tile[kLanes], sum[2] = {copying.zeros[0], copying.zeros[1]}, other[2] = {zero(), zero()};
            load_columns(pixel, tile);
#pragma GCC unroll 16
            for (int j = 0; j < kLanes; j += 4) {
                sum[0] = fma(tile[j], zero(), sum[0]);
                sum[1] = fma(tile[j + 1], zero(), sum[1]);
                other[0] = fma(tile[j + 2], zero(), other[0]);
                other[1] = fma(tile[j + 3], zero(), other[1]);
            }
            copying.zeros[0] = add(sum[0], other[0]);
            copying.zeros[1] = add(sum[1], other[1]);
            if (channels == kLanes && room >= kLanes) {
#pragma GCC unroll 16
                for (int c = 0; c < kLanes; ++c) {
                    store(to + c * channel + done, tile[c]);
                }
            } else {
                for (int64_t c = 0; c < channels; ++c) {
                    store_some(to + c * channel + done, tile[c], least(room, kLanes));
                }
            }
            done += count;
            column += count;
            if (column == width) {
                column = 0;
                ++row;
            }
        }
    }
}

static constexpr int64_t kChannels = kLanes;  // in a chunk

static int64_t align(int64_t floats) {
    return ceil_div(floats, 16) * 16;
}

// Where a band's inputs are: in workspace, or, with no floats there, in the input itself.
template <bool kFromBlocks>
static TapGeometry bands(const ConvShape& s) {
    TapGeometry g = tap_geometry(s);
    if (!kFromBlocks && flat(s, g) && g.positions % kLanes == 0) {
        g.plane = g.step = g.positions;
        g.floats = 0;
    }
    return g;
}
static int64_t units(const ConvShape& s, const TapGeometry& g) {
    return s.n * g.bands;
}
static bool alone(const ConvShape& s, const TapGeometry& g, int workers) {
    return workers == 1 || units(s, g) >= 8 * workers;
}
static int64_t slot_floats(const ConvShape& s, const TapGeometry& g) {
    return align(g.floats) + align(ceil_div(s.c, kChannels));
}

static int64_t slots(const ConvShape& s, const TapGeometry& g, int workers) {
    return alone(s, g, workers) ? workers : units(s, g);
}

struct Band {
    float *space, *flags;  // in workspace
    const float* planes;
};

static Band band_at(const Call& call, const TapGeometry& g, int64_t slot, int64_t unit) {
    const ConvShape& s = call.shape->conv;
    float* space = reinterpret_cast<float*>(call.workspace) + slot * slot_floats(s, g);
    const float* x = call.in[0] + unit / g.bands * s.c * s.h * s.w + unit % g.bands * g.band;
    return {space, space + align(g.floats), g.floats > 0 ? space : x};
}

template <bool kFromBlocks>
static void fill_chunk(const Call& call, const TapGeometry& g, const Band& band, int64_t unit, int64_t chunk) {
    const ConvShape& s = call.shape->conv;
    const int64_t n = unit / g.bands, first = unit % g.bands * g.band, channel = g.phases_h * g.phases_w * g.plane;
    const int64_t begin = chunk * kChannels, end = least(s.c, begin + kChannels), area = s.h * s.w;
    Copying copying = start_copying();
    if constexpr (kFromBlocks) {
        const float* from = call.in[0] + (n * ceil_div(s.c, kLanes) + chunk) * area * kLanes;
        fill_block(s, g, from, end - begin, first, band.space + begin * channel, copying);
    } else {
        for (int64_t c = begin; c < end; ++c) {
            if (g.floats > 0) {
                fill_planes(s, g, call.in[0] + (n * s.c + c) * area, first, band.space + c * channel, copying);
            } else {
                scan(band.planes + c * area, least(g.band, area - first), copying);
            }
        }
    }
    band.flags[chunk] = copied_finite(copying) ? 0.0f : 1.0f;
}

}  // namespace lissome::LISSOME_ISA
