#include "executor/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "core/threads.h"

namespace lissome {
namespace {

constexpr int64_t kMaxArena = int64_t{1} << 46;

void require(bool holds, const std::string& message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

// Elements that a step reads and writes by its shape: x, x2, y.
struct Extents {
    int64_t x, x2, y;
};

int64_t operand_extent(const ElementShape& e, const int64_t* stride) {
    int64_t last = 0;
    for (int64_t i = 0; i < e.rank; ++i) {
        require(stride[i] >= 0 && stride[i] < kMaxArena, "a stride is not negative");
        int64_t span = 0;
        require(!__builtin_mul_overflow(e.dim[i] - 1, stride[i], &span) && span < kMaxArena, "a stride is too large");
        last += span;
    }
    return last + 1;
}

Extents extents_of(const Step& step) {
    const ConvShape& c = step.shape.conv;
    const PoolShape& p = step.shape.pool;
    const GemmShape& g = step.shape.gemm;
    const ElementShape& e = step.shape.element;
    switch (step.kernel->op) {
        case Op::conv:
            return {c.n * c.c * c.h * c.w, 0, c.n * c.k * c.p * c.q};
        case Op::gemm:
            return {g.m * g.k, 0, g.m * g.n};
        case Op::pool:
            return {p.n * p.c * p.h * p.w, 0, p.n * p.c * p.p * p.q};
        case Op::binary:
            require(e.rank >= 1 && e.rank <= kMaxRank && e.count == checked_product(e.dim, e.rank),
                    "a binary operator has 1 to 8 axes");
            return {operand_extent(e, e.stride_a), operand_extent(e, e.stride_b), e.count};
        case Op::affine:
        case Op::softmax: {
            const int64_t dims[] = {e.outer, e.channels, e.inner};
            const int64_t count = checked_product(dims, 3);
            return {count, 0, count};
        }
        case Op::unary:
            break;
    }
    require(e.count >= 1 && e.count < kMaxArena, "a tensor is not empty");
    return {e.count, 0, e.count};
}

bool same_filter(ConvShape a, ConvShape b) {
    a.n = b.n = 1;
    return std::memcmp(&a, &b, sizeof a) == 0;
}

// Rows and columns of the weight that a step's shape asks for.
void check_weights(const Step& step) {
    const Kernel& kernel = *step.kernel;
    if (kernel.form == Form::none) {
        require(!step.weights && step.bias.empty(), "this kernel takes no weights");
        return;
    }
    require(step.weights && step.weights->form == kernel.form, "weights are not packed for this kernel");
    const Packed& w = *step.weights;
    const ConvShape& c = step.shape.conv;
    int64_t rows = 2, columns = step.shape.element.channels;
    if (kernel.op == Op::conv) {
        rows = c.k;
        columns = c.c / c.groups * c.r * c.s;
    } else if (kernel.op == Op::gemm) {
        rows = step.shape.gemm.n;
        columns = step.shape.gemm.k;
    }
    require(w.rows == rows && w.columns == columns, "weights have another shape than the node");
    require(kernel.form != Form::panels || w.panel == kernel.panel, "panels are of another width");
    require(kernel.form != Form::taps || same_filter(w.conv, c), "taps were packed for another input");
    require(step.bias.empty() || (kernel.op != Op::affine && static_cast<int64_t>(step.bias.size()) == rows),
            "a bias has one value an output");
}

struct PhaseCall {
    const Phase* phase;
    const Call* call;
};

void run_phase(const void* context, int64_t begin, int64_t end, int worker) {
    const auto* phase_call = static_cast<const PhaseCall*>(context);
    phase_call->phase->run(*phase_call->call, begin, end, worker);
}

}  // namespace

const Kernel& find_kernel(const std::string& name) {
    const KernelList list = all_kernels();
    for (int64_t i = 0; i < list.size; ++i) {
        if (name == list.data[i]->name) {
            require(isa_runs(list.data[i]->isa), "this processor cannot run kernel " + name);
            return *list.data[i];
        }
    }
    throw std::invalid_argument("no kernel is called " + name);
}

Program::Program(std::vector<Tensor> tensors, std::vector<std::vector<float>> constants, std::vector<Step> steps)
    : tensors_(std::move(tensors)), constants_(std::move(constants)), steps_(std::move(steps)) {
    place_tensors();
    int64_t workspace = 0;
    for (const Step& step : steps_) {
        check(step);
        threads_ = std::max(threads_, step.workers);
        const int64_t bytes = step.kernel->workspace_bytes(step.shape, step.workers);
        require(bytes >= 0 && bytes < kMaxArena, "a workspace is below 2^46 bytes");
        workspace = std::max(workspace, bytes);
    }
    arena_bytes_ = workspace_at_ + workspace;
    arenas_ = std::make_unique<ArenaPool>(static_cast<size_t>(arena_bytes_));
}

void Program::place_tensors() {
    for (const Tensor& t : tensors_) {
        require(t.elements >= 1 && t.elements < kMaxArena / 4 && t.at >= 0 && t.at < kMaxArena,
                "a tensor is misplaced");
        if (t.place == Place::arena) {
            require(t.at % static_cast<int64_t>(kAlignment) == 0, "a tensor in the arena is aligned");
            const auto align = static_cast<int64_t>(kAlignment);
            workspace_at_ = std::max(workspace_at_, (t.at + t.elements * 4 + align - 1) / align * align);
        } else if (t.place == Place::constant) {
            require(t.at < static_cast<int64_t>(constants_.size()) &&
                        static_cast<int64_t>(constants_[static_cast<size_t>(t.at)].size()) == t.elements,
                    "a constant has as many values as its tensor");
        } else {
            std::vector<int64_t>& list = t.place == Place::input ? input_elements_ : output_elements_;
            require(t.at == static_cast<int64_t>(list.size()), "inputs and outputs are numbered in order");
            list.push_back(t.elements);
        }
    }
}

const Tensor& Program::tensor(int id) const {
    require(id >= 0 && id < static_cast<int>(tensors_.size()), "a step names a tensor that does not exist");
    return tensors_[static_cast<size_t>(id)];
}

void Program::check(const Step& step) const {
    require(step.workers >= 1 && step.workers <= kMaxThreads, "a step has 1 to 256 workers");
    const Extents extents = extents_of(step);
    require(tensor(step.x).elements == extents.x, "a step reads a tensor of another size");
    require((step.kernel->op == Op::binary) == (step.x2 >= 0), "a binary operator has two operands, others one");
    require(step.x2 < 0 || tensor(step.x2).elements == extents.x2, "a step reads a tensor of another size");
    const Tensor& y = tensor(step.y);
    require(y.elements == extents.y, "a step writes a tensor of another size");
    require(y.place == Place::arena || y.place == Place::output, "a step writes to the arena or an output");
    check_weights(step);
}

void Program::run(std::span<const float* const> inputs, std::span<float* const> outputs, double* seconds) const {
    require(inputs.size() == input_elements_.size() && outputs.size() == output_elements_.size(),
            "one pointer for every input and output");
    std::unique_ptr<Arena> arena = arenas_->take();
    const auto place = [&](int id) -> float* {
        const Tensor& t = tensors_[static_cast<size_t>(id)];
        switch (t.place) {
            case Place::input:
                return const_cast<float*>(inputs[static_cast<size_t>(t.at)]);  // never written: see check()
            case Place::output:
                return outputs[static_cast<size_t>(t.at)];
            case Place::constant:
                return const_cast<float*>(constants_[static_cast<size_t>(t.at)].data());
            case Place::arena:
                break;
        }
        return reinterpret_cast<float*>(arena->data() + t.at);
    };
    CrewHold crew(threads_);
    auto before = std::chrono::steady_clock::now();
    for (size_t i = 0; i < steps_.size(); ++i) {
        const Step& step = steps_[i];
        const Call call{&step.shape,
                        place(step.x),
                        step.x2 >= 0 ? place(step.x2) : nullptr,
                        place(step.y),
                        step.weights ? step.weights->view() : WeightView{},
                        step.bias.empty() ? nullptr : step.bias.data(),
                        step.activation,
                        arena->data() + workspace_at_,
                        step.workers};
        for (const Phase& phase : step.kernel->phases) {
            if (phase.run != nullptr) {
                const PhaseCall context{&phase, &call};
                crew.run(phase.tasks(step.shape, step.workers), step.workers, run_phase, &context);
            }
        }
        if (seconds != nullptr) {
            const auto now = std::chrono::steady_clock::now();
            seconds[i] += std::chrono::duration<double>(now - before).count();
            before = now;
        }
    }
    arenas_->give_back(std::move(arena));
}

}  // namespace lissome
