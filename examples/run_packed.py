"""Run a packed network where there is no torch: python examples/run_packed.py net.liss

Needs NumPy and nothing else. Prints what the file holds, what runs for each layer, and the result for random inputs.
"""

import sys

import numpy as np

import lissome as ls


def main(path: str) -> None:
    print(ls.inspect(path).table())
    engine = ls.compile(path)
    generator = np.random.default_rng(0)
    inputs = {
        spec.name: generator.random([4 if extent == "N" else extent for extent in spec.shape], dtype=np.float32)
        for spec in engine.inputs
    }
    for name, result in engine.run(inputs).items():
        print(f"{name}: {result.shape}, largest at {result.reshape(4, -1).argmax(axis=1).tolist()}")
    print(engine.explain())
    if "torch" in sys.modules:
        raise SystemExit("running a file must not need torch")


if __name__ == "__main__":
    main(sys.argv[1])
