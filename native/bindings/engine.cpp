// Bindings of the engine: packing weights, building a Program, running it. Shapes come as plain integers, and the
// makers in core/conv_shape.h check them; nothing from Python reaches a kernel unchecked.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <list>
#include <optional>
#include <stdexcept>

#include "bindings/buffer.h"
#include "conv/pack.h"
#include "executor/program.h"
#include "executor/rules.h"
#include "gemm/pack.h"
#include "movement/pack.h"

namespace nb = nanobind;

namespace lissome {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Positions = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Extents16 = std::array<int64_t, 16>;

template <class Array>
auto span_of(const Array& array) {
    return std::span(array.data(), array.size());
}

std::vector<float> copy_of(const Floats& array) {
    return {array.data(), array.data() + array.size()};
}

SparseSource source(int64_t rows, int64_t columns, const Positions& positions, const std::optional<Floats>& values,
                    const std::optional<Codes>& codes, const std::optional<Floats>& table) {
    SparseSource source{rows, columns, span_of(positions), {}, {}, {}};
    if (values) {
        source.values = span_of(*values);
    }
    if (codes && table) {
        source.codes = span_of(*codes);
        source.table = span_of(*table);
    }
    return source;
}

// Collects tensors and steps; build() makes the Program, which checks them all.
struct Builder {
    std::vector<Tensor> tensors;
    std::vector<std::vector<float>> constants;
    std::vector<Step> steps;

    int add_tensor(Place place, int64_t elements, int64_t at) {
        tensors.push_back({place, elements, at});
        return static_cast<int>(tensors.size()) - 1;
    }

    int add_part(int whole, int64_t elements, int64_t skip) {
        if (whole < 0 || whole >= static_cast<int>(tensors.size())) {
            throw std::invalid_argument("a part belongs to a tensor that does not exist");
        }
        Tensor part = tensors[static_cast<size_t>(whole)];
        if (skip < 0 || skip > part.elements || elements < 1 || elements > part.elements - skip) {
            throw std::invalid_argument("a part lies within its tensor");
        }
        part.skip += skip;
        part.elements = elements;
        part.part = true;
        tensors.push_back(part);
        return static_cast<int>(tensors.size()) - 1;
    }
};

Activation activation(const std::tuple<std::string, float, float>& named) {
    constexpr std::pair<const char*, ActivationKind> kKinds[] = {{"none", ActivationKind::none},
                                                                 {"relu", ActivationKind::relu},
                                                                 {"clip", ActivationKind::clip},
                                                                 {"leaky_relu", ActivationKind::leaky_relu},
                                                                 {"hard_swish", ActivationKind::hard_swish}};
    const auto& [name, low, high] = named;
    for (const auto& [known, kind] : kKinds) {
        if (name == known) {
            return {kind, low, high};
        }
    }
    throw std::invalid_argument("no activation is called " + name);
}

void bind_packed(nb::module_& m) {
    nb::class_<Packed>(m, "Packed", "Weights packed for one kernel form; made by the pack_ functions.")
        .def_prop_ro("nbytes", &Packed::bytes, "Bytes that the packed weights occupy in memory.");
    m.def(
        "pack_rows",
        [](const Floats& weight, int64_t rows, int64_t columns) { return pack_rows(span_of(weight), rows, columns); },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), "A dense (rows, columns) weight, kept row-major.");
    m.def(
        "pack_panels",
        [](const Floats& weight, int64_t rows, int64_t columns, int64_t panel) {
            return pack_panels(span_of(weight), rows, columns, panel);
        },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), nb::arg("panel"),
        "A dense (rows, columns) weight in panels of `panel` rows.");
    m.def(
        "pack_filters",
        [](const Floats& weight, int64_t rows, int64_t columns, int64_t groups, int64_t panel) {
            return pack_filters(span_of(weight), rows, columns, groups, panel);
        },
        nb::arg("weight"), nb::arg("rows"), nb::arg("columns"), nb::arg("groups"), nb::arg("panel"),
        "A dense (rows, columns) weight, the rows of each group in panels of at most `panel`.");
    m.def(
        "pack_mec",
        [](const Floats& weight, const Extents16& conv, int64_t panel) {
            return pack_mec(span_of(weight), make_conv_shape(conv), panel);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("panel"),
        "The filters of this convolution as columns of (r, s, c), in panels of `panel`.");
    m.def(
        "pack_winograd",
        [](const Floats& weight, const Extents16& conv, int64_t tile, int64_t lanes) {
            return pack_winograd(span_of(weight), make_conv_shape(conv), tile, lanes);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("tile"), nb::arg("lanes"),
        "The filters of this convolution, transformed for tiles of tile x tile outputs.");
    m.def(
        "winograd_matrices",
        [](int64_t m, int64_t r, const std::vector<double>& points) {
            const WinogradMatrices found = winograd_matrices(m, r, points);
            return std::tuple(found.bt, found.g, found.at);
        },
        nb::arg("m"), nb::arg("r"), nb::arg("points") = std::vector<double>{},
        "B transposed, G and A transposed of F(m, r), row-major; of the kernels' points, or of these.");
    m.def(
        "pack_indices", [](const Positions& indices, int64_t extent) { return pack_indices(span_of(indices), extent); },
        nb::arg("indices"), nb::arg("extent"), "Indices below extent, or -1 for nothing.");
    m.def(
        "pack_weighted",
        [](const Positions& indices, const Floats& weights, int64_t taps, int64_t extent) {
            return pack_weighted(span_of(indices), span_of(weights), taps, extent);
        },
        nb::arg("indices"), nb::arg("weights"), nb::arg("taps"), nb::arg("extent"),
        "Indices below extent and their weights, (taps, made); an element is made of nothing where all taps are -1.");
    m.def(
        "pack_sell",
        [](int64_t rows, int64_t columns, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table) {
            return pack_sell(source(rows, columns, positions, values, codes, table));
        },
        nb::arg("rows"), nb::arg("columns"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), "A sparse (rows, columns) weight in interleaved slices of 16 rows.");
    m.def(
        "pack_taps",
        [](const Extents16& conv, const Positions& positions, const std::optional<Floats>& values,
           const std::optional<Codes>& codes, const std::optional<Floats>& table) {
            const ConvShape shape = make_conv_shape(conv);
            const int64_t columns = shape.c / shape.groups * shape.r * shape.s;
            return pack_taps(source(shape.k, columns, positions, values, codes, table), shape);
        },
        nb::arg("conv"), nb::arg("positions"), nb::arg("values").none(), nb::arg("codes").none(),
        nb::arg("table").none(), "A sparse filter bank as offsets into the padded input of this convolution.");
    m.def(
        "pack_blocks",
        [](const Floats& weight, const Extents16& conv, int64_t block, int64_t lanes, int64_t vectors, bool depthwise) {
            return pack_blocks(span_of(weight), make_conv_shape(conv), block, lanes, vectors, depthwise);
        },
        nb::arg("weight"), nb::arg("conv"), nb::arg("block"), nb::arg("lanes"), nb::arg("vectors"),
        nb::arg("depthwise"),
        "A dense filter bank in panels of `vectors` vectors of outputs, for inputs in blocks of `block` channels.");
}

void bind_builder(nb::module_& m) {
    using Weights = std::shared_ptr<const Packed>;
    nb::class_<Builder>(m, "Builder", "Collects the tensors and steps of a Program.")
        .def(nb::init<>())
        .def(
            "arena", [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::arena, elements, at); },
            nb::arg("elements"), nb::arg("offset"), "A tensor in the arena, at a byte offset that 64 divides.")
        .def(
            "input", [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::input, elements, at); },
            nb::arg("elements"), nb::arg("number"), "The number-th input.")
        .def(
            "output",
            [](Builder& b, int64_t elements, int64_t at) { return b.add_tensor(Place::output, elements, at); },
            nb::arg("elements"), nb::arg("number"), "The number-th output.")
        .def(
            "constant",
            [](Builder& b, const Floats& values) {
                b.constants.push_back(copy_of(values));
                return b.add_tensor(Place::constant, static_cast<int64_t>(values.size()),
                                    static_cast<int64_t>(b.constants.size()) - 1);
            },
            nb::arg("values"), "A tensor that every run reads and none writes.")
        .def("part", &Builder::add_part, nb::arg("whole"), nb::arg("elements"), nb::arg("skip"),
             "A run of another tensor's elements, under a number of its own.")
        .def(
            "step",
            [](Builder& b, const std::string& kernel, std::vector<int> inputs, std::vector<int> outputs,
               const std::vector<int64_t>& ints, const std::vector<float>& floats, Weights weights,
               const std::optional<Floats>& bias, const std::tuple<std::string, float, float>& activated) {
                Step step;
                step.kernel = &find_kernel(kernel);
                step.shape = rule_of(step.kernel->op).shape(ints, floats);
                step.inputs = std::move(inputs);
                step.outputs = std::move(outputs);
                step.weights = std::move(weights);
                step.bias = bias ? copy_of(*bias) : std::vector<float>{};
                step.activation = activation(activated);
                b.steps.push_back(std::move(step));
            },
            nb::arg("kernel"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("ints"),
            nb::arg("floats") = std::vector<float>{}, nb::arg("weights").none() = nb::none(),
            nb::arg("bias").none() = nb::none(),
            nb::arg("activation") = std::tuple<std::string, float, float>("none", 0.0f, 0.0f),
            "One kernel call. ints, floats: what the kernel's operator takes (executor/rules.cpp); activation: its "
            "name and "
            "two constants.")
        .def(
            "build",
            [](Builder& b, const std::vector<int>& workers) {
                if (workers.size() != b.steps.size()) {
                    throw std::invalid_argument("one number of workers for every step");
                }
                for (size_t i = 0; i < workers.size(); ++i) {
                    b.steps[i].workers = workers[i];
                }
                return std::make_shared<Program>(b.tensors, b.constants, b.steps);
            },
            nb::arg("workers"), "Checks everything and returns the Program; ValueError for what does not fit.");
}

// The arrays of a run, in the order of the tensors they are for.
template <class T>
class Arrays {
  public:
    Arrays(nb::handle arrays, const std::vector<int64_t>& wanted) {
        const nb::object items = nb::steal(PySequence_Fast(arrays.ptr(), "arrays come as a tuple or a list"));
        if (!items.is_valid()) {
            throw nb::python_error();
        }
        PyObject** each = PySequence_Fast_ITEMS(items.ptr());
        const auto count = static_cast<size_t>(PySequence_Fast_GET_SIZE(items.ptr()));
        for (size_t i = 0; i < count; ++i) {
            const Borrowed<T>& array = borrowed_.emplace_back(each[i]);
            if (i >= wanted.size() || static_cast<int64_t>(array.size()) != wanted[i]) {
                throw std::invalid_argument("an input or output array has another size than its tensor");
            }
            data_.push_back(array.data());
        }
    }
    const std::vector<T*>& data() const { return data_; }

  private:
    std::list<Borrowed<T>> borrowed_;
    std::vector<T*> data_;
};

void run_program(const Program& program, nb::handle inputs, nb::handle outputs, nb::handle seconds) {
    const Arrays<const float> from(inputs, program.input_elements());
    const Arrays<float> to(outputs, program.output_elements());
    std::optional<Borrowed<double>> times;
    if (!seconds.is_none() && times.emplace(seconds.ptr()).size() != program.steps()) {
        throw std::invalid_argument("one time for every step");
    }
    const nb::gil_scoped_release release;
    program.run(from.data(), to.data(), times ? times->data() : nullptr);
}

// Name, instruction set, panel width, channels in a block of input and output, whether it adds a residual.
using KernelRow = std::tuple<std::string, std::string, int64_t, int64_t, int64_t, bool>;

std::vector<KernelRow> kernels() {
    std::vector<KernelRow> rows;
    const KernelList list = all_kernels();
    for (int64_t i = 0; i < list.size; ++i) {
        if (isa_runs(list.data[i]->isa)) {
            const Kernel& k = *list.data[i];
            rows.emplace_back(k.name, isa_name(k.isa), k.panel, k.block_in, k.block_out, k.residual);
        }
    }
    return rows;
}

}  // namespace

void bind_engine(nb::module_& m) {
    bind_packed(m);
    bind_builder(m);
    nb::class_<Program>(m, "Program", "A network compiled for one batch size. Runs may overlap.")
        .def_prop_ro("arena_bytes", &Program::arena_bytes, "Bytes of activations and workspace of one run.")
        .def_prop_ro("steps", &Program::steps, "Number of kernel calls in a run.")
        .def("run", &run_program, nb::arg("inputs"), nb::arg("outputs"), nb::arg("seconds").none(),
             "Runs once without holding the GIL; adds each step's time to `seconds`. Tuples or lists of contiguous "
             "float32 arrays, each of as many elements as its tensor; float64 for seconds.");
    m.def("kernels", &kernels,
          "Of every kernel that this processor runs: name, instruction set, panel width, channels in a block of input "
          "and of "
          "output, whether it adds a residual.");
    m.def(
        "conv_extents",
        [](const Extents16& shape) {
            const ConvShape s = make_conv_shape(shape);
            return std::pair(s.p, s.q);
        },
        nb::arg("shape"), "Output height and width of a convolution.");
    m.def(
        "pool_extents",
        [](const Extents16& shape) {
            const PoolShape s = make_pool_shape(shape);
            return std::pair(s.p, s.q);
        },
        nb::arg("shape"), "Output height and width of a pooling.");
}

}  // namespace lissome
