// Strips of a band (conv/taps.h): which of their positions are outputs, and storing what they give.
// Included by sources compiled once per instruction set.
#pragma once

#include "conv/taps.h"
#include "core/activation.h"
#include "core/kernel.h"
#include "core/lanes.h"

namespace lissome::LISSOME_ISA {

// Where a strip's results go: runs of neighbouring outputs.
struct Run {
    int64_t from, to, count;
};

constexpr int kMostVectors = 8, kMostRuns = kMostVectors * kLanes + 2;

// The lanes of a vector that are outputs, in order those from `to` on.
struct Lot {
    uint32_t lanes;
    int64_t to, count;
};

struct Strip {
    int64_t first, count;  // positions
    bool straight;         // neighbouring positions are neighbouring outputs
    Run run[kMostRuns];
    int64_t runs, end;                     // end: past the last output
    Lot lot[kMostVectors];                 // of each vector
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
        strip.lot[i / kLanes] = {0, 0, 0};
    }
    for (int64_t done = 0; done < count;) {
        const int64_t row = (first + done) / g.width, column = (first + done) % g.width;
        const int64_t most = least(g.width - column, count - done), some = least(s.q - column, most);
        if (some > 0) {
            strip.run[strip.runs++] = {done, row * s.q + column, some};
            strip.end = row * s.q + column + some;
        }
        for (int64_t i = done; i < done + some; ++i) {
            strip.pixel[i] = row * s.q + column + i - done;
            Lot& lot = strip.lot[i / kLanes];
            lot.to = lot.count++ > 0 ? lot.to : strip.pixel[i];
            lot.lanes |= 1u << i % kLanes;
        }
        done += most;
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

// The same where outputs are fewer than positions, in a vector that can close its ranks. What is written beyond a
// vector's outputs is put right by the next one.
template <int V>
LISSOME_INLINE void store_lots(Vec* sum, const Strip& strip, const Activation& activation, const float* residual,
                               float* y) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        const Lot& lot = strip.lot[v];
        sum[v] = gathered(sum[v], lot.lanes);
        if (residual != nullptr) {
            sum[v] = add(sum[v], load_some(residual + lot.to, lot.count));
        }
    }
    activate_each<V>(sum, activation);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        const Lot& lot = strip.lot[v];
        if (lot.to + kLanes <= strip.end) {
            store(y + lot.to, sum[v]);
        } else {
            store_some(y + lot.to, sum[v], lot.count);
        }
    }
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
    if constexpr (kGathers) {
        store_lots<V>(sum, strip, activation, residual, y);
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
