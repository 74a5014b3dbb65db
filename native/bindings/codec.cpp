// Bindings of the entropy coders huffman and fast.
#include "bindings/codec.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include "codec/fast.h"
#include "codec/huffman.h"
#include "codec/small.h"

namespace nb = nanobind;

namespace lissome {
namespace {

template <class T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::device::cpu>;
using Codes = std::variant<Array<std::uint8_t>, Array<std::uint16_t>>;
using Shape = std::vector<std::uint64_t>;  // whose product does not overflow: native.py sees to it
using Spec = std::tuple<Shape, bool, std::uint32_t>;
using Item = std::tuple<Shape, bool, std::uint32_t, std::optional<Array<std::int64_t>>, Codes>;

std::uint64_t size_of(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
}

template <class T>
std::span<const T> view(const Array<T>& array) {
    return {array.data(), array.size()};
}

// The vector's memory becomes the array's.
template <class T>
nb::object to_numpy(std::vector<T>&& values) {
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    T* data = owned->data();
    const std::size_t size = owned->size();
    nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    owned.release();
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(data, {size}, owner));
}

nb::bytes encode_group(Encode encode, const std::vector<Item>& items) {
    std::vector<IndicesView> group;
    for (const auto& [shape, sparse, alphabet, positions, codes] : items) {
        IndicesView& indices = group.emplace_back();
        indices.spec = {size_of(shape), sparse, alphabet, shape};
        if (positions) {
            indices.positions = view(*positions);
        }
        std::visit([&](const auto& array) { indices.codes = view(array); }, codes);
    }
    std::vector<std::uint8_t> bytes;
    {
        nb::gil_scoped_release released;
        bytes = encode(group);
    }
    return nb::bytes(bytes.data(), bytes.size());
}

// `decode` as Decode, or a lambda like it.
template <class Decoder>
nb::list decode_group(Decoder decode, const Array<std::uint8_t>& data, const std::vector<Spec>& items,
                      std::uint64_t max_entries) {
    std::vector<IndexSpec> specs;
    for (const auto& [shape, sparse, alphabet] : items) {
        specs.push_back({size_of(shape), sparse, alphabet, shape});
    }
    std::vector<Indices> group;
    {
        const std::span<const std::uint8_t> bytes = view(data);
        nb::gil_scoped_release released;
        group = decode(bytes, specs, max_entries);
    }
    nb::list out;
    for (Indices& indices : group) {
        nb::object positions = indices.spec.sparse ? to_numpy(std::move(indices.positions)) : nb::none();
        nb::object codes = std::visit([](auto& held) { return to_numpy(std::move(held)); }, indices.codes);
        out.append(nb::make_tuple(positions, codes));
    }
    return out;
}

// Throws std::invalid_argument for a name that isa_name never gives, or that is wider than this processor has.
Isa isa_named(const std::string& name) {
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512}) {
        const bool runs = isa == Isa::scalar || isa == best_isa() || (isa == Isa::avx2 && best_isa() == Isa::avx512);
        if (name == isa_name(isa) && runs) {
            return isa;
        }
    }
    throw std::invalid_argument("this processor does not run '" + name + "'");
}

// Each native error as its namesake of lissome.errors.
void translate(const std::exception_ptr& error, void*) {
    const auto raise = [](const char* name, const std::exception& e) {
        PyErr_SetString(nb::module_::import_("lissome.errors").attr(name).ptr(), e.what());
    };
    try {
        std::rethrow_exception(error);
    } catch (const FormatError& e) {
        raise("FormatError", e);
    } catch (const LimitError& e) {
        raise("LimitError", e);
    } catch (const WeightError& e) {
        raise("WeightError", e);
    }
}

}  // namespace

void bind_coder(nb::module_& m, const char* name, Encode encode, Decode decode) {
    m.def((std::string(name) + "_encode").c_str(),
          [encode](const std::vector<Item>& group) { return encode_group(encode, group); },
          nb::arg("group").noconvert());
    m.def((std::string(name) + "_decode").c_str(),
          [decode](const Array<std::uint8_t>& data, const std::vector<Spec>& specs, std::uint64_t max_entries) {
              return decode_group(decode, data, specs, max_entries);
          },
          nb::arg("data"), nb::arg("specs"), nb::arg("max_entries"));
}

void bind_codec(nb::module_& m) {
    nb::register_exception_translator(translate);
    bind_coder(m, "fast", fast_encode, fast_decode);
    m.def(
        "fast_decode_with",
        [](const std::string& isa, const Array<std::uint8_t>& data, const std::vector<Spec>& specs,
           std::uint64_t max_entries) {
            const Isa with = isa_named(isa);
            const auto decode = [with](auto... args) { return fast_decode_with(with, args...); };
            return decode_group(decode, data, specs, max_entries);
        },
        nb::arg("isa"), nb::arg("data"), nb::arg("specs"), nb::arg("max_entries"),
        "fast_decode by one instruction set; ValueError where this build or processor lacks it.");
    m.def(
        "fast_decode_bytes",
        [](const Array<std::uint8_t>& data, const std::vector<Bytes>& arrays) {
            std::vector<Column> columns;
            for (const Bytes& array : arrays) {
                columns.push_back({array.data(), array.size(), array.stride(0)});
            }
            const std::span<const std::uint8_t> bytes = view(data);
            const nb::gil_scoped_release released;
            return fast_decode_bytes(bytes, columns);
        },
        nb::arg("data"), nb::arg("columns").noconvert(),
        "The next dense tensor of 256 codes, written to these writeable uint8 arrays one after another, whatever the "
        "distance of their elements. Returns how many bytes of data it takes.");
    bind_coder(m, "huffman", huffman_encode, huffman_decode);
    bind_coder(m, "small", small_encode, small_decode);
}

}  // namespace lissome
