"""Exported folders where unimodal is not: in an isolated process that cannot import it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unimodal.hub.portable.write import write_portable
from unimodal.tasks.generation import generate, greedy

pytestmark = pytest.mark.slow  # the process alone takes some ten seconds

SCRIPT = Path(__file__).with_name("clean_process.py")
EOS, NUM_NEW = 256, 4


@pytest.fixture(scope="module")
def seen(run, exported, kinds, own_run, tmp_path_factory):
    """What the process saw of each kind, and of a run with somebody's own tokenizer."""
    folders = {name: exported(name) for name in kinds} | {"own": tmp_path_factory.mktemp("own-export")}
    write_portable(folders["own"], own_run.trained)
    for name, folder in folders.items():
        one = own_run if name == "own" else run(name)
        asked = left_padded(one) if one.task.generates else {"inputs": one.inputs, "expected": one.expected}
        torch.save({"auto_class": one.auto_class, "real": None, **asked}, f"{folder}.pt")
    home = str(tmp_path_factory.mktemp("hf"))
    env = {**os.environ, "HF_HOME": home, "HF_MODULES_CACHE": home}
    command = [sys.executable, "-I", str(SCRIPT), *map(str, folders.values())]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, cwd=tmp_path_factory.mktemp("cwd")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: found[str(folder)] for name, folder in folders.items()}


@torch.no_grad()
def left_padded(run):
    """Prompts of 6, 4 and 3 tokens with padding before them, and the run's logits of each row alone."""
    inputs = prompts()
    real = inputs["attention_mask"].bool()
    expected = torch.zeros(*real.shape, run.task.head.out_features)
    for row, ids in enumerate(inputs["input_ids"]):
        tokens = run.task.model({"input_ids": ids[real[row]][None]}, causal=True)
        expected[row, real[row]] = run.task.head(tokens.embeds[0])
    return {"inputs": inputs, "expected": expected, "real": real}


def prompts():
    ids = torch.randint(256, (3, 6), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(6) >= torch.tensor([0, 2, 3])[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_logits_are_those_of_the_run(seen, kind):
    assert seen[kind]["difference"] <= 1e-5


def test_a_tokenizer_of_ones_own_came_along(seen):
    assert seen["own"]["difference"] <= 1e-5 and seen["own"]["again"] == 0


def test_the_code_comes_from_the_folder(seen, kind):
    assert seen[kind]["module"].startswith("transformers_modules.")


def test_no_weight_is_missing_or_left_over(seen, kind):
    assert seen[kind]["loads"] == []
    assert seen[kind]["bare_loads"] == []


def test_the_bare_model_gives_a_vector_of_each_sample(seen, kind):
    num_cells = {"audio_frame": 8, "video_conv": 8}.get(kind, 1)  # of AdaptivePooling, [2, 2, 2]
    assert seen[kind]["pooled"] == [3, 32 * num_cells]


def test_what_is_saved_again_loads_again(seen, kind):
    assert seen[kind]["again"] == 0


def test_bf16_is_for_weights_and_not_for_constants(seen, kind):
    assert seen[kind]["dtypes"] == ["torch.float32"]
    assert seen[kind]["half_dtypes"] == ["torch.bfloat16"]
    assert seen[kind]["half_buffers"] in ([], ["torch.float32"])
    assert 0 < seen[kind]["half"] < 0.05  # eight bits of mantissa, two blocks


@pytest.mark.parametrize("name", ["language", "language_tied", "language_registers", "language_window"])
def test_greedy_text_is_that_of_the_run(seen, run, name):
    task, inputs = run(name).task, prompts()
    for ids, mask, written in zip(*inputs.values(), seen[name]["generated"], strict=True):
        prompt = ids[mask.bool()][None]
        own = generate(task.model, task.head, prompt, NUM_NEW, EOS, greedy)[0, prompt.shape[1] :].tolist()
        assert own + [EOS] * (NUM_NEW - len(own)) == written  # a row that has ended is filled up
