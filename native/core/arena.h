// Memory for the activations of one run, and a pool of such arenas so that runs may overlap without allocating.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "core/lines.h"

namespace lissome {

constexpr size_t kAlignment = 64;

class Arena {
  public:
    explicit Arena(size_t bytes) : bytes_(bytes + kAlignment), data_(static_cast<std::byte*>(allocate_lines(bytes_))) {}
    ~Arena() { free_lines(data_, bytes_); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    std::byte* data() const noexcept { return data_; }

  private:
    size_t bytes_;
    std::byte* data_;
};

// As many arenas as runs were ever in progress at once; a run takes one and gives it back. Who would have to wait goes
// without: in a forked child the lock may be that of a thread which is no more.
class ArenaPool {
  public:
    explicit ArenaPool(size_t bytes) : bytes_(bytes) {}

    std::unique_ptr<Arena> take() {
        {
            const std::unique_lock lock(mutex_, std::try_to_lock);
            if (lock.owns_lock() && !idle_.empty()) {
                std::unique_ptr<Arena> arena = std::move(idle_.back());
                idle_.pop_back();
                return arena;
            }
        }
        return std::make_unique<Arena>(bytes_);
    }

    void give_back(std::unique_ptr<Arena> arena) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock.owns_lock()) {
            idle_.push_back(std::move(arena));
        }
    }

  private:
    size_t bytes_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Arena>> idle_;
};

}  // namespace lissome
