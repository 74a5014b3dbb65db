#include "core/cpu.h"

namespace lissome {

Isa best_isa() noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("bmi2")) {
        return Isa::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
        return Isa::avx2;
    }
#elif defined(__aarch64__)
    return Isa::neon;
#endif
    return Isa::scalar;
}

bool isa_runs(Isa isa) noexcept {
#if defined(__x86_64__)
    if (isa == Isa::avx512_vnni) {
        return best_isa() == Isa::avx512 && __builtin_cpu_supports("avx512vnni");
    }
    if (isa == Isa::avx512_vpopcntdq) {
        return best_isa() == Isa::avx512 && __builtin_cpu_supports("avx512vpopcntdq");
    }
#endif
    const Isa best = best_isa();
    return isa == Isa::scalar || isa == best || (isa == Isa::avx2 && best == Isa::avx512);
}

const char* isa_name(Isa isa) noexcept {
    switch (isa) {
        case Isa::neon:
            return "neon";
        case Isa::avx2:
            return "avx2";
        case Isa::avx512:
            return "avx512";
        case Isa::avx512_vnni:
            return "avx512_vnni";
        case Isa::avx512_vpopcntdq:
            return "avx512_vpopcntdq";
        case Isa::scalar:
            break;
    }
    return "scalar";
}

}  // namespace lissome
