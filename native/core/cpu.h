// Which instruction set this processor can run: decided once, at start, by asking it.
#pragma once

namespace lissome {

// avx512_vnni: avx512 with dot products of bytes; integer kernels have it beside avx512. avx512_vpopcntdq: with counts
// of bits; binary kernels have it.
enum class Isa : int { scalar = 0, neon = 1, avx2 = 2, avx512 = 3, avx512_vnni = 4, avx512_vpopcntdq = 5 };

// The widest instruction set, extensions apart, that this build contains and this processor and operating system run.
Isa best_isa() noexcept;

// Whether this processor and operating system run code compiled for `isa`.
bool isa_runs(Isa isa) noexcept;

// The name that error messages, plans and benchmarks use.
const char* isa_name(Isa isa) noexcept;

}  // namespace lissome
