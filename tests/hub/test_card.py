"""The model card: its header is valid, no text of a user can break it, and its code runs."""

import json
import math
import re
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    ViTConfig,
    ViTForImageClassification,
)

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub.card import OTHERWISE, Card, Verified, escaped, fenced, write_card
from unimodal.hub.processors import write_processors
from unimodal.hub.trained import Trained
from unimodal.hub.usage import usage
from unimodal.hub.usage_files import IMAGE_KINDS, KINDS, Reading

CARD = Card(
    title="Digits",
    modality="image",
    task="Classification",
    family="vit",
    class_name="AutoModelForImageClassification",
    parameters=812_345,
    backbone="classic block, dim 128, depth 4, 4 heads",
    data=("digits", "1,437 for training, 360 held out"),
    metrics={"accuracy": 0.975, "val/f1": 0.97},
    command="unimodal train modality=image",
    verified=Verified(1.234e-7, 64),
)
NASTY = [
    "quotes \" and ' and `code` and \"\" ''",
    "a | b || c",
    "one\ntwo\r\n\n---\nlibrary_name: evil\n---\n# three",
    "</table><script>alert(1)</script> <!-- & &amp;",
    "```\nend of fence\n```` ~~~",
    "[link](https://evil.example) ![image](x) *b* _i_ $$x$$ {{ jinja }} \\",
    "- item",
    "1. item: yes",
    "key: value # no comment",
    "\u202ename\x00\x1b[31m \ufeff \u2028",
    "@null",
    "",
]


ALWAYS = ("Use", "Files", "Results on held-out data", "Verification")
HEADINGS = ("Use", "Files", "Notes", "Training data", "Results on held-out data", "Training", "Verification")


def header(folder):
    card = ModelCard.load(folder / "README.md")
    assert ModelCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()
    return card


def rendered(text):
    """Backslashes of markdown undone."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text)


def outside_fences(text):
    """Lines of markdown that are no code."""
    lines, fence = [], ""
    for line in text.splitlines():
        opening = re.match("`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif opening:
            fence = opening[0]
        else:
            lines.append(line)
    assert not fence
    return lines


def test_the_header_says_what_the_hub_asks(tmp_path):
    write_card(tmp_path, CARD)
    data = header(tmp_path).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "image-classification")
    assert data.tags == ["unimodal", "image", "vit"]
    assert data.model_name == "Digits"
    results = {result.metric_type: result for result in data.eval_results}
    assert results["accuracy"].metric_value == 0.975 and results["accuracy"].dataset_name == "digits"
    assert results["val_f1"].metric_name == "val/f1" and results["val_f1"].task_type == data.pipeline_tag


def test_the_body_says_what_a_reader_asks(tmp_path):
    write_card(tmp_path, CARD)
    text = header(tmp_path).text
    assert "812,345 parameters, classic block, dim 128, depth 4, 4 heads" in text
    assert "| accuracy | 0.975 |" in text
    assert "- 1,437 for training, 360 held out" in text
    assert "unimodal train modality=image" in text
    versions = f"over 64 samples, transformers {transformers.__version__}, fp32"
    assert f"Largest difference to the run's outputs: 1.2e-07 {versions}." in text


def test_only_a_portable_folder_needs_its_code_to_be_trusted(tmp_path):
    write_card(tmp_path, CARD)
    assert "trust_remote_code" not in header(tmp_path).text
    write_card(tmp_path, replace(CARD, family=None))
    assert header(tmp_path).text.count("trust_remote_code=True") == 2
    assert "custom_code" in header(tmp_path).data.tags


def test_what_is_not_known_is_left_out(tmp_path):
    write_card(tmp_path, replace(CARD, metrics={}, command="", data=()))
    card = header(tmp_path)
    assert card.data.eval_results is None
    assert not any(heading in card.text for heading in ("## Results", "## Training", "## Notes"))


def test_metrics_that_are_no_numbers_stay_out_of_the_header(tmp_path):
    write_card(tmp_path, replace(CARD, metrics={"loss": math.nan, "accuracy": 1.0}))
    card = header(tmp_path)
    assert [result.metric_type for result in card.data.eval_results] == ["accuracy"]
    assert "| loss | nan |" in card.text


@pytest.mark.parametrize("text", NASTY)
def test_no_text_breaks_the_card(tmp_path, text):
    nasty = replace(
        CARD, title=text, data=(text, text), metrics={text: 0.5}, command=text, backbone=text, notes=(text,)
    )
    write_card(tmp_path, nasty)
    card = header(tmp_path)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert card.data.library_name == "transformers"
    (result,) = card.data.eval_results
    assert (result.metric_name or "", result.metric_value) == (line, 0.5)
    assert result.dataset_name == (line or "the training data")
    lines = outside_fences(card.text)
    assert [rendered(row) for row in lines if row.startswith("# ")] == [f"# {line or tmp_path.name}"]
    table = lines[lines.index("| --- | --- |") + 1]
    assert len(re.findall(r"(?<!\\)\|", table)) == 3 and line in rendered(table)
    headings = [row for row in lines if re.match("#|=+$|-+$", row)]
    assert headings[1:] == [f"## {name}" for name in HEADINGS if line or name in ALWAYS]
    assert not any(re.search(r"(?<!\\)[<`]", row) for row in lines)
    raw = yaml_index(tmp_path)
    assert model_index_to_eval_results(raw)[1][0].metric_value == 0.5


def yaml_index(folder):
    return ModelCard.load(folder / "README.md").data.to_dict()["model-index"]


@pytest.mark.parametrize("text", ["a`b", "``` x", "````\n# no heading\n````"])
def test_a_fence_is_longer_than_any_in_it(text):
    first, *body, last = fenced(text, "sh").splitlines()
    assert first == f"{last}sh" and set(last) == {"`"} and last not in "\n".join(body)


@pytest.mark.parametrize("text", ["- x", "1. x", "12) x", "= x", "-----"])
def test_no_line_becomes_a_list_or_a_rule(text):
    assert escaped(text) != text and rendered(escaped(text)) == text


SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
MEDIA = {"image_size": 16, "patch_size": 8}


def saved(folder, model, task, **tokenizers):
    model.save_pretrained(folder)
    nodes = {
        field: {"_target_": f"unimodal.tokenizers.{target}", "dim": 32} | knobs
        for field, (target, knobs) in tokenizers.items()
    }
    write_processors(folder, Trained({}, nodes, {"_target_": f"x.{task}"}, {}), portable=False)


def run(folder, monkeypatch, capsys, *args, reading=None):
    """What the code of a card prints, where its media lie."""
    monkeypatch.chdir(folder.parent)
    exec(usage(folder.name, *args, native=True, reading=reading or Reading()), {})
    return capsys.readouterr().out


def test_the_code_for_pictures_runs(tmp_path, monkeypatch, capsys):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.jpg")
    model = ViTForImageClassification(ViTConfig(**SIZES, **MEDIA, num_labels=3))
    saved(tmp_path / "it's", model, "Classification", image=("image.ImagePatchTokenizer", MEDIA))
    args = ("image", "Classification", "AutoModelForImageClassification")
    assert "LABEL_2" in run(tmp_path / "it's", monkeypatch, capsys, *args)


def test_the_code_for_clips_runs(tmp_path, monkeypatch, capsys):
    with av.open(str(tmp_path / "clip.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for i in range(7):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 30 * i, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    config = VideoMAEConfig(**SIZES, **MEDIA, num_frames=4, num_labels=3)
    saved(
        tmp_path / "model",
        VideoMAEForVideoClassification(config),
        "Classification",
        video=("video.VideoTubeletTokenizer", MEDIA | {"num_frames": 4}),
    )
    args = ("video", "Classification", "AutoModelForVideoClassification")
    assert "LABEL_2" in run(tmp_path / "model", monkeypatch, capsys, *args, reading=Reading(num_frames=4))


@pytest.mark.parametrize("task", ["Classification", "LanguageModeling"])
def test_the_code_for_texts_runs(tmp_path, monkeypatch, capsys, task):
    torch.manual_seed(0)
    sizes = {
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "vocab_size": 257,
        "pad_token_id": 256,
        "eos_token_id": 256,
    }
    writes = task == "LanguageModeling"
    config = GPT2Config(**sizes, bos_token_id=256, num_labels=3)
    model = (GPT2LMHeadModel if writes else GPT2ForSequenceClassification)(config)
    vocabulary = byte_vocabulary(None)
    saved(tmp_path / "model", model, task, text=("text.TextTokenizer", {"vocabulary": vocabulary}))
    name = "AutoModelForCausalLM" if writes else "AutoModelForSequenceClassification"
    said = run(tmp_path / "model", monkeypatch, capsys, "text", task, name)
    assert ("generated_text" in said) == writes and ("LABEL" in said) != writes


def test_the_code_for_sounds_is_python():
    compile(
        usage("a", "audio", "Classification", "AutoModelForAudioClassification", native=False), "card", "exec"
    )


@pytest.mark.parametrize("modality", ["audio", "video", "image", "text"])
def test_only_pipelines_of_features_that_transformers_has_are_named(modality):
    lines = usage("a", modality, "MaskedModeling", "AutoModel", native=False)
    compile(lines, "card", "exec")
    assert ("pipeline(" in lines) == (modality in ("image", "text"))


def test_a_model_without_its_head_is_not_asked_for_what_the_head_gives(tmp_path):
    card = replace(CARD, modality="text", task="LanguageModeling", family="gpt2", class_name="GPT2Model")
    assert "generate" in card.blocks[0]
    [lines] = replace(card, with_head=False).blocks
    assert "generate" not in lines and "pipeline('feature-extraction'" in lines
    write_card(tmp_path, replace(card, with_head=False))
    assert header(tmp_path).data.pipeline_tag == "feature-extraction"


def test_a_language_model_writes_no_more_than_it_has_positions_for():
    card = replace(CARD, modality="text", task="LanguageModeling", family="gpt2", num_new=8)
    assert card.blocks[0].count("max_new_tokens=8)") == 2


def test_the_lines_of_an_adapter_come_first():
    first, second = replace(CARD, adapter=True).blocks
    assert "PeftModel" in first and "pipeline" in second


def test_the_json_of_processors_is_sorted_so_that_folders_compare(tmp_path):
    node = {"_target_": "unimodal.tokenizers.image.ImagePatchTokenizer", "dim": 32}
    write_processors(tmp_path, Trained({}, {"image": node}, {"_target_": "x.Classification"}, {}), True)
    text = (tmp_path / "preprocessor_config.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_card_names_every_kind_that_its_lines_read_otherwise(tmp_path, modality):
    card = replace(CARD, modality=modality, checked=("Accuracy: 1 by predict.",))
    write_card(tmp_path, card)
    text = header(tmp_path).text
    assert "- Accuracy: 1 by predict." in text
    assert all(f"- {kind.name}:" in rendered(text) for kind in KINDS[modality])
    readings = {modality: Reading(kinds=tuple(kind.name for kind in KINDS[modality]))}
    write_card(tmp_path, replace(card, readings=readings))
    assert OTHERWISE not in header(tmp_path).text


def test_the_lines_of_pictures_read_the_kinds_of_the_held_out_files():
    [kind] = [kind for kind in IMAGE_KINDS if kind.name == "transparency"]
    [lines] = replace(CARD, readings={"image": Reading(kinds=(kind.name,))}).blocks
    assert "alpha_composite" in lines and "65535" not in lines and "image = read_image('photo.jpg')" in lines
    assert "read_image" not in CARD.blocks[0]
