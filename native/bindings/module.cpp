// The extension module lissome._native: each bindings/*.cpp adds its functions; no mathematics lives here.
#include <nanobind/nanobind.h>

#include "core/cpu.h"

namespace nb = nanobind;

namespace lissome {
void bind_codec(nb::module_& m);
void bind_engine(nb::module_& m);
void bind_packers(nb::module_& m);
void bind_peak(nb::module_& m);
void bind_text(nb::module_& m);
}  // namespace lissome

NB_MODULE(_native, m) {
    m.doc() = "Native part of lissome: entropy coders, kernels and the executor.";
    m.def(
        "best_isa", [] { return lissome::isa_name(lissome::best_isa()); },
        "Name of the widest instruction set that this build contains and this processor runs.");
    lissome::bind_codec(m);
    lissome::bind_packers(m);
    lissome::bind_engine(m);
    lissome::bind_peak(m);
    lissome::bind_text(m);
}
