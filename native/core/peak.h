// What this machine reaches at most: fused multiply-adds per second, and bytes read per second from a working set of
// a given size. Benchmarks state their share of it, and the planner's cost model divides by it.
#pragma once

#include <cstdint>

#include "core/cpu.h"

namespace lissome {

// Loops of one instruction set (core/peak_loops.cpp). `sink` gets what they compute, so that none is optimised away.
struct PeakLoops {
    int64_t flops_per_round;   // of `multiply_add`; a multiply-add counts 2
    int64_t floats_per_round;  // `read` takes multiples of it
    void (*multiply_add)(int64_t rounds, float* sink);
    void (*read)(const float* data, int64_t count, int64_t rounds, float* sink);
    void (*copy)(const float* from, float* to, int64_t count, int64_t rounds);  // count as for `read`
};

// A loop of counting where signs differ (binary/limit.cpp).
struct PeakBits {
    int64_t products_per_round;
    void (*differing)(int64_t rounds, float* sink);
};

// A loop of multiplying codes and adding them up (integer/limit.cpp).
struct PeakDots {
    int64_t products_per_round;
    void (*dots)(int64_t rounds, float* sink);
};

// `threads` threads start together and each works for about a millisecond; the best of the trials that fit into
// `seconds` (three at least) counts, as whatever else the machine does only ever slows one down. Throws
// std::invalid_argument for an instruction set that this build or processor lacks, threads outside 1 to kMaxThreads,
// seconds outside 0.001 to 60.

// Floating-point operations per second of all threads together, from registers alone.
double measure_multiply_adds(Isa isa, int threads, double seconds);

// Products of two signs, counted in sums, per second likewise.
double measure_sign_products(Isa isa, int threads, double seconds);

// Products of a uint8 and an int8 code, added to int32 sums, per second likewise.
double measure_code_products(Isa isa, int threads, double seconds);

// Bytes per second that all threads together read, each again and again from `bytes` of its own (1 KiB to 4 GiB).
double measure_read(Isa isa, int threads, int64_t bytes, double seconds);

// The same, read and written together, where each copies one half of its bytes to the other.
double measure_copy(Isa isa, int threads, int64_t bytes, double seconds);

}  // namespace lissome
