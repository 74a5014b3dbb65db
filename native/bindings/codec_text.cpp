// Bindings of the text coder.
#include <nanobind/nanobind.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bindings/codec.h"
#include "codec/text.h"

namespace nb = nanobind;

namespace lissome {
namespace {

std::span<const std::uint8_t> view(const nb::bytes& bytes) {
    return {reinterpret_cast<const std::uint8_t*>(bytes.c_str()), bytes.size()};
}

template <class Work>
nb::bytes run(Work work) {
    std::vector<std::uint8_t> out;
    {
        nb::gil_scoped_release released;
        out = work();
    }
    return nb::bytes(out.data(), out.size());
}

}  // namespace

void bind_text(nb::module_& m) {
    m.def(
        "text_encode",
        [](const nb::bytes& data, const nb::bytes& prime) {
            return run([data = view(data), prime = view(prime)] { return text_encode(data, prime); });
        },
        nb::arg("data"), nb::arg("prime"),
        "The stream of a text (bytes), foreseen from `prime`, a text that the reader knows too.");
    m.def(
        "text_decode",
        [](const nb::bytes& data, const nb::bytes& prime, std::uint64_t max_bytes) {
            return run(
                [data = view(data), prime = view(prime), max_bytes] { return text_decode(data, prime, max_bytes); });
        },
        nb::arg("data"), nb::arg("prime"), nb::arg("max_bytes"),
        "The text of a stream, given the prime it was written with; FormatError for bytes that no writer makes, "
        "LimitError "
        "for a text of more than max_bytes.");
}

}  // namespace lissome
