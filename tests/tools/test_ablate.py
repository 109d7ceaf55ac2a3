"""Ablations: runs that are made once, what fails, and the section of docs/quality.md."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import ablate
import paired_runs
import pytest
import yaml
from hydra import compose, initialize_config_module

from unimodal.training import schema

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tools" / "ablations.yaml"
KNOWN = yaml.safe_load(FILE.read_text(encoding="utf-8"))
VARIANTS = ("--variant", "mean: task/pooling=mean", "--variant", "grid: task/pooling=adaptive_image")
TINY = "modality=image debug=fast logger=csv backbone.dim=32 backbone.depth=1 backbone.num_heads=2"


@pytest.fixture
def started(monkeypatch):
    """Runs that end at once: the names of those that were started; `grid` is better and takes longer."""
    names: list[str] = []

    def train(run):
        names.append(run.folder.name)
        run.folder.mkdir()
        better = "task/pooling=adaptive_image" in run.arguments
        accuracy = 0.9 + 0.02 * better + 0.01 * int(run.arguments[-1][-1])
        metrics = {"val/accuracy": accuracy, "val/num_samples": 366, "monitor": "val/accuracy"}
        metrics |= {"parameters": 1000, "seconds": 20.0 if better else 10.0}
        run.metrics.write_text(json.dumps(metrics))

    monkeypatch.setattr(paired_runs.Run, "_train", train)
    return names


@pytest.fixture
def call(tmp_path, capsys):
    """Run the tool on a page of its own; returns what it prints."""
    docs = tmp_path / "quality.md"
    docs.write_text("# Quality\n")

    def _call(*arguments, name="pools"):
        places = ("--output", str(tmp_path / "runs"), "--docs", str(docs))
        ablate.main([name, *arguments, *places])
        return capsys.readouterr().out

    return _call


def _plan(*arguments):
    options = ablate._options(arguments)
    return ablate.plan(ablate.ablation(options), options)


def test_all_variants_of_a_seed_are_made_before_the_next_seed(call, started):
    call(*VARIANTS, "--seeds", "3,1")
    assert started == ["mean-seed3", "grid-seed3", "mean-seed1", "grid-seed1"]


def test_the_bases_of_an_ablation_take_turns_within_a_seed(call, started):
    call(*VARIANTS, "--base", "small: modality=image", "--base", "large: modality=image", "--seeds=0,1")
    assert started[:4] == ["small-mean-seed0", "small-grid-seed0", "large-mean-seed0", "large-grid-seed0"]


def test_finished_runs_are_not_repeated_and_an_interrupted_one_starts_anew(call, started, tmp_path):
    first = call(*VARIANTS, "--seeds=0,1")
    runs = tmp_path / "runs"
    (runs / "grid-seed0" / "metrics.json").unlink()  # killed in the middle
    (runs / "grid-seed0" / "left").write_text("of the first attempt")
    shutil.rmtree(runs / "mean-seed1")
    started.clear()
    assert call(*VARIANTS, "--seeds=0,1") == first
    assert started == ["grid-seed0", "mean-seed1"]
    assert not (runs / "grid-seed0" / "left").exists()


def test_runs_of_other_settings_are_not_taken_for_those_of_the_table(call, started):
    call(*VARIANTS, "--seeds=0")
    with pytest.raises(SystemExit, match=r"mean-seed0 contains another run.*set another --output DIR"):
        call(*VARIANTS, "--seeds=0", "--set", "optimizer.lr=1e-3")


def test_a_folder_that_the_tool_did_not_make_is_not_removed(call, started, tmp_path):
    kept = tmp_path / "runs" / "mean-seed0" / "thesis.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("three years")
    with pytest.raises(SystemExit, match="contains another run"):
        call(*VARIANTS, "--seeds=0")
    assert kept.exists() and not started


def test_the_command_of_the_section_makes_the_same_runs_and_names_no_folder_of_the_user(
    call, started, tmp_path
):
    base = "modality=image data=folder data.path={data}"
    typed = (*VARIANTS, "--base", base, "--seeds=0,1", "--data", str(tmp_path), "--set", "optimizer.lr=1e-3")
    text = call(*typed)
    assert str(tmp_path) not in text
    [line] = [one.strip() for one in text.splitlines() if one.startswith("    python tools/ablate.py ")]
    again = ablate.shlex.split(line.replace("DIR", str(tmp_path)))[2:]
    assert {key: run.arguments for key, run in _plan(*again).items()} == {
        key: run.arguments for key, run in _plan("pools", *typed).items()
    }


def test_the_section_is_written_once_and_what_is_around_it_stays(call, started, tmp_path):
    docs = tmp_path / "quality.md"
    call(*VARIANTS, "--seeds=0,1")
    docs.write_text(docs.read_text() + "\nA later paragraph.\n")
    before = docs.read_text()
    assert "| seed 2 |" in call(*VARIANTS, "--seeds=0,1,2", "--print") and docs.read_text() == before
    call(*VARIANTS, "--seeds=0,1,2")
    after = docs.read_text()
    assert after.startswith("# Quality\n\n<!-- ablation: pools -->\n\n## pools\n")
    assert after.endswith("<!-- end -->\n\nA later paragraph.\n")
    assert before.count("<!-- ablation") == after.count("<!-- ablation") == 1
    assert "| seed 2 |" in after and "| seed 2 |" not in before


def test_a_section_without_an_end_is_refused_before_the_next_one_is_lost():
    page = "<!-- ablation: a -->\n## a\n\n<!-- ablation: b -->\n## b\n<!-- end -->\n"
    with pytest.raises(ValueError, match=r"section a .* add the line"):
        ablate.replaced(page, "a", "new\n")
    assert ablate.replaced(page, "b", "new\n").endswith("## a\n\nnew\n")


def test_a_metric_that_the_runs_lack_is_named_beside_those_they_have(call, started):
    with pytest.raises(SystemExit, match=r"no metric val/f1; set --metric to one of val/accuracy"):
        call(*VARIANTS, "--seeds=0", "--metric", "val/f1")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("--variant", "one: a=1"), "fewer than two variants"),
        ((*VARIANTS, "--variant", "a/b: a=1"), "choose another"),
        ((*VARIANTS, "--seeds=1,1"), "set --seeds"),
        ((*VARIANTS, "--metric", "test/accuracy"), "set val/"),
        ((*VARIANTS, "--metric", "text: val/loss"), "none of the bases"),
        ((*VARIANTS, "--base", "data.path={data}"), "set the folder with --data DIR"),
        ((), "pools is none of example, pooling, .* add --variant"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(call, started, typed, message):
    with pytest.raises(SystemExit, match=message):
        call(*typed)
    assert not started


def test_an_unknown_key_of_the_file_is_named(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("a: {variants: {b: c=1, d: c=2}, sedes: [1]}")
    with pytest.raises(ValueError, match=r"unknown keys .'sedes'."):
        ablate.ablation(ablate._options(["a", "--file", str(file)]))


@pytest.mark.parametrize("name", KNOWN)
def test_each_run_of_the_file_has_a_config(name, tmp_path):
    schema.register()
    for run in _plan(name, "--data", str(tmp_path), "--seeds=0").values():
        with initialize_config_module("unimodal.conf", version_base="1.3"):
            compose("train", overrides=run.arguments)


@pytest.mark.slow
def test_real_runs_give_a_section_and_one_that_fails_ends_with_the_last_lines_of_its_log(tmp_path):
    docs = tmp_path / "quality.md"
    docs.write_text("# Quality\n")
    command = [sys.executable, ROOT / "tools" / "ablate.py", "pools", "--seeds=0,1", "--base", TINY]
    command += ["--docs", docs, "--output", tmp_path / "runs", "--variant", "mean: task/pooling=mean"]
    wrong = subprocess.run([*command, "--variant", "grid: task/pooling=none"], capture_output=True, text=True)
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert "grid-seed0 failed, exit status 1; " in wrong.stderr and "task/pooling" in wrong.stderr
    assert (tmp_path / "runs" / "mean-seed0" / "metrics.json").exists()
    assert not (tmp_path / "runs" / "mean-seed1").exists() and docs.read_text() == "# Quality\n"
    finished = (tmp_path / "runs" / "mean-seed0" / "metrics.json").stat().st_mtime_ns
    good = subprocess.run(
        [*command, "--variant", "sum: task/pooling=attention"], capture_output=True, text=True
    )
    assert good.returncode == 0, good.stderr
    assert (tmp_path / "runs" / "mean-seed0" / "metrics.json").stat().st_mtime_ns == finished
    assert "\n| sum | `task/pooling=attention` | " in docs.read_text()
