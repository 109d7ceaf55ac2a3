"""Language models as stock ones: the same greedy text, the same perplexity, where there is no unimodal."""

import math

import pytest
import torch

pytestmark = pytest.mark.slow  # trains and exports five models

NAMES = ["text", "modern_text"]  # GPT-2, Qwen3


@pytest.mark.parametrize("name", NAMES)
def test_generate_writes_what_the_run_writes(trained, native, greedily, name):
    ours = greedily(trained(name))
    assert native[name]["texts"] == ours
    assert len(set(ours)) == len(ours) and all(len(text) > 20 for text in ours)


@pytest.mark.parametrize("name", NAMES)
def test_padding_on_the_left_and_the_pipeline_change_no_letter(trained, native, greedily, name):
    ours = greedily(trained(name))
    assert native[name]["together"] == ours
    assert native[name]["piped"] == ours


@pytest.mark.parametrize("name", NAMES)
def test_the_perplexity_of_the_held_out_part_is_the_runs(trained, native, windows, name):
    run, there = trained(name), native[name]
    num = sum(ids[:, 1:].numel() for ids in windows(run))
    assert math.exp(there["nats"] / num) == pytest.approx(run.figures["val/perplexity"], rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_held_out_token_has_the_same_likeliest_successor(trained, native, windows, name):
    task = trained(name).task
    for ids, there in zip(windows(trained(name)), native[name]["likeliest"], strict=True):
        assert torch.equal(task.outputs({"input_ids": ids[:, :-1]}).argmax(-1), there)


@pytest.mark.parametrize("name", NAMES)
def test_the_folders_tokenizer_cuts_every_held_out_text_alike(trained, job, exported, native, name):
    preprocess, texts = trained(name).preprocess, job(name, exported(name))["samples"]
    expected = [[preprocess.eos_id, *preprocess.encode(text).ids] for text in texts]
    assert native[name]["ids"] == expected and len(texts) > 5
