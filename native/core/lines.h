// Memory in whole cache lines, so that no vector lies across two; large pieces ask for huge pages, as reading on and on
// stops at the end of every page (measured: a matrix of 150 MB streams twice as fast).
#pragma once

#include <cstddef>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lissome {

constexpr size_t kHugePage = size_t{1} << 21;

constexpr std::align_val_t line_alignment(size_t bytes) {
    return std::align_val_t{bytes < kHugePage ? 64 : kHugePage};
}

inline void* allocate_lines(size_t bytes) {
    void* memory = ::operator new(bytes, line_alignment(bytes));
#if defined(__linux__)
    if (line_alignment(bytes) == std::align_val_t{kHugePage}) {
        madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: the result does not matter
    }
#endif
    return memory;
}

inline void free_lines(void* memory, size_t bytes) noexcept {
    ::operator delete(memory, line_alignment(bytes));
}

template <class T>
struct LineAllocator {
    using value_type = T;
    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) noexcept {}  // NOLINT: containers rebind allocators
    T* allocate(size_t count) { return static_cast<T*>(allocate_lines(count * sizeof(T))); }
    void deallocate(T* memory, size_t count) noexcept { free_lines(memory, count * sizeof(T)); }
    bool operator==(const LineAllocator&) const = default;
};

}  // namespace lissome
