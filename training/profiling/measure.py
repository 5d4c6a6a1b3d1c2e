"""Where the time and the memory of a step go, by PyTorch's profiler.

Layers are marked with ranges while they are profiled, and bear no cost otherwise. What a range
did in the forward pass is known by its place inside it; the backward pass is told apart by the
sequence numbers that PyTorch gives to an operation and to the gradient function it leaves.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from ckconv.nn.sections import MARK, SECTIONS, label, named_sections
from program.files import complete

REST = "the rest"
STEP = "step"
BACKWARD = "autograd::engine::evaluate_function: "
PYTHON = "(between operations)"

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # it reports a missing GPU as an error


@dataclass
class Profile:
    """What was measured over `steps` steps. Times are sums over them, in microseconds."""

    steps: int = 0
    total: float = 0.0
    sections: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    operations: dict[str, list[float]] = field(default_factory=lambda: defaultdict(_nothing))
    seconds: list[float] = field(default_factory=list)  # per step, without the profiler
    peak_bytes: int = 0

    def shares(self) -> dict[str, float]:
        """The share of every section in the time of the steps; they add up to one."""
        shares = {
            section: sum(t for (s, _), t in self.sections.items() if s == section) / self.total
            for section in SECTIONS
        }
        return shares | {REST: 1 - sum(shares.values())}

    def layers(self) -> dict[str, dict[str, float]]:
        """Milliseconds per step of every layer, by section, forward and backward."""
        layers: dict[str, dict[str, float]] = {}
        for (section, layer), spent in self.sections.items():
            layers.setdefault(layer, dict.fromkeys(SECTIONS, 0.0))[section] = self.per_step(spent)
        return layers

    def costliest(self) -> list[tuple[str, int, float, float]]:
        """Operations by their own time: (name, calls, own, total), times in ms per step."""
        rows = [
            (name, round(calls / self.steps), self.per_step(own), self.per_step(total))
            for name, (calls, own, total) in self.operations.items()
        ]
        return sorted(rows, key=lambda row: -row[2])

    def per_step(self, spent: float) -> float:
        """Milliseconds per step."""
        return spent / self.steps / 1e3

    @property
    def seconds_per_step(self) -> float:
        """The median, without the profiler."""
        return statistics.median(self.seconds)


def _nothing() -> list[float]:
    return [0, 0.0, 0.0]  # calls, own time, total time


def measure(
    step: Callable[[], Any],
    model: nn.Module,
    steps: int,
    device: torch.device,
    trace: Path | None,
    done: Callable[[], Any] = lambda: None,
) -> Profile:
    """Time `steps` steps as they are, then profile as many; the last one's trace is written.

    `done` is called after each.
    """
    found = Profile(steps)
    for _ in range(steps):
        started = time.perf_counter()
        step()
        wait(device)
        found.seconds.append(time.perf_counter() - started)
        done()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    for index in range(steps):
        with marked(model), profile(activities=activities, acc_events=True) as profiler:
            with record_function(STEP):
                step()
            wait(device)
        add_step(found, list(profiler.events()), device.type == "cuda")
        done()
        if trace is not None and index == steps - 1:
            with complete(trace) as temporary:
                profiler.export_chrome_trace(str(temporary))
    return found


def wait(device: torch.device) -> None:
    """Let what was given to a GPU be done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ----- ranges -------------------------------------------------------------------------------------


@contextmanager
def marked(model: nn.Module) -> Iterator[None]:
    """Within the context, the layers' work is recorded as ranges."""
    with ExitStack() as stack:
        stack.enter_context(named_sections(model))
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d):
                stack.enter_context(_recorded(layer, label("convolution", name)))
        yield


@contextmanager
def _recorded(layer: nn.Module, text: str) -> Iterator[None]:
    """Record the calls of an ordinary layer as ranges."""
    ranges: list[record_function] = []

    def begin(*_: Any) -> None:
        ranges.append(record_function(text).__enter__())

    def end(*_: Any) -> None:
        ranges.pop().__exit__(None, None, None)

    first = layer.register_forward_pre_hook(begin)
    last = layer.register_forward_hook(end, always_call=True)
    try:
        yield
    finally:
        first.remove()
        last.remove()


# ----- events -------------------------------------------------------------------------------------


def add_step(found: Profile, events: list[FunctionEvent], on_gpu: bool) -> None:
    """Add the events of one step: on a CPU their durations, on a GPU those of their kernels."""
    amount = _device_time if on_gpu else _duration
    events = [event for event in events if event.device_type == DeviceType.CPU]
    step = next(event for event in events if event.name == STEP)
    inside = [event for event in events if step.time_range.start <= event.time_range.start]
    inside = [event for event in inside if event.time_range.end <= step.time_range.end]
    roots = [event for event in inside if event.cpu_parent is None] if on_gpu else [step]
    found.total += sum(map(amount, roots))
    owners = _owners_of_gradients(inside, step.thread)
    for event in inside:
        mark = _mark(event)
        if mark is not None:
            found.sections[mark] += amount(event)
            outer = _enclosing(event.cpu_parent)
            if outer is not None:
                found.sections[outer] -= amount(event)
        elif event.name.startswith(BACKWARD) and event.sequence_nr in owners:
            found.sections[owners[event.sequence_nr]] += amount(event)
        _add_operation(found, event, amount, mark)


def _duration(event: FunctionEvent) -> float:
    return event.time_range.elapsed_us()


def _device_time(event: FunctionEvent) -> float:
    return event.device_time_total


def _add_operation(
    found: Profile,
    event: FunctionEvent,
    amount: Callable[[FunctionEvent], float],
    mark: tuple[str, str] | None,
) -> None:
    own = amount(event) - sum(map(amount, event.cpu_children))
    is_range = mark is not None or event.name == STEP
    row = found.operations[PYTHON if is_range else event.name.removeprefix(BACKWARD)]
    row[0] += not event.name.startswith(BACKWARD)  # it stands around the function it evaluates
    row[1] += own
    row[2] += own if is_range or event.name.startswith(BACKWARD) else amount(event)


def _owners_of_gradients(events: list[FunctionEvent], thread: int) -> dict[int, tuple[str, str]]:
    """The range in which each gradient function was made, by sequence number.

    Operations that leave none show the number that the next one will take: the last one counts.
    """
    owners: dict[int, tuple[str, str] | None] = {}
    forward = [e for e in events if e.thread == thread and e.sequence_nr >= 0]
    for event in sorted(forward, key=lambda event: event.time_range.start):
        if not _is_backward(event):
            owners[event.sequence_nr] = _enclosing(event)
    return {number: mark for number, mark in owners.items() if mark is not None}


def _is_backward(event: FunctionEvent | None) -> bool:
    while event is not None:
        if event.name.startswith(BACKWARD):
            return True
        event = event.cpu_parent
    return False


def _enclosing(event: FunctionEvent | None) -> tuple[str, str] | None:
    """The innermost range that an event lies in."""
    while event is not None:
        mark = _mark(event)
        if mark is not None:
            return mark
        event = event.cpu_parent
    return None


def _mark(event: FunctionEvent) -> tuple[str, str] | None:
    """(section, layer) of a range."""
    if not event.name.startswith(MARK + "/"):
        return None
    _, section, layer = event.name.split("/", 2)
    return section, layer


# ----- memory -------------------------------------------------------------------------------------


def peak_memory(step: Callable[[], Any], device: torch.device) -> int:
    """The most bytes of tensors that exist at once during `step`, above those before it.

    On a CPU these are PyTorch's allocations, from the profiler; what a library takes for itself
    is not among them.
    """
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with warnings.catch_warnings():
        # Events that pile up are made objects one by one, minutes for a plain FFT's; see below.
        warnings.filterwarnings("ignore", "(?s).*Profiler clears events")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def state_bytes(*holders: Any) -> int:
    """Bytes of the parameters, buffers and optimizer states in `holders`, and of tensors."""
    storages: dict[int, int] = {}
    for holder in holders:
        for tensor in _tensors(holder):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _tensors(holder: Any) -> Iterator[Tensor]:
    if isinstance(holder, Tensor):
        yield holder
    elif isinstance(holder, nn.Module):
        yield from holder.parameters()
        yield from holder.buffers()
    else:
        for state in holder.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
