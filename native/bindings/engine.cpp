// Bindings of the engine: building a Program, running it. Shapes come as plain integers, and the makers in
// core/conv_shape.h check them; nothing from Python reaches a kernel unchecked.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <list>
#include <optional>
#include <stdexcept>

#include "bindings/arrays.h"
#include "bindings/buffer.h"
#include "executor/program.h"
#include "executor/rules.h"

namespace nb = nanobind;

namespace lissome {
namespace {

std::vector<float> copy_of(const Floats& array) {
    return {array.data(), array.data() + array.size()};
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

void bind_builder(nb::module_& m) {
    using Weights = std::shared_ptr<const Packed>;
    nb::class_<Builder>(m, "Builder", "Collects the tensors and steps of a Program.")
        .def(nb::init<>())
        .def(
            "arena",
            [](Builder& b, int64_t elements, int64_t at, int64_t width) {
                const int tensor = b.add_tensor(Place::arena, elements, at);
                b.tensors.back().width = width;
                return tensor;
            },
            nb::arg("elements"), nb::arg("offset"), nb::arg("width") = 4,
            "A tensor in the arena, at a byte offset that 64 divides, of floats (width 4) or uint8 codes (1).")
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
