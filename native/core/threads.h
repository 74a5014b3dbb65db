// Helper threads that share out the tasks of one run's phases.
//
// Why not an OpenMP team: its barriers wait for every thread of the team, and when one of them has lost its processor
// to another program, a run of microseconds takes as long as the scheduler's time slice (measured: 100 ms instead of
// 2 ms on a busy machine). Here a phase ends when its tasks are done, whoever does them: helpers that are asleep,
// descheduled, busy with another engine's run or lost in a fork are simply not waited for.
//
// Workers of even numbers take tasks from the first on, the others from the last back: of two, each finds in its own
// cache most of what it wrote in the phase before, where the tasks of both follow the same order in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace lissome {

constexpr int kMaxThreads = 256;

// Does tasks [begin, end) as worker `worker` of a run; worker numbers below the run's count are never shared.
using Work = void (*)(const void* context, int64_t begin, int64_t end, int worker);

// The process's helpers. One run at a time has them; another that wants them meanwhile works alone.
class Crew {
  public:
    // Never destroyed, so that helpers may sleep through the end of the process.
    static Crew& instance();

    bool try_take();
    void give_back();

    // Starts helpers until there are `count`; returns how many there are.
    int grow(int count);

    // Only for whoever has taken the crew: all of `tasks`, by the caller (worker 0) and at most workers − 1 helpers.
    void run(int64_t tasks, int workers, Work work, const void* context);

  private:
    Crew() = default;
    void help(int worker);
    bool claim(uint64_t seen, int worker);

    std::mutex mutex_;
    int helpers_ = 0;
    int64_t process_ = 0;

    // Round, worker limit, end and first of the chunks that are left in one word: claiming a chunk is one
    // compare-and-swap, which fails for anyone who looked at an earlier round. The rest of a round is fixed before its
    // ticket is published and stays until its last chunk is done, so whoever holds a chunk may read it.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    std::atomic<int64_t> tasks_{0};
    std::atomic<Work> work_{nullptr};
    std::atomic<const void*> context_{nullptr};
    alignas(64) std::atomic<uint32_t> done_{0};
};

// The crew for the length of one run, if it is free.
class CrewHold {
  public:
    explicit CrewHold(int threads);
    ~CrewHold();
    CrewHold(const CrewHold&) = delete;
    CrewHold& operator=(const CrewHold&) = delete;

    void run(int64_t tasks, int workers, Work work, const void* context);

  private:
    bool taken_ = false;
    int available_ = 1;
};

}  // namespace lissome
