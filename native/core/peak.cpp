#include "core/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/arena.h"
#include "core/threads.h"

namespace lissome {

#define LISSOME_PEAK(isa)              \
    namespace isa {                    \
    extern const PeakLoops peak_loops; \
    extern const PeakBits peak_bits;   \
    extern const PeakDots peak_dots;   \
    }
LISSOME_PEAK(scalar)
#if LISSOME_HAVE_neon
LISSOME_PEAK(neon)
#endif
#if LISSOME_HAVE_avx2
LISSOME_PEAK(avx2)
LISSOME_PEAK(avx512)
#endif
#if LISSOME_HAVE_avx512_vnni
namespace avx512_vnni {
extern const PeakDots peak_dots;
}
#endif
#if LISSOME_HAVE_avx512_vpopcntdq
namespace avx512_vpopcntdq {
extern const PeakBits peak_bits;
}
#endif

namespace {

using Clock = std::chrono::steady_clock;
using Body = std::function<void(int64_t rounds, int thread)>;  // noexcept in fact

// The loops of an instruction set; what extends one takes its loops of numbers.
struct Loops {
    const PeakLoops* numbers;
    const PeakBits* bits;
    const PeakDots* codes;
};

Loops loops_of(Isa isa) {
    if (isa_runs(isa)) {
        switch (isa) {
#if LISSOME_HAVE_neon
            case Isa::neon:
                return {&neon::peak_loops, &neon::peak_bits, &neon::peak_dots};
#endif
#if LISSOME_HAVE_avx2
            case Isa::avx2:
                return {&avx2::peak_loops, &avx2::peak_bits, &avx2::peak_dots};
            case Isa::avx512:
                return {&avx512::peak_loops, &avx512::peak_bits, &avx512::peak_dots};
#endif
#if LISSOME_HAVE_avx512_vnni
            case Isa::avx512_vnni:
                return {&avx512::peak_loops, &avx512::peak_bits, &avx512_vnni::peak_dots};
#endif
#if LISSOME_HAVE_avx512_vpopcntdq
            case Isa::avx512_vpopcntdq:
                return {&avx512::peak_loops, &avx512_vpopcntdq::peak_bits, &avx512::peak_dots};
#endif
            case Isa::scalar:
                return {&scalar::peak_loops, &scalar::peak_bits, &scalar::peak_dots};
            default:
                break;
        }
    }
    throw std::invalid_argument(std::string("this build or processor lacks ") + isa_name(isa));
}

// Seconds from when the first of the threads began to when the last was done.
double trial(int threads, int64_t rounds, const Body& body) {
    std::atomic<int> waiting{threads};
    std::vector<Clock::time_point> begin(static_cast<std::size_t>(threads)), end(begin.size());
    const auto work = [&](int thread) {
        waiting.fetch_sub(1);
        while (waiting.load() > 0) {
            std::this_thread::yield();
        }
        const auto slot = static_cast<std::size_t>(thread);
        begin[slot] = Clock::now();
        body(rounds, thread);
        end[slot] = Clock::now();
    };
    std::vector<std::jthread> others;
    try {
        for (int thread = 1; thread < threads; ++thread) {
            others.emplace_back(work, thread);
        }
    } catch (...) {
        waiting.store(0);  // lets those that did start end
        throw;
    }
    work(0);
    others.clear();  // joins them
    const auto first = *std::min_element(begin.begin(), begin.end());
    const auto last = *std::max_element(end.begin(), end.end());
    return std::max(1e-9, std::chrono::duration<double>(last - first).count());
}

// Rounds per second of all threads together.
double best_rate(int threads, double seconds, const Body& body) {
    if (threads < 1 || threads > kMaxThreads || !(seconds >= 0.001 && seconds <= 60.0)) {
        throw std::invalid_argument("a peak is measured with 1 to " + std::to_string(kMaxThreads) +
                                    " threads for 0.001 to 60 seconds");
    }
    int64_t rounds = 1;
    while (trial(1, rounds, body) < 1e-3) {
        rounds *= 2;
    }
    const auto stop =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    double best = 0.0;
    for (int done = 0; done < 3 || Clock::now() < stop; ++done) {
        best = std::max(best, static_cast<double>(rounds) * threads / trial(threads, rounds, body));
    }
    return best;
}

// Zeros for each thread, in parts of whole rounds of a loop. Aligned: a load that straddles two lines counts twice.
struct Working {
    int64_t floats;  // of a part
    std::vector<std::unique_ptr<Arena>> data;

    Working(const PeakLoops& loops, int threads, int64_t bytes, int64_t parts) {
        if (bytes < 1024 || bytes > int64_t{4} << 30 || threads < 1 || threads > kMaxThreads) {
            throw std::invalid_argument("reading is measured over 1 KiB to 4 GiB a thread");
        }
        floats = bytes / (4 * parts) / loops.floats_per_round * loops.floats_per_round;
        if (floats == 0) {
            throw std::invalid_argument("a working set of that size holds no round of the loop");
        }
        const auto size = static_cast<std::size_t>(4 * parts * floats);
        for (int thread = 0; thread < threads; ++thread) {
            data.push_back(std::make_unique<Arena>(size));
            std::memset(data.back()->data(), 0, size);
        }
    }

    float* of(int thread) const { return reinterpret_cast<float*>(data[static_cast<std::size_t>(thread)]->data()); }
};

// A loop that reads nothing but `given`.
Body from_registers(void (*loop)(int64_t, float*), float given) {
    return [=](int64_t rounds, int) {
        float sink = given;
        loop(rounds, &sink);
        const volatile float kept = sink;
        static_cast<void>(kept);
    };
}

}  // namespace

double measure_multiply_adds(Isa isa, int threads, double seconds) {
    const PeakLoops& loops = *loops_of(isa).numbers;
    return best_rate(threads, seconds, from_registers(loops.multiply_add, 0.0f)) *
           static_cast<double>(loops.flops_per_round);
}

double measure_sign_products(Isa isa, int threads, double seconds) {
    const PeakBits& loops = *loops_of(isa).bits;
    return best_rate(threads, seconds, from_registers(loops.differing, 1.0f)) *
           static_cast<double>(loops.products_per_round);
}

double measure_code_products(Isa isa, int threads, double seconds) {
    const PeakDots& loops = *loops_of(isa).codes;
    return best_rate(threads, seconds, from_registers(loops.dots, 0.0f)) *
           static_cast<double>(loops.products_per_round);
}

double measure_read(Isa isa, int threads, int64_t bytes, double seconds) {
    const PeakLoops& loops = *loops_of(isa).numbers;
    const Working set(loops, threads, bytes, 1);
    const Body body = [&](int64_t rounds, int thread) {
        float sink = 0.0f;
        loops.read(set.of(thread), set.floats, rounds, &sink);
        const volatile float kept = sink;
        static_cast<void>(kept);
    };
    return best_rate(threads, seconds, body) * static_cast<double>(4 * set.floats);
}

double measure_copy(Isa isa, int threads, int64_t bytes, double seconds) {
    const PeakLoops& loops = *loops_of(isa).numbers;
    const Working set(loops, threads, bytes, 2);
    const Body body = [&](int64_t rounds, int thread) {
        float* from = set.of(thread);
        loops.copy(from, from + set.floats, set.floats, rounds);
    };
    return best_rate(threads, seconds, body) * static_cast<double>(2 * 4 * set.floats);
}

}  // namespace lissome
