#include "core/threads.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lissome {
namespace {

constexpr int kChunksPerWorker = 4;  // so that a slow worker holds up a quarter of its share at most
// Looks before a helper goes to sleep and a caller lets others run: some tens of microseconds, more than the time
// between the phases of a small network, less than anyone would notice.
constexpr int kSpins = 2000;

// Ticket: round 32 bits, workers 10, end of the chunks that are left 11, first of them 11.
static_assert(kMaxThreads < 1024 && kMaxThreads * kChunksPerWorker < 2048);

constexpr uint64_t kOneFromTheEnd = uint64_t{1} << 11;

uint64_t make_ticket(uint64_t round, uint64_t workers, uint64_t chunks) {
    return round << 32 | workers << 22 | chunks << 11;
}
int64_t chunks_of(int64_t tasks, int64_t workers) {
    return std::min(tasks, workers * kChunksPerWorker);
}
uint64_t round_of(uint64_t ticket) {
    return ticket >> 32;
}
int workers_of(uint64_t ticket) {
    return static_cast<int>(ticket >> 22 & 1023);
}
int64_t end_of(uint64_t ticket) {
    return static_cast<int64_t>(ticket >> 11 & 2047);
}
int64_t first_of(uint64_t ticket) {
    return static_cast<int64_t>(ticket & 2047);
}

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

Crew& Crew::instance() {
    static Crew* const crew = new Crew;
    return *crew;
}

bool Crew::try_take() {
    return mutex_.try_lock();
}

void Crew::give_back() {
    mutex_.unlock();
}

int Crew::grow(int count) {
    if (process_ != getpid()) {  // a forked child has none of its parent's threads
        process_ = getpid();
        helpers_ = 0;
    }
    try {
        while (helpers_ < count) {
            std::thread(&Crew::help, this, helpers_ + 1).detach();
            ++helpers_;
        }
    } catch (const std::system_error&) {  // no more threads to be had: fewer will do
    }
    return helpers_;
}

bool Crew::claim(uint64_t seen, int worker) {
    if (first_of(seen) >= end_of(seen) || worker >= workers_of(seen)) {
        return false;
    }
    const bool from_the_end = worker % 2 != 0;
    const uint64_t left = from_the_end ? seen - kOneFromTheEnd : seen + 1;
    if (ticket_.compare_exchange_strong(seen, left, std::memory_order_acq_rel)) {
        const int64_t tasks = tasks_.load(std::memory_order_relaxed), chunks = chunks_of(tasks, workers_of(seen));
        const int64_t chunk = from_the_end ? end_of(left) : first_of(seen);
        work_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), tasks * chunk / chunks,
                                              tasks * (chunk + 1) / chunks, worker);
        done_.fetch_add(1, std::memory_order_release);
    }
    return true;
}

void Crew::help(int worker) {
    for (;;) {
        uint64_t seen = ticket_.load(std::memory_order_acquire);
        if (claim(seen, worker)) {
            continue;
        }
        int spins = 0;
        while (spins < kSpins && ticket_.load(std::memory_order_relaxed) == seen) {
            relax();
            ++spins;
        }
        if (spins == kSpins) {
            ticket_.wait(seen, std::memory_order_relaxed);
        }
    }
}

void Crew::run(int64_t tasks, int workers, Work work, const void* context) {
    const auto chunks = static_cast<uint64_t>(chunks_of(tasks, workers));
    tasks_.store(tasks, std::memory_order_relaxed);
    work_.store(work, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    const uint64_t round = round_of(ticket_.load(std::memory_order_relaxed)) + 1;
    ticket_.store(make_ticket(round, static_cast<uint64_t>(workers), chunks), std::memory_order_release);
    ticket_.notify_all();
    while (claim(ticket_.load(std::memory_order_acquire), 0)) {
    }
    for (int spins = 0; done_.load(std::memory_order_acquire) < chunks; ++spins) {
        if (spins < kSpins) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
}

CrewHold::CrewHold(int threads) {
    if (threads > 1 && Crew::instance().try_take()) {
        taken_ = true;
        available_ = 1 + Crew::instance().grow(threads - 1);
    }
}

CrewHold::~CrewHold() {
    if (taken_) {
        Crew::instance().give_back();
    }
}

void CrewHold::run(int64_t tasks, int workers, Work work, const void* context) {
    const int count = std::min(workers, available_);
    if (count > 1 && tasks > 1) {
        Crew::instance().run(tasks, count, work, context);
    } else if (tasks > 0) {
        work(context, 0, tasks, 0);
    }
}

}  // namespace lissome
