"""Completion with the Tab key: a shell's function, and what it asks for.

Hydra's own would import the whole program at every key, seconds with PyTorch, and knows no values.
This one reads `cfg/` alone: `python -m program.words.completion WORD` prints what WORD may become,
a line each, and without a word the function for bash, or for zsh after `bashcompinit`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from program.words.page import flags, preset_names

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("run_experiment.py", "run_crossres.py", "run_profiler.py")
OTHERS = {  # Hydra's and the presets, beside the flags
    "+experiment": None,
    "hydra/launcher": ("joblib", "slurm", "submitit_local", "submitit_slurm"),
    "hydra/sweeper": ("basic", "flextcn", "optuna", "search"),
}
FUNCTION = """_flexconv_words() {{
    local line=${{COMP_LINE:0:COMP_POINT}} IFS=$'\\n'
    case $line in {patterns}) ;; *) return ;; esac
    local word=${{line##*[[:space:]]}}
    COMPREPLY=($(PYTHONPATH={root} {python} -m program.words.completion "$word"))
    if [[ $COMP_WORDBREAKS == *=* && $word == *=* ]]; then COMPREPLY=("${{COMPREPLY[@]#*=}}"); fi
}}
complete -o nospace -o default -F _flexconv_words python python3 {programs}"""


def shell_function() -> str:
    """What a shell evaluates to complete the flags of the programs, with or without `python`."""
    return FUNCTION.format(
        patterns="|".join(f"*{name}*" for name in PROGRAMS),
        programs=" ".join(PROGRAMS),
        root=shlex.quote(str(ROOT)),
        python=shlex.quote(sys.executable),
    )


def asked(arguments: Sequence[str]) -> str:
    """What Hydra's `-sc install=bash` and `-sc uninstall=bash` print, for zsh too; else nothing."""
    if len(arguments) != 2 or arguments[0] not in ("-sc", "--shell-completion"):
        return ""
    what, _, shell = arguments[1].partition("=")
    if shell not in ("bash", "zsh") or what not in ("install", "uninstall"):
        return ""
    programs = " ".join(("python", "python3", *PROGRAMS))
    return (
        shell_function()
        if what == "install"
        else f"complete -r {programs}; unset -f _flexconv_words"
    )


def candidates(word: str) -> list[str]:
    """What a word may become: groups and names of flags, and behind = their values."""
    known = {flag.name: flag.choices for flag in flags()} | OTHERS
    name, equals, value = word.partition("=")
    if equals:
        values = preset_names() if name == "+experiment" else known.get(name) or ()
        return [f"{name}={v}" for v in values if v.startswith(value)]
    group = word.rpartition(".")[0]
    depth = len(group) + 1 if group else 0
    found = []
    for flag in known:
        if flag.startswith(word):
            inner, dot, _ = flag[depth:].partition(".")
            found.append(flag[:depth] + inner + (dot or "="))
    options = [option for option in ("--help", "--multirun") if option.startswith(word or " ")]
    return [*dict.fromkeys(found), *options]


def main() -> None:
    """Print the candidates for a word, or the shell's function."""
    print("\n".join(candidates(sys.argv[1])) if len(sys.argv) > 1 else shell_function())


if __name__ == "__main__":
    main()
