"""The four runtimes that lissome is compared with, each behind one call: ndarray in, ndarray out.

`open_NAME(model, x, threads)` takes an ONNX file, an example of its one input, float32 (1, ...), and a number of
threads, and returns `run(x) -> y`. All compute in float32: where a runtime would go to bfloat16 or float16 by itself,
that is switched off. Each uses the quickest way that its Python package has for one image. ncnn and MNN do not read
ONNX: their converters write their own files beside the model, once.

Imported where they are used: a runtime that is absent or broken must not keep the others from running.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Run: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Open: TypeAlias = Callable[[Path, NDArray[np.float32], int], Run]


class ConversionError(RuntimeError):
    """A runtime's converter did not make its file from the ONNX model."""


def open_onnxruntime(model: Path, _x: NDArray[np.float32], threads: int) -> Run:
    """ONNX Runtime. Its threads stop spinning when a run ends, so that they take nothing from who runs next."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def open_openvino(model: Path, _x: NDArray[np.float32], threads: int) -> Run:
    """OpenVINO's CPU plugin, one stream, with its hint for latency."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    output = request.get_output_tensor(0)

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))  # half the time of infer([x]) on a LeNet
        request.infer()
        return output.data.copy()

    return run


def open_ncnn(model: Path, x: NDArray[np.float32], threads: int) -> Run:
    """ncnn, converted by pnnx, which reads ONNX too. ncnn has no batch axis: its input is x[0]."""
    import ncnn

    param, weights = model.with_suffix(".ncnn.param"), model.with_suffix(".ncnn.bin")
    if _older(param, model):
        _by_pnnx(model, x.shape, param, weights)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for precision in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{precision}", False)
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise ConversionError("ncnn cannot load the network that pnnx made")
    source, target = net.input_names()[0], net.output_names()[0]

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input(source, ncnn.Mat(x[0]))
        status, y = extractor.extract(target)
        if status:
            raise RuntimeError(f"ncnn stops with status {status}")
        return np.array(y, dtype=np.float32)[None]

    return run


def open_mnn(model: Path, _x: NDArray[np.float32], threads: int) -> Run:
    """MNN's session interface."""
    import MNN

    converted = model.with_suffix(".mnn")
    if _older(converted, model):
        # The converter's module itself: its command line installs a package and reports what it converted.
        arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", model.name, "--MNNModel", converted.name]
        code = f"import MNN, _tools; _tools.mnnconvert({[*arguments, '--bizCode', 'bench']!r})"
        _convert([sys.executable, "-c", code], converted)
    interpreter = MNN.Interpreter(str(converted))
    session = interpreter.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
    source, target = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    y = np.zeros(target.getShape(), np.float32)
    host = _mnn_tensor(MNN, y)

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        source.copyFrom(_mnn_tensor(MNN, x))
        interpreter.runSession(session)
        target.copyToHostTensor(host)
        return np.array(host.getNumpyData(), dtype=np.float32)

    return run


PEERS: Final[dict[str, Open]] = {
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "ncnn": open_ncnn,
    "mnn": open_mnn,
}


def _mnn_tensor(mnn: Any, array: NDArray[np.float32]) -> Any:
    return mnn.Tensor(array.shape, mnn.Halide_Type_Float, array, mnn.Tensor_DimensionType_Caffe)


def _older(made: Path, source: Path) -> bool:
    return not made.exists() or made.stat().st_mtime < source.stat().st_mtime


def _by_pnnx(model: Path, shape: tuple[int, ...], param: Path, weights: Path) -> None:
    """Pnnx names what it writes by its own rules, eight files beside the model: in a folder of their own."""
    extents = ",".join(map(str, shape))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.onnx").symlink_to(model)
        made = Path(folder) / "net.ncnn.param", Path(folder) / "net.ncnn.bin"
        pnnx = Path(sys.executable).with_name("pnnx")
        _convert([str(pnnx), "net.onnx", f"inputshape=[{extents}]", "fp16=0"], *made)
        shutil.move(made[1], weights)
        shutil.move(made[0], param)


def _convert(command: list[str], *wanted: Path) -> None:
    """Run a converter in the folder of the files that it is to write; ConversionError with its last words."""
    for path in wanted:
        path.unlink(missing_ok=True)
    done = subprocess.run(command, cwd=wanted[0].parent, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode or not all(path.exists() for path in wanted):
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConversionError(f"the converter ends with {done.returncode}: {' / '.join(words[-3:])}")
