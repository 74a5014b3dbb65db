"""Fuzz every decoder: libFuzzer with AddressSanitizer and UBSan on the native ones, atheris on the reader.

    python bench/fuzz.py [--quick] [--cases N] [--target NAME …] [--json PATH] [--resume]

Each target runs N cases (10 million; 20 000 with --quick) on top of the corpus that earlier runs left under build/fuzz.
With --resume the cases that PATH already tells of count too, so that a long run may be cut and continued. Native
targets need Clang with libFuzzer, the target `reader` atheris. Exit code 1 for any finding.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "fuzz"
READER = "reader"
FULL_CASES, QUICK_CASES = 10_000_000, 20_000
# A target runs in rounds, after each of which the results so far are written: a kill loses one round.
ROUND = 100_000
# libFuzzer's own guards: no case may take longer or make the process larger than this.
SECONDS_A_CASE, MEMORY_MB = 10, 2048
# Inputs of the native targets describe small tensors in few bytes (native/fuzz/coder_fuzz.h); the reader's are files.
MAX_LENGTH, MAX_FILE_LENGTH = 256, 4096
# ASan keeps freed memory aside to catch uses of it, at first 256 MB: more than fits a cache, less than a case frees.
SANITIZER = {"ASAN_OPTIONS": "quarantine_size_mb=8:malloc_context_size=8"}


@dataclass(frozen=True)
class Result:
    """One target's run. features: libFuzzer's count of distinct behaviours reached. finding: the last lines, or ""."""

    target: str
    cases: int
    seconds: float
    corpus_files: int
    features: int
    finding: str

    @property
    def cases_per_second(self) -> float:
        return self.cases / self.seconds if self.seconds else 0.0


def clang() -> str:
    """The newest clang++ that there is; leaves the program with a clear word when there is none."""
    names = ["clang++", *(f"clang++-{version}" for version in range(30, 10, -1))]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise SystemExit("bench/fuzz.py needs Clang with libFuzzer, which is not installed: apt install clang")
    return found


def build() -> Path:
    """Build all native targets and return their folder."""
    folder = WORK / "cmake"
    python = f"-DPython_EXECUTABLE={sys.executable}"
    options = [f"-DCMAKE_CXX_COMPILER={clang()}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DLISSOME_FUZZ=ON", python]
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *generator, *options], check=True, stdout=sys.stderr)
    names = [path.stem for path in native_sources()]
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2")
    command = ["cmake", "--build", str(folder), "-j", jobs, "--target", *names]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder / "fuzz"


def native_sources() -> list[Path]:
    """The sources of the native targets: native/fuzz/fuzz_NAME.cpp."""
    return sorted((ROOT / "native" / "fuzz").glob("fuzz_*.cpp"))


def targets() -> list[str]:
    """Names of all targets: one a native decoder, and the reader in Python."""
    return [path.stem.removeprefix("fuzz_") for path in native_sources()] + [READER]


def command_of(target: str, binaries: Path | None) -> list[str]:
    """What to run, before libFuzzer's options. Leaves the program when atheris is absent."""
    if target == READER:
        if importlib.util.find_spec("atheris") is None:
            raise SystemExit("the target `reader` needs atheris, which is not installed: pip install 'lissome[fuzz]'")
        return [sys.executable, str(ROOT / "tests" / "fuzz" / "fuzz_reader.py")]
    return [str((binaries or Path()) / f"fuzz_{target}")]


def seed_files(target: str) -> Iterator[bytes]:
    """What the corpus begins with: for the reader the golden files, taken apart as its harness does."""
    if target == READER:
        sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
        from mutate import seeds

        for path in sorted((ROOT / "tests" / "golden").glob("*.liss")):
            yield from seeds(path.read_bytes())


def run(sum_: Result, command: list[str], cases: int) -> Iterator[Result]:
    """Run one target round by round and yield the sum so far, until all cases ran or one was a finding."""
    while sum_.cases < cases and not sum_.finding:
        latest = run_round(sum_.target, command, min(ROUND, cases - sum_.cases))
        sum_ = replace(latest, cases=sum_.cases + latest.cases, seconds=sum_.seconds + latest.seconds)
        yield sum_


def run_round(target: str, command: list[str], cases: int) -> Result:
    """Run one target once; its corpus and its findings stay under build/fuzz/TARGET."""
    corpus, found = WORK / target / "corpus", WORK / target / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, data in enumerate(seed_files(target)):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [
        f"-runs={cases}",
        f"-timeout={SECONDS_A_CASE}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={MAX_FILE_LENGTH if target == READER else MAX_LENGTH}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-entropic=0",  # it costs a quarter of the time
    ]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, *options, str(corpus)], capture_output=True, text=True, check=False, env=os.environ | SANITIZER
    )
    seconds = time.perf_counter() - begin
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    features = re.findall(r"ft: (\d+)", done.stderr)
    failed = done.returncode != 0
    return Result(
        target,
        int(executed[1]) if executed else 0,
        seconds,
        len(list(corpus.iterdir())),
        int(features[-1]) if features else 0,
        "\n".join(done.stderr.splitlines()[-40:]) if failed else "",
    )


def table(results: list[Result]) -> str:
    """One line a target."""
    lines = [f"{'target':<10} {'cases':>12} {'cases/s':>9} {'seconds':>9} {'corpus':>7} {'features':>9}  found"]
    for r in results:
        found = r.finding.splitlines()[-1] if r.finding else "nothing"
        lines.append(
            f"{r.target:<10} {r.cases:>12,} {r.cases_per_second:>9,.0f} {r.seconds:>9,.0f} {r.corpus_files:>7,} "
            f"{r.features:>9,}  {found}"
        )
    return "\n".join(lines)


def earlier(path: Path | None) -> dict[str, Result]:
    """What a file of results tells of, by target; nothing where there is none."""
    if path is None or not path.exists():
        return {}
    names = [field.name for field in fields(Result)]
    return {t["target"]: Result(**{name: t[name] for name in names}) for t in json.loads(path.read_text())["targets"]}


def write(path: Path, results: list[Result]) -> None:
    """The results as JSON."""
    plain = [{**asdict(result), "cases_per_second": round(result.cases_per_second)} for result in results]
    path.write_text(json.dumps({"question": "do hostile bytes break a decoder?", "targets": plain}, indent=2) + "\n")


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CASES:,} cases a target")
    parser.add_argument("--cases", type=int, help=f"cases a target (default {FULL_CASES:,})")
    parser.add_argument("--target", action="append", choices=targets(), help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--resume", action="store_true", help="the cases that PATH tells of count too")
    chosen = parser.parse_args()
    cases = chosen.cases or (QUICK_CASES if chosen.quick else FULL_CASES)
    wanted = chosen.target or targets()
    binaries = build() if any(target != READER for target in wanted) else None
    results = earlier(chosen.json) if chosen.resume else {}
    print(table([]))
    for target in wanted:
        results.setdefault(target, Result(target, 0, 0.0, 0, 0, ""))
        for so_far in run(results[target], command_of(target, binaries), cases):
            results[target] = so_far
            if chosen.json:
                write(chosen.json, list(results.values()))
        print(table([results[target]]).splitlines()[-1], flush=True)
        if results[target].finding:
            print(results[target].finding, file=sys.stderr)
    sys.exit(any(result.finding for result in results.values()))


if __name__ == "__main__":
    main()
