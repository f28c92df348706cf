"""How fast a small model trains on one core or one GPU, beside what a user would pick instead.

    python -m benchmarks.proxy_throughput                                   the reference shape on this CPU
    python -m benchmarks.proxy_throughput --shape regmix-1m --device cuda --json benchmarks/results/throughput.json
    python -m benchmarks.proxy_throughput --contenders mixopt --profile     where a step's time goes, by product

In every round each contender in turn trains for some seconds, in a process of its own with one thread, while all
others wait; so does a process that multiplies matrices, for the peak of this device. All figures are medians over
the rounds, ratios those of the ratio within a round. On a CPU seconds are CPU seconds, so that others may use the
machine. Model FLOPs are by formula, the same for all (proxies/flops.py).
Memory is what a process, or PyTorch on a GPU, held at its peak, beside what the formula of `formula_bytes` says.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain, cycle
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from joblib import cpu_count
from rich.console import Console
from rich.table import Table

from benchmarks.peers import CONTENDERS, Contender, Work
from proxies.allocator import keep_freed_memory
from proxies.device import Device, Precision, dtype_of, native_precision
from proxies.flops import training_flops_per_token
from proxies.models.size import ModelSize

# Model and rows per step.
SHAPES = {
    "reference": (ModelSize(2, 256, 4, 512, 4096, 256), 16),
    "d128": (ModelSize(2, 128, 2, 256, 4096, 256), 16),
    "d64": (ModelSize(2, 64, 1, 128, 4096, 256), 16),
    "regmix-1m": (ModelSize(2, 256, 8, 512, 50432, 2048), 1),
    "tiny": (ModelSize(2, 32, 2, 64, 256, 32), 4),
}
BATCHES = 8
WARM_UP_STEPS = 3
PRODUCT_SECONDS = 0.2
SQUARE = {"cpu": 2048, "cuda": 8192}
PROFILED_STEPS, PROFILED_ROWS = 10, 15

SPAWN = multiprocessing.get_context("spawn")


class Apart:
    """An object in a process of its own, made there by `make(*arguments)`."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._here, there = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(there, make, *arguments), daemon=True)
        self._process.start()
        there.close()
        self.answer()

    def ask(self, method: str, *arguments: Any) -> None:
        self._here.send((method, arguments))

    def answer(self) -> Any:
        try:
            return self._here.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a process ended with status {self._process.exitcode}, its words are above") from None

    def call(self, method: str, *arguments: Any) -> Any:
        self.ask(method, *arguments)
        return self.answer()

    def end(self) -> None:
        self._here.close()
        self._process.join()


def _serve(connection: Any, make: Callable[..., Any], *arguments: Any) -> None:
    torch.set_num_threads(1)
    made = make(*arguments)
    connection.send(None)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        connection.send(getattr(made, method)(*arguments))


class Training:
    """A contender at work."""

    def __init__(self, contender: Contender, work: Work, profiled: bool = False) -> None:
        if contender.keeps_memory:
            keep_freed_memory()
        if profiled:  # otherwise all that was compiled would be one entry of the profile
            from torch._inductor import config

            config.cpp.enable_kernel_profile = True
        self._work = contender.work(work)
        began = time.perf_counter()
        self._step = contender.build(self._work)
        self._batches = cycle(batches(self._work))
        self._take(1)
        self.first_step_seconds = time.perf_counter() - began
        self._take(WARM_UP_STEPS)

    def _take(self, steps: int) -> None:
        for _ in range(steps):
            self._step(*next(self._batches))
        synchronize(self._work.device)

    def tokens_per_second(self, seconds: float) -> float:
        per_step = seconds_per_call(lambda: self._step(*next(self._batches)), self._work.device, seconds)
        return self._work.step_tokens / per_step

    def costs(self) -> dict[str, float]:
        """From the first line of the contender's code to the end of its first step; bytes held at the peak."""
        return {"first_step_seconds": self.first_step_seconds, "memory_bytes": peak_bytes(self._work.device)}

    def profile(self) -> dict[str, list[dict[str, Any]]]:
        """The operators that take longest, with their share of all operators' own time, and each matrix product."""
        with torch.profiler.profile(record_shapes=True) as profiler:
            self._take(PROFILED_STEPS)
        return {"operators": self._longest(profiler), "products": self._products(profiler)}

    def _longest(self, profiler: torch.profiler.profile) -> list[dict[str, Any]]:
        on_gpu = self._work.device == "cuda"
        taken = {
            event: event.self_device_time_total if on_gpu else event.self_cpu_time_total  # microseconds
            for event in profiler.key_averages()
        }
        longest = sorted(taken, key=lambda event: taken[event], reverse=True)[:PROFILED_ROWS]
        return [
            {
                "operator": event.key,
                "share": taken[event] / sum(taken.values()),
                "ms_a_step": taken[event] / 1000 / PROFILED_STEPS,
                "calls_a_step": event.count / PROFILED_STEPS,
            }
            for event in longest
        ]

    def _products(self, profiler: torch.profiler.profile) -> list[dict[str, Any]]:
        """By the shapes that are multiplied, those that take longest first."""
        rows = []
        for event in profiler.key_averages(group_by_input_shape=True):
            if event.key not in ("aten::mm", "aten::bmm"):
                continue
            left, right = event.input_shapes[:2]
            microseconds = event.device_time_total if self._work.device == "cuda" else event.self_cpu_time_total
            rows.append(
                {
                    "product": f"{left} x {right}",
                    "calls_a_step": event.count / PROFILED_STEPS,
                    "ms_a_step": microseconds / 1000 / PROFILED_STEPS,
                    "flops_per_second": 2 * prod(left) * right[-1] * event.count / (microseconds / 1e6),
                }
            )
        return sorted(rows, key=lambda row: -row["ms_a_step"])


class MatrixProducts:
    """The products of the model's forward pass, that of the head's gradient, and a large square one."""

    def __init__(self, work: Work) -> None:
        size, tokens, square = work.size, work.step_tokens, SQUARE[work.device]
        width, hidden, vocabulary = size.width, size.feed_forward, size.vocabulary
        self._work = work
        self._shapes = [  # rows, summed over, columns
            (tokens, width, width),
            (tokens, width, hidden),
            (tokens, hidden, width),
            (tokens, width, vocabulary),
            (vocabulary, tokens, width),
            (square, square, square),
        ]

    def flops_per_second(self) -> dict[str, float]:
        """By shape."""
        return {" x ".join(map(str, shape)): self._measured(*shape) for shape in self._shapes}

    def _measured(self, rows: int, inner: int, columns: int) -> float:
        dtype, device = dtype_of(self._work.precision), self._work.device
        left = torch.ones(rows, inner, dtype=dtype, device=device)
        right = torch.ones(columns, inner, dtype=dtype, device=device)
        out = torch.empty(rows, columns, dtype=dtype, device=device)
        seconds = seconds_per_call(lambda: torch.mm(left, right.T, out=out), device, PRODUCT_SECONDS)
        return 2 * rows * inner * columns / seconds


def seconds_per_call(function: Callable[[], Any], device: Device, seconds: float) -> float:
    """The mean over as many calls as should take `seconds`, after two that tell how long one takes.

    On a CPU seconds of its one thread: what others do on a shared machine would make wall time another one's.
    """
    clock = time.perf_counter if device == "cuda" else time.process_time
    for _ in range(2):
        synchronize(device)
        began = clock()
        function()
        synchronize(device)
        expected = clock() - began
    calls = max(1, round(seconds / expected))
    began = clock()
    for _ in range(calls):
        function()
    synchronize(device)
    return (clock() - began) / calls


def synchronize(device: Device) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: Device) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def batches(work: Work) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets [M B, T] of random tokens, the same for all contenders of one model."""
    generator = torch.Generator().manual_seed(1)
    shape = (BATCHES, work.members * work.batch_rows, work.size.sequence_length + 1)
    tokens = torch.randint(work.size.vocabulary, shape, generator=generator).to(work.device)
    return [(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) for rows in tokens]


def formula_bytes(work: Work) -> int:
    """What training has to hold where nothing is computed twice: its state, what the backward pass needs, the logits.

    16 bytes a parameter (weight, gradient and two moments in float32). Of each layer, token by token in the
    precision of the computation: two normed inputs, query, key, value and what attention gives, the gate, its
    partner and their product. Of the logits, the scores in that precision and their log-probabilities in float32.
    """
    size, number = work.size, dtype_of(work.precision).itemsize
    activations = size.depth * (6 * size.width + 3 * size.feed_forward) * number
    logits = size.vocabulary * (number + 4)
    return work.members * 16 * size.total_parameters + work.step_tokens * (activations + logits)


def race(contenders: Sequence[Contender], work: Work, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Measured side by side; contenders whose package is not installed are listed as such."""
    present = [contender for contender in contenders if find_spec(contender.package)]
    processes = {
        contender.name: [Apart(Training, contender, work) for _ in range(contender.processes)] for contender in present
    }
    products = Apart(MatrixProducts, work)

    rates: dict[str, list[float]] = {contender.name: [] for contender in present}
    peaks: list[dict[str, float]] = []
    for played in range(rounds):
        peaks.append(products.call("flops_per_second"))
        order = list(processes.items())
        for name, group in order[played % len(order) :] + order[: played % len(order)]:  # none is always first
            for training in group:
                training.ask("tokens_per_second", seconds)
            rates[name].append(sum(training.answer() for training in group))
        print(f"\rround {played + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    product_rates = {shape: median(peak[shape] for peak in peaks) for shape in peaks[0]}
    peak = max(product_rates.values())
    rows: list[dict[str, Any]] = []
    for contender in contenders:
        if contender not in present:
            rows.append({"contender": contender.name, "missing": f"{contender.package} is not installed"})
            continue
        name, own_work = contender.name, contender.work(work)
        costs = [training.call("costs") for training in processes[name]]
        flops = median(rates[name]) * training_flops_per_token(own_work.size)
        rows.append(
            {
                "contender": name,
                "tokens_per_second": median(rates[name]),
                "tokens_per_second_by_round": rates[name],
                "model_flops_per_second": flops,
                "share_of_matrix_peak": flops / peak / contender.processes,
                "memory_bytes": max(cost["memory_bytes"] for cost in costs),
                "formula_bytes": formula_bytes(own_work),
                "first_step_seconds": costs[0]["first_step_seconds"],
                "times_as_fast_as": {other: ratio(rates[name], rates[other]) for other in rates if other != name},
            }
        )
    for process in (products, *chain.from_iterable(processes.values())):
        process.end()
    return {"matrix_products_flops_per_second": product_rates, "contenders": rows}


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    return median(a / b for a, b in zip(one, other, strict=True))


def shown(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    first = rows[0]["contender"]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("contender")
    headings = ("tokens/s", "least", "most", "GFLOP/s", "of the peak", "MB", "by formula", f"{first} is")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        if "missing" in row:
            table.add_row(row["contender"], row["missing"])
            continue
        rounds = row["tokens_per_second_by_round"]
        times = rows[0].get("times_as_fast_as", {}).get(row["contender"])
        table.add_row(
            row["contender"],
            *(f"{rate:,.0f}" for rate in (row["tokens_per_second"], min(rounds), max(rounds))),
            f"{row['model_flops_per_second'] / 1e9:,.1f}",
            f"{row['share_of_matrix_peak']:.0%}",
            *(f"{row[key] / 1e6:,.0f}" for key in ("memory_bytes", "formula_bytes")),
            f"{times:.2f} times as fast" if times else "",
        )
    return table


def profile(contender: Contender, work: Work) -> dict[str, list[dict[str, Any]]]:
    training = Apart(Training, contender, work, True)
    taken: dict[str, list[dict[str, Any]]] = training.call("profile")
    training.end()
    return taken


def products_shown(rows: Sequence[Mapping[str, Any]], peak: float) -> Table:
    table = Table(title="its matrix products", title_justify="left", box=None, pad_edge=False)
    table.add_column("shapes")
    for heading in ("ms a step", "calls a step", "GFLOP/s", "of the peak"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["product"],
            *(f"{row['ms_a_step']:.2f}", f"{row['calls_a_step']:g}"),
            *(f"{row['flops_per_second'] / 1e9:,.0f}", f"{row['flops_per_second'] / peak:.0%}"),
        )
    return table


def profile_shown(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("operator", max_width=70)
    for heading in ("share", "ms a step", "calls a step"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["operator"], f"{row['share']:.1%}", f"{row['ms_a_step']:.2f}", f"{row['calls_a_step']:g}")
    return table


def machine(device: Device) -> dict[str, Any]:
    versions: dict[str, str] = {}
    for package in ("torch", "transformers", "litgpt"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    processor = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if device == "cuda" else processor,
        "processor": processor,
        "cores": cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="reference")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), help="by default the fastest that the device has")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"of {', '.join(CONTENDERS)}; by default all that differ on this device; compared with the first",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="a contender's turn in a round")
    parser.add_argument("--profile", action="store_true", help="where the time goes, of the first contender")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here")

    size, batch_rows = SHAPES[options.shape]
    work = Work(size, batch_rows, options.precision or native_precision(options.device), options.device)
    fitting = [name for name, contender in CONTENDERS.items() if contender.only in (None, options.device)]
    contenders = [CONTENDERS[name] for name in options.contenders or fitting]
    document = machine(work.device) | {"shape": options.shape, "model": str(size), "precision": work.precision}
    document |= {"tokens_a_step": work.step_tokens, "rounds": options.rounds, "seconds_a_round": options.seconds}
    document |= race(contenders, work, rounds=options.rounds, seconds=options.seconds)

    console = Console(width=120)
    title = f"{options.shape}, {work.precision}, {work.step_tokens} tokens per step, {document['device']}"
    console.print(shown(document["contenders"], title))
    best = max(document["matrix_products_flops_per_second"].items(), key=lambda item: item[1])
    console.print(f"peak of a matrix product: {best[1] / 1e9:,.0f} GFLOP/s at {best[0]}")
    if options.profile:
        document["profile"] = profile(contenders[0], work)
        console.print(profile_shown(document["profile"]["operators"], f"a step of {contenders[0].name}"))
        console.print(products_shown(document["profile"]["products"], best[1]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
