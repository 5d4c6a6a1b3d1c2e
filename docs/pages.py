"""What MkDocs reads: the repository's pages where they lie, and those that are made from it.

The flags come from the comments of `cfg/config.yaml`, the presets from their files, the library's
names from its `__all__` lists. Every page of `docs/` is in the menu without being listed.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs runs this file, not as a module of the project

import ckconv  # noqa: E402
from datasets import FILES  # noqa: E402
from program.words.page import PRESETS, Flag, flags, preset_names  # noqa: E402

PAGES = (
    "*.md",
    "docs/*.md",
    "weights/*.md",
    "experiments/*.md",
    "benchmarks/*.md",
    "ckernel_fitting/*.md",
)
GUIDES = ("start", "layer", "generators")  # the order of the first ones
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")  # to a file
HEADING = re.compile(r"^# (.*)", re.MULTILINE)


def on_config(config: Any) -> None:
    """Fill the lists of guides and of the library's modules in the menu."""
    made = {"Guides": guides(), "API": [{m: api_path(m)} for m in public_modules()]}
    for entry in config.nav:
        for title in entry.keys() & made.keys():
            entry[title] = made[title]


def on_files(files: Any, config: Any) -> Any:
    """Give MkDocs the pages of the repository, what they link to, and the generated ones."""
    from mkdocs.structure.files import File, Files

    theirs = [file for file in files if Path(file.abs_src_path or ".").parent != ROOT / "docs"]
    written = pages()
    found = Files(theirs)
    for path in [*written, *linked(written)]:
        name = path.relative_to(ROOT).as_posix()
        found.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name, text in generated().items():
        found.append(File.generated(config, name, content=text))
    return found


def pages() -> list[Path]:
    """The pages that are written by hand."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def linked(written: list[Path]) -> list[Path]:
    """The files that pages link to or show, pages themselves left out."""
    targets = {
        (path.parent / target).resolve()
        for path in written
        for target in LINK.findall(path.read_text())
    }
    return sorted(path for path in targets - set(written) if path.is_file())


def guides() -> list[dict[str, str]]:
    """The pages of `docs/` by their titles, in the order of `GUIDES`, the others behind."""
    paths = {path.stem: path for path in (ROOT / "docs").glob("*.md")}
    names = [*GUIDES, *sorted(paths.keys() - set(GUIDES))]
    titles = {name: HEADING.search(paths[name].read_text())[1] for name in names}
    return [{title: f"docs/{name}.md"} for name, title in titles.items()]


def generated() -> dict[str, str]:
    """The pages that are made here, by their places."""
    library = {api_path(name): api_page(module) for name, module in public_modules().items()}
    pages = {"flags": flags_page, "presets": presets_page, "data": data_page}
    return {**{f"docs/{name}.md": make() for name, make in pages.items()}, **library}


# ----- flags, presets, data sets ------------------------------------------------------------------


def flags_page() -> str:
    """Every flag with its default and its comment."""
    parts = [
        "# Flags\n\n`python run_experiment.py name.of.flag=value`. A preset is "
        "`+experiment=name`, and flags that are typed win over its own; `--help` prints all this.\n"
    ]
    for section, group in itertools.groupby(flags(), key=lambda flag: flag.name.partition(".")[0]):
        rows = list(group)
        if len(rows) > 1:
            parts.append(f"\n## {section}\n")
        parts.append("\n| flag | default | |\n| --- | --- | --- |\n" if len(rows) > 1 else "")
        parts += map(_flag_row if len(rows) > 1 else _single_flag, rows)
    return "".join(parts)


def _flag_row(flag: Flag) -> str:
    return f"| `{flag.name}` | `{flag.default}` | {_escaped(flag.meaning)} |\n"


def _single_flag(flag: Flag) -> str:
    return f"\n## {flag.name}\n\n`{flag.name}={flag.default}`: {_escaped(flag.meaning)}\n"


def presets_page() -> str:
    """Every preset with its first sentence, by the data set or study that its name begins with."""
    parts = ["# Presets\n\n`python run_experiment.py +experiment=name`; those that begin with "]
    parts.append("`crossres`: `python run_crossres.py +experiment=name`.\n")
    for group, names in itertools.groupby(preset_names(), key=lambda name: name.partition("_")[0]):
        parts.append(f"\n## {group}\n\n| preset | |\n| --- | --- |\n")
        parts += [f"| `{name}` | {_escaped(preset_purpose(name))} |\n" for name in names]
    return "".join(parts)


def preset_purpose(name: str) -> str:
    """The first sentence of the comment that a preset's file begins with."""
    lines = (PRESETS / f"{name}.yaml").read_text().splitlines()[1:]  # behind `# @package`
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return re.split(r"(?<=\.) ", " ".join(line[1:].strip() for line in comment))[0]


def data_page() -> str:
    """Every data set with what its file and its class say of it."""
    parts = [
        "# Data sets\n\n`dataset=` takes these names. `dataset_params.root` says where the files "
        "lie (default: `data/`). Those that may be are downloaded there when first used, and "
        "checked.\n"
    ]
    said: set[type] = set()
    for file in FILES:
        module = importlib.import_module(f"datasets.{file}")
        heading, _, rest = inspect.getdoc(module).partition("\n")
        parts.append(f"\n## {heading.rstrip('.')}\n{rest}\n")
        kinds: dict[type, list[str]] = {}
        for dataset in module.DATASETS:
            kinds.setdefault(type(dataset), []).append(f"`{dataset.name}`")
        for kind, names in kinds.items():
            text = "as above." if kind in said else inspect.getdoc(kind)
            parts.append(f"\n**{', '.join(names)}**: {text}\n")
        said |= kinds.keys()
    return "".join(parts)


def _escaped(text: str) -> str:
    return re.sub(r"([|*<>_\[\]])", r"\\\1", text)


# ----- the library --------------------------------------------------------------------------------


def public_modules() -> dict[str, ModuleType]:
    """The library's packages, and the modules that these hand out."""
    found = {"ckconv": ckconv}
    for entry in pkgutil.walk_packages(ckconv.__path__, "ckconv."):
        parent, _, name = entry.name.rpartition(".")
        above = importlib.import_module(parent)
        is_handed_out = name in above.__all__ and isinstance(getattr(above, name), ModuleType)
        if entry.ispkg or is_handed_out:
            found[entry.name] = importlib.import_module(entry.name)
    return found


def public_names(module: ModuleType) -> list[str]:
    """What a module hands out, other modules left out: its `__all__`, or what it defines."""
    if hasattr(module, "__all__"):
        return [n for n in module.__all__ if not isinstance(getattr(module, n), ModuleType)]
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    return [name for name in own if not name.startswith("_")]


def api_path(name: str) -> str:
    return f"docs/api/{name}.md"


def api_page(module: ModuleType) -> str:
    """A module's docstring, and what MkDocstrings makes of its names."""
    name = module.__name__
    text = inspect.getdoc(module) or ""
    names = "\n\n".join(f"::: {name}.{public}" for public in public_names(module))
    return f"# {name}\n\n{text}\n\n{names}\n"
