"""What a choice gains: variants trained with the same seeds, as one section of docs/quality.md.

    python tools/ablate.py NAME [--data DIR] [--seeds 0,1,2] [--set KEY=VALUE ...] [--jobs 1] [--print]

NAME is an ablation of tools/ablations.yaml, or a new one with its variants on the command line:

    python tools/ablate.py flowers --data photos --base "modality=image data=folder data.path={data}" \\
        --variant "mean: task/pooling=mean" --variant "adaptive: task/pooling=adaptive_image"

Each variant and seed is one `unimodal train` in a process of its own: seed 0 of all variants, then seed 1, so
that a machine that slows down slows all of them. Finished runs are not repeated, an interrupted one starts
anew. A run that fails ends the command, and the same command goes on from there.

    --base, --variant  "NAME: OVERRIDES", repeatable; a single base needs no name; the first variant is what
                       the others are compared with
    --metric           "BASE: METRIC" or METRIC, by default the one that chooses the best checkpoint
    --mode             min or max, which of two values is better, where the metric is not a known one
    --set              overrides of all runs
    --data             the folder in place of {data}
    --seeds            the same ones for each variant
    --threads, --jobs  CPU threads a run, and runs at a time
    --output           the folder of the runs, by default runs/ablations/NAME
    --print            print the section, and do not write it
"""

import argparse
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from paired_runs import ROOT, Run, make_all  # beside this file, as the next one
from paired_table import Variant, direction, table

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
END = "<!-- end -->"
Key = tuple[str, str, int]  # base, variant, seed


@dataclass(frozen=True)
class Ablation:
    """One choice.

    Attributes:
        name: of the section.
        variants: overrides by name; the others are compared with the first one.
        base: overrides of all variants, by name of the data; "" is the name of a single one.
        seeds: the same ones for each variant.
        claim: a sentence on what the table shows.
        metric: by name of the base, "" for all.
        mode: `min` or `max`.
    """

    name: str
    variants: Mapping[str, str]
    base: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    seeds: Sequence[int] = (0, 1, 2)
    claim: str = ""
    metric: Mapping[str, str] = field(default_factory=dict)
    mode: str = ""

    def __post_init__(self) -> None:
        for name in (self.name, *self.variants, *(self.base if len(self.base) > 1 else ())):
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name!r} is not of letters, digits, '_', '-' and '.'; choose another."
                )
        if len(self.variants) < 2:
            raise ValueError(f"{self.name} has fewer than two variants; add --variant 'NAME: OVERRIDES'.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} are not different numbers; set --seeds 0,1,2.")
        if unknown := self.metric.keys() - self.base.keys() - {""}:
            raise ValueError(
                f"metric has {sorted(unknown)}, which is none of the bases {list(self.base)}; mend it."
            )
        if tests := [one for one in self.metric.values() if one.startswith("test/")]:
            raise ValueError(
                f"metric={tests[0]} is of the test split, by which nothing is chosen; set val/...."
            )


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    try:
        one = ablation(options)
        runs = plan(one, options)
        text = section(one, runs, make_all(runs, options.jobs), command(options))
        if not options.print:
            options.docs.write_text(replaced(options.docs.read_text("utf-8"), one.name, text), "utf-8")
    except ValueError as error:
        raise SystemExit(f"ablate: {error}") from None
    sys.stdout.write(f"\n{text}")


def ablation(options: argparse.Namespace) -> Ablation:
    """The ablation of the file, if it has one of this name, with what the command line sets instead."""
    known = yaml.safe_load(options.file.read_text("utf-8")) or {}
    if options.name not in known and not options.variant:
        raise ValueError(
            f"{options.name} is none of {', '.join(known)}; choose one of these or add --variant."
        )
    node: dict[str, Any] = dict(known.get(options.name, {}))
    if unknown := node.keys() - {one.name for one in fields(Ablation)}:
        raise ValueError(
            f"{options.name} in {options.file} has the unknown keys {sorted(unknown)}; remove them."
        )
    for key, typed in (("base", options.base), ("variants", options.variant), ("metric", options.metric)):
        if typed:
            node[key] = dict(map(_named, typed))
        elif key in node:
            several = node[key] if isinstance(node[key], dict) else {"": node[key]}
            node[key] = {name: value or "" for name, value in several.items()}
    node |= {key: getattr(options, key) for key in ("seeds", "mode") if getattr(options, key)}
    return Ablation(**{"name": options.name, **node})


def plan(one: Ablation, options: argparse.Namespace) -> dict[Key, Run]:
    """The runs in their order: all variants of a seed before the next seed."""
    output = options.output or Path("runs", "ablations", one.name)
    keys = [(base, name, seed) for seed in one.seeds for base in one.base for name in one.variants]
    runs = {}
    for base, name, seed in keys:
        words = [*shlex.split(one.base[base]), *shlex.split(one.variants[name]), *options.set, f"seed={seed}"]
        if options.data is None and any("{data}" in word for word in words):
            raise ValueError(f"{one.name} has {{data}} in place of a folder; set the folder with --data DIR.")
        words = [word.replace("{data}", str(options.data)) for word in words]
        label = "-".join(filter(None, (base, name, f"seed{seed}")))
        runs[base, name, seed] = Run(output / label, words, options.threads, options.jobs)
    return runs


def section(
    one: Ablation, runs: Mapping[Key, Run], found: Mapping[Key, Mapping[str, Any]], typed: str
) -> str:
    """The section of docs/quality.md, with its markers."""
    parts = [f"<!-- ablation: {one.name} -->", f"## {one.name}", one.claim.strip(), f"    {typed}"]
    for base, overrides in one.base.items():
        rows = [
            Variant(name, own, [found[base, name, seed] for seed in one.seeds])
            for name, own in one.variants.items()
        ]
        first = rows[0].runs[0]
        metric = one.metric.get(base) or one.metric.get("") or first["monitor"]
        if metric not in first:
            raise ValueError(f"the runs have no metric {metric}; set --metric to one of {', '.join(first)}.")
        mode = one.mode or direction(metric)
        num = f" of {first['val/num_samples']:,} samples" if "val/num_samples" in first else ""
        better = "higher" if mode == "max" else "lower"
        parts.append(
            f"{base or 'All'}: `{overrides or 'unimodal train'}`; `{metric}`{num}, {better} is better; "
            f"{len(one.seeds)} paired seeds."
        )
        parts.append("\n".join(table(rows, metric, mode, one.seeds)))
    return "\n\n".join(filter(None, [*parts, conditions(runs.values())])) + f"\n{END}\n"


def conditions(runs: Iterable[Run]) -> str:
    """When and with which versions the runs were made; all of them where they differ."""
    records = [run.record() for run in runs]
    each = {key: " and ".join(sorted({str(record[key]) for record in records})) for key in records[0]}
    return (
        f"Written on {date.today()}: unimodal at {each['code']}, torch {each['torch']}, CPU threads a run: "
        f"{each['threads']}, runs at a time: {each['jobs']}."
    )


def replaced(page: str, name: str, text: str) -> str:
    """The page with the section in place of the one before, or at the end.

    Raises:
        ValueError: if the section before has no end.
    """
    before, marker, rest = page.partition(f"<!-- ablation: {name} -->\n")
    if not marker:
        return f"{page.rstrip()}\n\n{text}"
    old, end, after = rest.partition(f"{END}\n")
    if not end or "<!-- ablation:" in old:
        raise ValueError(f"the section {name} of the page does not end with a line {END}; add the line.")
    return before + text + after


def command(options: argparse.Namespace) -> str:
    """The command that makes the section again; a folder of the user's is DIR."""
    words = ["python", "tools/ablate.py", options.name]
    for option in ("base", "variant", "metric"):
        words += [word for value in getattr(options, option) for word in (f"--{option}", value)]
    words += ["--seeds", ",".join(map(str, options.seeds))] if options.seeds else []
    words += ["--mode", options.mode] if options.mode else []
    words += [f"--threads={options.threads}"] if options.threads > 1 else []
    words += [f"--jobs={options.jobs}"] if options.jobs > 1 else []
    words += ["--data", "DIR"] if options.data else []
    return shlex.join(words + (["--set", *options.set] if options.set else []))


def _named(text: str) -> tuple[str, str]:
    """The name and the rest of `NAME: REST`; without a name it is ""."""
    name, colon, rest = text.partition(":")
    has_name = NAME.fullmatch(name) and colon and (not rest or rest[0] == " ")
    return (name, rest.strip()) if has_name else ("", text)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    for option in ("--base", "--variant", "--metric"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("--set", nargs="+", action="extend", default=[])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--mode", choices=("min", "max"))
    parser.add_argument("--data", type=lambda text: Path(text).resolve())
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--print", action="store_true")
    parser.add_argument(
        "--file", type=Path, default=ROOT / "tools" / "ablations.yaml", help=argparse.SUPPRESS
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "quality.md", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
