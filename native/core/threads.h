// A team of workers for the length of one run: OpenMP where the build has it, the calling thread alone otherwise.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

namespace lissome {

constexpr int kMaxThreads = 1024;

class Team {
  public:
    Team(int worker, int size) : worker_(worker), size_(size) {}

    int worker() const noexcept { return worker_; }
    int size() const noexcept { return size_; }

    // Returns once every worker of the team has called it as often.
    void wait() const noexcept {
        if (size_ > 1) {
#pragma omp barrier
        }
    }

  private:
    int worker_, size_;
};

// Calls body(team) once in each of at most `workers` threads; the system may give fewer, so work is split by the
// team's size. body must not throw.
template <class Body>
void run_team(int workers, const Body& body) {
#ifdef _OPENMP
    if (workers > 1) {
#pragma omp parallel num_threads(workers)
        body(Team(omp_get_thread_num(), omp_get_num_threads()));
        return;
    }
#endif
    body(Team(0, 1));
}

}  // namespace lissome
