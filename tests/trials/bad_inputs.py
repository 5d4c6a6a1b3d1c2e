"""How the programs take inputs that are wrong: by one sentence each, never by a stack.

    python tests/trials/bad_inputs.py [--kind flag] [--every 5] [--out answers.tsv]

Each input is given to a process of its own. Some of them mean something after all and run.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import cfg  # noqa: E402, F401  # before torch

import argparse  # noqa: E402
import importlib  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Iterable, Sequence  # noqa: E402

import torch  # noqa: E402
from bad_cases import all_cases  # noqa: E402
from forked import RAN, SENTENCE, answer, warm_up  # noqa: E402
from small_runs import SMALL_NETWORK  # noqa: E402
from trial_case import COLLECT, CROSSRES, EXPERIMENT, PROFILER, Case  # noqa: E402

SHORT = [*SMALL_NETWORK, "conv.horizon=9", "train.epochs=1", "train.max_batches=1"]
PROGRAMS = (EXPERIMENT, CROSSRES, PROFILER)


def main_of(program: str) -> Callable[[], None]:
    """What a program's file runs, by its name."""
    main = importlib.import_module(program).main
    return (lambda: sys.exit(main())) if program == COLLECT else main


def typed(case: Case, run: Path) -> list[str]:
    """The command line of a case: flags of its own stand over those of a short run."""
    places = {"{run}": str(run), "{here}": str(run.parent)}
    places["{best}"] = f"pretrained_params.filepath={run / 'best.pt'}"
    arguments = case.arguments
    for name, path in places.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    own = {argument.split("=")[0] for argument in arguments}
    short = SHORT if case.program in PROGRAMS else []
    resumes = any(argument.startswith("train.resume=/") for argument in arguments)
    folder = [] if resumes else [f"hydra.run.dir={run.parent / 'new'}"]
    defaults = [*short, *(folder if short else [])]
    kept = [flag for flag in defaults if flag.split("=")[0] not in own]
    name = case.program.replace(".", "/") + ".py"
    return [name, *([] if resumes else kept), *arguments]


def answers(cases: Sequence[Case]) -> list[tuple[Case, str, str]]:
    """Every case with how it was answered, and what was said."""
    torch.set_num_threads(1)
    warm_up()
    found = []
    with tempfile.TemporaryDirectory() as place:
        finished = Path(place, "finished")
        flags = [*SHORT, f"hydra.run.dir={finished}"]
        kind, said = answer(main_of(EXPERIMENT), ["run_experiment.py", *flags], Path(place))
        assert kind == RAN, said
        for number, case in enumerate(cases):
            if number % 50 == 0:
                print(f"{number} of {len(cases)} inputs", flush=True)
            run = Path(place, str(number), "run")
            shutil.copytree(finished, run)
            case.prepare(run)
            main = main_of(case.program)
            kind, said = answer(main, typed(case, run), run.parent, case.environment)
            found.append((case, kind, said.replace(place, "")))
            if kind not in (SENTENCE, RAN):
                print(f"{kind}: {case}: {said}", flush=True)
            shutil.rmtree(run.parent)
    return found


def table(found: Iterable[tuple[Case, str, str]]) -> str:
    """How many inputs of each kind were answered how."""
    counts = Counter((case.kind, kind) for case, kind, _ in found)
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    ways = list(dict.fromkeys([SENTENCE, RAN, *(way for _, way in counts)]))
    rows = [["input", "number", *ways]]
    for name in [*kinds, "all"]:
        row = [sum(counts[k, way] for k in kinds if name in (k, "all")) for way in ways]
        rows.append([name, str(sum(row)), *map(str, row)])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", help="inputs of one kind alone")
    parser.add_argument("--every", type=int, default=1, help="every n-th input alone")
    parser.add_argument("--out", type=Path, help="write every input with its answer here")
    options = parser.parse_args()
    cases = [case for case in all_cases() if options.kind in (None, case.kind)][:: options.every]
    found = answers(cases)
    if options.out:
        lines = [f"{kind}\t{case}\t{said}" for case, kind, said in found]
        options.out.write_text("\n".join(" ".join(line.splitlines()) for line in lines) + "\n")
    print(table(found))
    return int(any(kind not in (SENTENCE, RAN) for _, kind, _ in found))


if __name__ == "__main__":
    sys.exit(main())
