"""lissome's methods beside those of kept-up tools, on the same trained networks, images and training.

    .venv-bench/bin/python bench/tools.py [--quick] [--data DIR] [--kept DIR] [--json PATH]

int8 after training, from the same 500 unlabelled images: NNCF as OpenVINO runs it, torchao (PT2E, x86 quantizer) as
torch simulates it, lissome as its engine runs the packed file on integers. Filters cut to half the multiply-adds:
Torch-Pruning's MagnitudePruner and `ls.shrink`, ranked over all layers by norms, as cut and after the same short
training. Single weights: torch.nn.utils.prune and prune.Magnitude. Accuracy on the 10,000 test images (1,000 with
--quick).

`make bench-env` installs the tools; one that is absent is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import lissome as ls
import trained as networks
from lissome import prune
from lissome.api import to_int8
from lissome.compress.apply import bake_
from lissome.files import write_atomic
from measured import Bench, top1

SHARED: Final = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
NETWORKS: Final = ("cifar-resnet-20", "lenet-5")
EPOCHS, LR = 0.3, 0.01
HALF, SPARSITY = 0.5, 0.6


@dataclass(frozen=True)
class Row:
    """One tool on one task of one network.

    cost: multiply-adds or non-zero weights that are left, in % of the original. top1: in %.
    """

    network: str
    task: str
    tool: str
    cost: float
    top1: float
    lost: float


def by_torch(model: Callable[[torch.Tensor], torch.Tensor], bench: Bench) -> float:
    """Top-1 in %, computed by torch."""
    count, right = 1_000 if bench.quick else len(bench.images.test), 0
    with torch.no_grad():
        for i in range(0, count, 100):
            found = model(bench.images.inputs(bench.images.test[i : i + 100])).argmax(1)
            right += int((found.numpy() == bench.images.test_labels[i : i + 100]).sum())
    return 100 * right / count


def lissome_int8(model: nn.Module, bench: Bench) -> float:
    """The packed file, run on integers."""
    net = to_int8(ls.freeze(model, example=bench.images.example), bench.calibration().numpy(), threads=1)
    with tempfile.TemporaryDirectory() as folder:
        ls.save(net, Path(folder) / "net.liss")
        return top1(str(Path(folder) / "net.liss"), bench, 1)[0]


def nncf_int8(model: nn.Module, bench: Bench) -> float:
    """NNCF's post-training quantization of the exported network, its defaults, as OpenVINO runs it."""
    nncf: Any = importlib.import_module("nncf")
    openvino: Any = importlib.import_module("openvino")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        ls.export_onnx(ls.freeze(model, example=bench.images.example), path)
        images = [part.numpy() for part in bench.calibration().split(1)]
        small = nncf.quantize(openvino.Core().read_model(path), nncf.Dataset(images), subset_size=len(images))
        run = openvino.compile_model(small, "CPU", {"INFERENCE_NUM_THREADS": 1})
        return by_torch(lambda x: torch.cat([torch.from_numpy(run(each.numpy())[0]) for each in x.split(1)]), bench)


def torchao_int8(model: nn.Module, bench: Bench) -> float:
    """The PT2E flow of torchao with its quantizer for x86: int8 weights by channel, uint8 activations by tensor."""
    flow: Any = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    x86: Any = importlib.import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(model, (bench.calibration()[:4],), dynamic_shapes=({0: batch},)).module()
    prepared = flow.prepare_pt2e(exported, quantizer)
    with torch.no_grad():
        for part in bench.calibration().split(50):
            prepared(part)
    return by_torch(flow.convert_pt2e(prepared), bench)


def lissome_filters(model: nn.Module, bench: Bench) -> nn.Module:
    """`ls.shrink`, by the filters' norms."""
    return ls.shrink(model, example=bench.images.example, macs=HALF, saliency="l2")


def torch_pruning_filters(model: nn.Module, bench: Bench) -> nn.Module:
    """Torch-Pruning's group norms over all layers, in steps until no more than half the multiply-adds are left."""
    tool: Any = importlib.import_module("torch_pruning")
    example, steps = bench.images.example, 100
    before, _ = tool.utils.count_ops_and_params(model, example)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    pruner = tool.pruner.MagnitudePruner(
        model,
        example,
        importance=tool.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=0.9,
        iterative_steps=steps,
        ignored_layers=last,
    )
    for _ in range(steps):
        pruner.step()
        if tool.utils.count_ops_and_params(model, example)[0] <= HALF * before:
            break
    return model


def macs_left(model: nn.Module, start: nn.Module, bench: Bench) -> float:
    """In % of the network before."""
    after, before = (ls.profile(ls.freeze(each, example=bench.images.example)).macs for each in (model, start))
    return 100 * after / before


def inner_convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """All but the first."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and name != "conv1"}


def weights_by_torch(model: nn.Module, bench: Bench) -> nn.Module:
    """torch.nn.utils.prune, layers ranked together."""
    del bench
    chosen = [(module, "weight") for module in inner_convolutions(model).values()]
    torch_prune.global_unstructured(chosen, torch_prune.L1Unstructured, amount=SPARSITY)
    for module, name in chosen:
        torch_prune.remove(module, name)
    return model


def weights_by_lissome(model: nn.Module, bench: Bench) -> nn.Module:
    """prune.Magnitude on the same."""
    del bench
    method = prune.Magnitude(sparsity=SPARSITY, scope="global")
    ls.compress_(model, ls.Recipe([("|".join(inner_convolutions(model)), [method])]))
    bake_(model)
    return model


def rows(network: str, start: nn.Module, bench: Bench) -> Iterator[Row]:
    """Every tool on every task; one that is absent is told and left out."""
    dense = by_torch(start, bench)
    tasks: dict[str, dict[str, Callable[[nn.Module, Bench], float | nn.Module]]] = {
        "int8 after training": {"lissome": lissome_int8, "nncf": nncf_int8, "torchao": torchao_int8},
        "filters, half the MACs": {"lissome": lissome_filters, "torch-pruning": torch_pruning_filters},
        "single weights, 60 %": {"lissome": weights_by_lissome, "torch.nn.utils.prune": weights_by_torch},
    }
    for task, tools in tasks.items():
        for tool, make in tools.items():
            try:
                made = make(copy.deepcopy(start), bench)
            except (ImportError, RuntimeError) as error:  # absent, or not up to this network
                print(f"{network}, {task}: {tool} is left out: {error}", file=sys.stderr)
                continue
            if not isinstance(made, nn.Module):
                yield Row(network, task, tool, 100.0, made, dense - made)
                continue
            made.eval()
            cost, found = macs_left(made, start, bench), by_torch(made, bench)
            if task.startswith("single"):
                convolutions = [module.weight for module in inner_convolutions(made).values()]
                cost = 100 * sum(int(w.count_nonzero()) for w in convolutions) / sum(w.numel() for w in convolutions)
            yield Row(network, task, tool, cost, found, dense - found)
            if task.startswith("filters"):
                bench.train(made, EPOCHS, LR)
                found = by_torch(made, bench)
                yield Row(network, f"{task}, {EPOCHS:g} epochs", tool, cost, found, dense - found)


def main() -> None:
    """Print the table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA") or SHARED))
    parser.add_argument("--kept", type=Path, default=Path("build/methods"), help="folder of starting points")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    print("| network | task | tool | left | top-1 | lost |\n|---|---|---|---:|---:|---:|")
    for network in NETWORKS:
        start = networks.STARTS[network]
        model = networks.starting_point(network, arguments.data, arguments.kept)
        bench = Bench(networks.load(start.images, arguments.data), start.ends, arguments.quick, arguments.kept)
        for row in rows(network, model, bench):
            found.append(row)
            numbers = f"{row.cost:.1f} % | {row.top1:.2f} % | {row.lost:+.2f}"
            print(f"| {row.network} | {row.task} | {row.tool} | {numbers} |", flush=True)
    if arguments.json:
        write_atomic(arguments.json, (json.dumps([asdict(row) for row in found], indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
