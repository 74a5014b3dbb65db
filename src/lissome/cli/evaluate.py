"""lissome evaluate: accuracy, size and latency of a packed file, by the engine."""

from __future__ import annotations

from lissome import data
from lissome.cli.console import Data, DataName, Json, Packed, Threads, print_json, print_table
from lissome.evaluate import evaluate as measure


def evaluate(
    file: Packed, *, data_folder: Data = None, dataset: DataName = "mnist", threads: Threads = None, json: Json = False
) -> None:
    """Top-1 over the whole test split, bytes of the file, ratio to dense float32, and latency of one image."""
    found = measure(file, data.load(dataset, data_folder).test, threads=threads)
    if json:
        print_json({"file": str(file), "dataset": dataset, **found.to_plain()})
        return
    print_table(
        f"{file} on {dataset}, {found.images:,} test images, {found.threads} thread(s)",
        ("", "value"),
        [
            ("top-1", f"{found.top1:.2f} %"),
            ("file", f"{found.bytes:,} bytes"),
            ("dense float32", f"{found.dense_bytes:,} bytes"),
            ("ratio", f"{found.ratio:.1f}×"),
            ("latency, one image", f"{found.latency_us:.1f} µs"),
        ],
    )
