"""What sharing one backbone costs or gives: joint, single and separate runs side by side, as markdown.

    python tools/joint_table.py [FOLDER] [KEY=VALUE ...]

Six runs one after the other, about 15 minutes on two quiet cores: `modality=all`; `modality=image`, text,
audio and video alone, as often over their data and each with its own settings; and `modality=all
share=none`, four backbones in the joint order. Overrides go to all of them. Runs that FOLDER
(runs/joint-table) has already are not repeated.
"""

import json
import subprocess
import sys
from pathlib import Path

SOURCES = {"image": "accuracy", "text": "bits_per_byte", "audio": "accuracy", "video": "accuracy"}
JOINT = {"joint": ("modality=all",), "separate": ("modality=all", "share=none")}
NATS = 0.6931  # a bit


def main() -> None:
    folder = Path(next((argument for argument in sys.argv[1:] if "=" not in argument), "runs/joint-table"))
    overrides = [argument for argument in sys.argv[1:] if "=" in argument]
    runs = JOINT | {name: (f"modality={name}",) for name in SOURCES}
    figures = {name: run(folder / name, [*settings, *overrides]) for name, settings in runs.items()}
    sys.stdout.write("\n".join(table(figures)) + "\n")


def run(output: Path, settings: list[str]) -> dict:
    """The figures of a run, which is made if it is not there."""
    if not (output / "metrics.json").exists():
        subprocess.run([sys.executable, "-m", "unimodal", "train", *settings, f"output={output}"], check=True)
    return json.loads((output / "metrics.json").read_text())


def table(figures: dict[str, dict]) -> list[str]:
    """One row a source, then parameters and time."""
    joint, separate = figures["joint"], figures["separate"]
    lines = [
        "| source | one backbone for all | a run of its own | four backbones, joint order |",
        "| --- | --- | --- | --- |",
    ]
    for source, metric in SOURCES.items():
        cells = [
            joint[f"val/{source}/{metric}"],
            figures[source][f"val/{metric}"],
            separate[f"val/{source}/{metric}"],
        ]
        lines.append(f"| {source} | " + " | ".join(shown(metric, value) for value in cells) + " |")
    alone = [figures[source] for source in SOURCES]
    sizes = [joint["parameters"], sum(one["parameters"] for one in alone), separate["parameters"]]
    seconds = [joint["seconds"], sum(one["seconds"] for one in alone), separate["seconds"]]
    lines.append("| parameters | " + " | ".join(f"{size:,}" for size in sizes) + " |")
    lines.append("| seconds | " + " | ".join(f"{one:,.0f}" for one in seconds) + " |")
    return lines


def shown(metric: str, value: float) -> str:
    """A percentage, or bits and nats a byte."""
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.3f} bits ({value * NATS:.3f} nats) a byte"


if __name__ == "__main__":
    main()
