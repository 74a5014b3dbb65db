#include "executor/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "binary/pack.h"
#include "conv/pack.h"
#include "core/threads.h"
#include "executor/rules.h"
#include "integer/pack.h"

namespace lissome {
namespace {

constexpr int64_t kMaxArena = int64_t{1} << 46;

void require(bool holds, const std::string& message) {
    if (!holds) {
        throw std::invalid_argument(message);
    }
}

bool same_filter(ConvShape a, ConvShape b) {
    a.n = b.n = 1;
    return std::memcmp(&a, &b, sizeof a) == 0;
}

void check_weights(const Step& step, const WeightExtents& wanted) {
    const Kernel& kernel = *step.kernel;
    if (kernel.form == Form::none) {
        require(!step.weights && step.bias.empty(), "this kernel takes no weights");
        return;
    }
    require(step.weights && step.weights->form == kernel.form, "weights are not packed for this kernel");
    const Packed& w = *step.weights;
    require(w.rows == wanted.rows && w.columns == wanted.columns, "weights have another shape than the node");
    require(kernel.panel == 0 || w.panel == kernel.panel, "panels are of another width");
    require(w.tile == kernel.tile, "filters were transformed for another tile");
    require(kernel.form != Form::winograd || w.conv.r == step.shape.conv.r, "filters of another extent");
    if (kernel.form == Form::blocks) {
        const ConvShape& conv = step.shape.conv;
        const int64_t floats = blocks_floats(conv, kernel.block_in, kernel.block_out, kernel.depthwise);
        require(static_cast<int64_t>(w.dense.size()) == floats &&
                    (kernel.depthwise || w.panel == step.shape.schedule.vectors),
                "weights were packed for other blocks");
    }
    if (kernel.form == Form::separable) {
        const ConvShape &before = step.shape.separable.depthwise, &conv = step.shape.conv;
        require(static_cast<int64_t>(w.dense.size()) == separable_floats(before, conv, kernel.block_in) &&
                    w.panel == step.shape.schedule.vectors,
                "weights were packed for other blocks");
    }
    if (kernel.form == Form::bits) {
        const ConvShape& shape = step.shape.conv;
        require(
            w.panel == step.shape.codes.vectors && same_filter(w.conv, shape) &&
                static_cast<int64_t>(w.bytes_of_filters.size()) == bit_bytes(shape, bits_form(kernel)) &&
                w.scale.size() == 2 * ((static_cast<size_t>(w.rows) + static_cast<size_t>(kernel.block_out) - 1) /
                                       static_cast<size_t>(kernel.block_out) * static_cast<size_t>(kernel.block_out)),
            "weights were packed for another layer");
    }
    if (kernel.form == Form::bytes) {
        const bool conv = kernel.op == Op::conv_codes;
        const ConvShape shape = conv ? step.shape.conv : linear_conv(wanted.rows, wanted.columns);
        require(w.panel == step.shape.codes.vectors && same_filter(w.conv, shape) &&
                    static_cast<int64_t>(w.bytes_of_filters.size()) == filter_bytes(shape, bytes_form(kernel)),
                "weights were packed for another layer");
        const size_t vector = static_cast<size_t>(kernel.block_out);
        require(w.offset.size() == (static_cast<size_t>(w.rows) + vector - 1) / vector * vector, "of other vectors");
    }
    require(kernel.form != Form::taps || same_filter(w.conv, step.shape.conv), "taps were packed for another input");
    require(step.bias.empty() || (wanted.bias && static_cast<int64_t>(step.bias.size()) == wanted.rows),
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
    for (Step& step : steps_) {
        check(step);
        if (!step.bias.empty()) {
            step.bias.resize((step.bias.size() + 15) / 16 * 16, 0.0f);
        }
        threads_ = std::max(threads_, step.workers);
        const int64_t bytes = step.kernel->workspace_bytes(step.shape, step.workers);
        require(bytes >= 0 && bytes < kMaxArena, "a workspace is below 2^46 bytes");
        workspace = std::max(workspace, bytes);
    }
    arena_bytes_ = workspace_at_ + workspace + static_cast<int64_t>(kAlignment);  // kernels on codes load whole vectors
    arenas_ = std::make_unique<ArenaPool>(static_cast<size_t>(arena_bytes_));
}

void Program::place_tensors() {
    for (const Tensor& t : tensors_) {
        require(t.width == 4 || (t.width == 1 && t.place == Place::arena), "only the arena holds codes");
        require(t.elements >= 1 && t.elements < kMaxArena / 4 && t.at >= 0 && t.at < kMaxArena,
                "a tensor is misplaced");
        if (t.part) {
            continue;  // within another, as Builder saw to
        }
        if (t.place == Place::arena) {
            const auto align = static_cast<int64_t>(kAlignment);
            require(t.at % align == 0, "a tensor in the arena is aligned");
            workspace_at_ = std::max(workspace_at_, (t.at + t.elements * t.width + align - 1) / align * align);
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
    const Rule& rule = rule_of(step.kernel->op);
    require(step.kernel->supports == nullptr || step.kernel->supports(step.shape), "this kernel cannot do this shape");
    const Operands wanted = rule.operands(step.shape, *step.kernel);
    const auto inputs = static_cast<int>(step.inputs.size()), outputs = static_cast<int>(step.outputs.size());
    require(inputs >= wanted.required && inputs <= wanted.inputs && outputs == wanted.outputs,
            "a step has as many tensors as its operator takes");
    for (int i = 0; i < inputs; ++i) {
        const Tensor& x = tensor(step.inputs[static_cast<size_t>(i)]);
        require(x.elements == wanted.in[i] && x.width == step.kernel->width_in,
                "a step reads a tensor of another size");
    }
    for (int i = 0; i < outputs; ++i) {
        const Tensor& y = tensor(step.outputs[static_cast<size_t>(i)]);
        require(y.elements == wanted.out[i] && y.width == step.kernel->width_out,
                "a step writes a tensor of another size");
        require(y.place == Place::arena || y.place == Place::output, "a step writes to the arena or an output");
    }
    check_weights(step, rule.weight(step.shape));
}

void Program::run(std::span<const float* const> inputs, std::span<float* const> outputs, double* seconds) const {
    require(inputs.size() == input_elements_.size() && outputs.size() == output_elements_.size(),
            "one pointer for every input and output");
    std::unique_ptr<Arena> arena = arenas_->take();
    const auto place = [&](int id) -> float* {
        const Tensor& t = tensors_[static_cast<size_t>(id)];
        switch (t.place) {
            case Place::input:  // never written: see check()
                return const_cast<float*>(inputs[static_cast<size_t>(t.at)]) + t.skip;
            case Place::output:
                return outputs[static_cast<size_t>(t.at)] + t.skip;
            case Place::constant:
                return const_cast<float*>(constants_[static_cast<size_t>(t.at)].data()) + t.skip;
            case Place::arena:
                break;
        }
        return reinterpret_cast<float*>(arena->data() + t.at + t.skip * t.width);
    };
    CrewHold crew(threads_);
    using Clock = std::chrono::steady_clock;
    auto before = seconds != nullptr ? Clock::now() : Clock::time_point{};
    for (size_t i = 0; i < steps_.size(); ++i) {
        const Step& step = steps_[i];
        Call call{};
        call.shape = &step.shape;
        for (size_t j = 0; j < step.inputs.size(); ++j) {
            call.in[j] = place(step.inputs[j]);
        }
        for (size_t j = 0; j < step.outputs.size(); ++j) {
            call.out[j] = place(step.outputs[j]);
        }
        call.weights = step.weights ? step.weights->view() : WeightView{};
        call.bias = step.bias.empty() ? nullptr : step.bias.data();
        call.activation = step.activation;
        call.workspace = arena->data() + workspace_at_;
        call.workers = step.workers;
        for (const Phase& phase : step.kernel->phases) {
            if (phase.run != nullptr) {
                const PhaseCall context{&phase, &call};
                crew.run(phase.tasks(step.shape, step.workers), step.workers, run_phase, &context);
            }
        }
        if (seconds != nullptr) {
            const auto now = Clock::now();
            seconds[i] += std::chrono::duration<double>(now - before).count();
            before = now;
        }
    }
    arenas_->give_back(std::move(arena));
}

}  // namespace lissome
