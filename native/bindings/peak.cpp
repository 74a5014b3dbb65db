// Bindings of the machine's measured limits (core/peak.h).
#include "core/peak.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>

namespace nb = nanobind;

namespace lissome {
namespace {

Isa isa_of(const std::string& name) {
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::avx512_vpopcntdq}) {
        if (name == isa_name(isa)) {
            return isa;
        }
    }
    throw std::invalid_argument("unknown instruction set");
}

}  // namespace

void bind_peak(nb::module_& m) {
    m.def(
        "measure_multiply_adds",
        [](const std::string& isa, int threads, double seconds) {
            return measure_multiply_adds(isa_of(isa), threads, seconds);
        },
        nb::arg("isa"), nb::arg("threads"), nb::arg("seconds"), nb::call_guard<nb::gil_scoped_release>(),
        "Floating-point operations per second of `threads` threads from registers alone; a multiply-add counts 2.");
    m.def(
        "measure_sign_products",
        [](const std::string& isa, int threads, double seconds) {
            return measure_sign_products(isa_of(isa), threads, seconds);
        },
        nb::arg("isa"), nb::arg("threads"), nb::arg("seconds"), nb::call_guard<nb::gil_scoped_release>(),
        "Products of two signs per second, as xor and a count of bits, of `threads` threads from registers alone.");
    m.def(
        "measure_code_products",
        [](const std::string& isa, int threads, double seconds) {
            return measure_code_products(isa_of(isa), threads, seconds);
        },
        nb::arg("isa"), nb::arg("threads"), nb::arg("seconds"), nb::call_guard<nb::gil_scoped_release>(),
        "Products of a uint8 and an int8 code per second, summed, of `threads` threads from registers alone.");
    m.def(
        "measure_read",
        [](const std::string& isa, int threads, int64_t bytes, double seconds) {
            return measure_read(isa_of(isa), threads, bytes, seconds);
        },
        nb::arg("isa"), nb::arg("threads"), nb::arg("bytes"), nb::arg("seconds"),
        nb::call_guard<nb::gil_scoped_release>(),
        "Bytes per second that `threads` threads read together, each from `bytes` of its own.");
    m.def(
        "measure_copy",
        [](const std::string& isa, int threads, int64_t bytes, double seconds) {
            return measure_copy(isa_of(isa), threads, bytes, seconds);
        },
        nb::arg("isa"), nb::arg("threads"), nb::arg("bytes"), nb::arg("seconds"),
        nb::call_guard<nb::gil_scoped_release>(),
        "Bytes per second that `threads` threads read and write together, each copying half of its `bytes` to the "
        "other.");
}

}  // namespace lissome
