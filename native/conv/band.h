// Bands of a padded, phase-split input (conv/taps.h): filling them, and storing what strips of them give.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/taps.h"
#include "core/activation.h"
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

// Stores a vector of which `count` lanes are wanted, whole where `room` floats follow: what comes next overwrites it.
LISSOME_INLINE void put(float* to, Vec x, int64_t count, int64_t room, Copying& copying) {
    const Vec other = copying.zeros[1];
    copying.zeros[1] = fma(x, zero(), copying.zeros[0]);
    copying.zeros[0] = other;
    if (room >= kLanes) {
        store(to, x);
    } else {
        store_some(to, x, count);
    }
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
template <int Step>
LISSOME_INLINE void copy_row(float* to, int64_t count, int64_t room, const float* row, int64_t x, int64_t w,
                             Copying& copying) {
    Int even;
    for (int i = 0; i < kLanes; ++i) {
        even[i] = 2 * i;
    }
    for (int64_t j = 0; j < count; j += kLanes) {
        const int64_t at = x + j * Step, some = least(kLanes, count - j);
        Vec from = load_inside(row + at, at, w - at);
        if constexpr (Step == 2) {
            const int64_t next = at + kLanes;
            from = permute(from, load_inside(row + next, next, w - next), even);
        }
        put(to + j, from, some, room - j, copying);
    }
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

// Where a strip's results go: runs of neighbouring outputs.
struct Run {
    int64_t from, to, count;
};

constexpr int kMostVectors = 8, kMostRuns = kMostVectors * kLanes + 2;

struct Strip {
    int64_t first, count;  // positions
    bool straight;         // neighbouring positions are neighbouring outputs
    Run run[kMostRuns];
    int64_t runs, end;                     // end: past the last output
    int64_t pixel[kMostVectors * kLanes];  // output of each position, or −1
};

LISSOME_INLINE void make_strip(const ConvShape& s, const TapGeometry& g, int64_t first, int64_t count, Strip& strip) {
    strip.first = first;
    strip.count = count;
    strip.straight = g.width == s.q;
    strip.runs = 0;
    strip.end = 0;
    for (int64_t i = 0; i < kMostVectors * kLanes; ++i) {
        strip.pixel[i] = -1;
    }
    for (int64_t done = 0; done < count;) {
        const int64_t row = (first + done) / g.width, column = (first + done) % g.width;
        const int64_t most = least(g.width - column, count - done), some = least(s.q - column, most);
        if (some > 0) {
            strip.run[strip.runs++] = {done, row * s.q + column, some};
            strip.end = row * s.q + column + some;
        }
        for (int64_t i = 0; i < some; ++i) {
            strip.pixel[done + i] = row * s.q + column + i;
        }
        done += most;
    }
}

template <int V>
LISSOME_INLINE void activate_each(Vec* sum, const Activation& activation) {
    if (activation.kind == ActivationKind::relu) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = relu(sum[v]);
        }
    } else if (activation.kind != ActivationKind::none) {
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            sum[v] = activate(sum[v], activation);
        }
    }
}

// Sums of a strip of V vectors, to a filter's outputs y, residual added where there is one.
template <int V>
LISSOME_INLINE void store_straight(Vec* sum, const Strip& strip, const Activation& activation, const float* residual,
                                   float* y) {
    const int64_t last = strip.count - (V - 1) * kLanes;
    y += strip.first;
    if (residual != nullptr) {
#pragma GCC unroll 8
        for (int v = 0; v < V - 1; ++v) {
            sum[v] = add(sum[v], load(residual + strip.first + v * kLanes));
        }
        sum[V - 1] = add(sum[V - 1], load_some(residual + strip.first + (V - 1) * kLanes, last));
    }
    activate_each<V>(sum, activation);
#pragma GCC unroll 8
    for (int v = 0; v < V - 1; ++v) {
        store(y + v * kLanes, sum[v]);
    }
    store_some(y + (V - 1) * kLanes, sum[V - 1], last);
}

// The same through memory, run by run. A vector that reaches past its run is put right by the runs after it.
static void store_runs(const float* sums, const Strip& strip, const Activation& activation, const float* residual,
                       float* y) {
    for (int64_t i = 0; i < strip.runs; ++i) {
        const Run& run = strip.run[i];
        for (int64_t j = 0; j < run.count; j += kLanes) {
            const int64_t to = run.to + j;
            const bool whole = to + kLanes <= strip.end;
            const int64_t some = whole ? kLanes : run.count - j;
            Vec sum = load(sums + run.from + j);
            if (residual != nullptr) {
                sum = add(sum, load_some(residual + to, some));
            }
            store_some(y + to, activate(sum, activation), some);
        }
    }
}

template <int V>
LISSOME_INLINE void store_strip(Vec* sum, const Strip& strip, const Activation& activation, const float* residual,
                                float* y) {
    if (strip.straight) {
        store_straight<V>(sum, strip, activation, residual, y);
        return;
    }
    float sums[(V + 1) * kLanes];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        store(sums + v * kLanes, sum[v]);
    }
    store_runs(sums, strip, activation, residual, y);
}

// Sums of a strip of V vectors for kLanes filters, rows[filter][position], into a block of an output in blocks:
// y (pixel, kLanes), and residual beside it or nullptr.
template <int V>
static void store_block(const float* rows, const Strip& strip, const Activation& activation, const float* residual,
                        float* y) {
    for (int v = 0; v < V; ++v) {
        const float* row[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            row[i] = rows + (i * V + v) * kLanes;
        }
        Vec tile[kLanes];
        load_columns(row, tile);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            const int64_t pixel = strip.pixel[v * kLanes + i];
            if (pixel >= 0) {
                Vec sum = residual != nullptr ? add(tile[i], load(residual + pixel * kLanes)) : tile[i];
                activate_each<1>(&sum, activation);
                store(y + pixel * kLanes, sum);
            }
        }
    }
}

}  // namespace lissome::LISSOME_ISA
