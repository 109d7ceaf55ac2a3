"""Folders that write about media, write speech down, or compare two modalities, against the run."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as FastTokenizer
from transformers import PreTrainedTokenizerFast

import unimodal.hub.portable  # noqa: F401  # registers the classes
from unimodal.data.collate import collate
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub.portable.write import write_portable
from unimodal.hub.processors.transcripts import write_transcripts
from unimodal.hub.processors.writing import write_processors
from unimodal.hub.usage_by_head import usage_by_head

PROMPTS = ["what is it?", "", "why"]
CAPTIONS = ("modern", "classic", "registers", "two_media")


@pytest.fixture
def written(tmp_path, built):
    """The task and its folder."""

    def _written(tokenizers, backbone, node):
        task, trained = built(tokenizers, backbone, node)
        write_portable(tmp_path, trained)
        write_processors(tmp_path, trained, portable=True)
        return task, tmp_path

    return _written


@pytest.fixture
def captioner(written, nodes):
    def _captioner(kind):
        text = {"text": nodes.text(max_len=40, learned_positions=kind == "classic")}
        media = {**nodes.sound, **nodes.image} if kind == "two_media" else nodes.image
        knobs = {"num_registers": 2} if kind in ("registers", "two_media") else {}
        backbone = nodes.transformer("classic" if kind == "classic" else "modern", **knobs)
        node = {
            "_target_": "unimodal.tasks.captioning.Captioning",
            "tied": kind == "classic",
            "decoding": {"_target_": "unimodal.tasks.decoding.Decoding", "max_new_tokens": 12},
        }
        return *written({**media, **text}, backbone, node), given(nodes, media)

    return _captioner


def given(nodes, media):
    """A batch under the names of the folder, and the same under ours."""
    inputs, batch = nodes.inputs_of(media), {}
    if "audio" in media:
        inputs["input_values_mask"] = inputs.pop("attention_mask")
        batch["input_values"] = inputs["input_values"][:, :400]
        batch["input_values_mask"] = inputs["input_values_mask"][:, :400].bool()
    return inputs, {**inputs, **batch}


@pytest.mark.parametrize("kind", CAPTIONS)
@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_writes_what_the_run_writes(captioner, kind, use_cache):
    task, folder, (inputs, batch) = captioner(kind)
    ours = task.write(batch | collate([task.asked["prompt"]({"prompt": one}) for one in PROMPTS]))
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    ids = model.generate(**inputs, **asked, use_cache=use_cache)[:, asked["input_ids"].shape[1] :]
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == ours
    assert len(set(ours)) == 3


@pytest.mark.parametrize("kind", CAPTIONS)
def test_beams_do_not_depend_on_the_cache(captioner, kind):
    _, folder, (inputs, _) = captioner(kind)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    options = {"num_beams": 3, "max_new_tokens": 6}
    with_cache, without = (model.generate(**inputs, **options, use_cache=one) for one in (True, False))
    assert torch.equal(with_cache, without)


@torch.no_grad()
def test_the_logits_of_a_text_are_the_runs_wherever_padding_stands(captioner):
    task, folder, (inputs, batch) = captioner("registers")
    ids = torch.randint(256, (3, 6), generator=torch.Generator().manual_seed(1))
    ids[torch.arange(3), torch.tensor([2, 0, 1])] = 256  # the start, behind a prompt
    ours = task.outputs({**batch, "input_ids": ids, "num_prompt_tokens": torch.tensor([2, 0, 1])})
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    torch.testing.assert_close(model(input_ids=ids, **inputs).logits, ours, atol=1e-5, rtol=1e-5)
    padded, mask = torch.cat((ids.new_full((3, 2), 256), ids), 1), torch.ones(3, 8, dtype=torch.long)
    mask[:, :2] = 0
    there = model(input_ids=padded, attention_mask=mask, **inputs).logits[:, 2:]
    torch.testing.assert_close(there, ours, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_labels_give_the_loss_of_the_run(captioner):
    task, folder, (inputs, batch) = captioner("modern")
    sample = {"text": "a cat", "prompt": "what"}
    row = task.preprocess["text"](sample)
    example = {**{key: value[:1] for key, value in batch.items()}, **collate([row])}
    loss = task({**example, "counted": torch.tensor([True])}).loss
    start = row["num_prompt_tokens"]
    ids = torch.cat((row["input_ids"], row["labels"][-1:]))[None]
    labels = torch.cat((torch.full((1, int(start) + 1), -100), ids[:, int(start) + 1 :]), 1)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    there = model(input_ids=ids, labels=labels, pixel_values=inputs["pixel_values"][:1]).loss
    assert float(there) == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_without_a_prompt_the_mask_is_that_of_the_sound(captioner):
    _, folder, (inputs, _) = captioner("two_media")
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    named = model.generate(**inputs)
    sound = {"attention_mask": inputs["input_values_mask"], "input_values": inputs["input_values"]}
    assert torch.equal(model.generate(pixel_values=inputs["pixel_values"], **sound), named)


@pytest.fixture
def transcriber(written, nodes):
    node = {"_target_": "unimodal.tasks.ctc.CTC", "vocabulary": byte_vocabulary(None), "frames_per_token": 2}
    return written(nodes.sound, nodes.transformer(), node)


@torch.no_grad()
def test_frames_and_transcripts_are_the_runs(transcriber, nodes):
    task, folder = transcriber
    inputs = nodes.inputs_of(nodes.sound)
    batch = nodes.as_batch(nodes.sound, inputs)
    model = transformers.AutoModelForCTC.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    logits = model(**inputs).logits
    torch.testing.assert_close(logits[0], task.outputs(batch)[0], atol=1e-5, rtol=1e-5)
    texts = [tokenizer.decode(row) for row in logits.argmax(-1)]
    assert texts == [one["text"] for one in task.answer(batch)] and all(texts)


@torch.no_grad()
def test_the_pipeline_transcribes_as_the_run(transcriber, nodes):
    task, folder = transcriber
    sound = nodes.inputs_of(nodes.sound)["input_values"][0, :400]
    pipe = transformers.pipeline("automatic-speech-recognition", model=str(folder))
    said = pipe({"raw": sound.numpy(), "sampling_rate": 800})["text"]
    assert said == task.answer({"input_values": sound[None]})[0]["text"]


@pytest.mark.parametrize("text", ["hello all", "a  a", ""])
def test_letters_are_merged_and_blanks_dropped(tmp_path, text):
    letters = FastTokenizer(models.BPE(vocab={c: i for i, c in enumerate(" aehlo")}, merges=[]))
    letters.decoder = decoders.Fuse()
    letters.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    write_transcripts(tmp_path, {"tokenizer": letters.to_str(), "eos_token": "<|endoftext|>"})
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    blank, frames = tokenizer.pad_token_id, []
    for label in tokenizer(text)["input_ids"]:
        frames += [blank, label, label]
    assert tokenizer.decode([*frames, blank, blank]) == text


@torch.no_grad()
def test_the_loss_of_labels_is_the_runs(transcriber, nodes):
    task, folder = transcriber
    inputs = nodes.inputs_of(nodes.sound)
    labels = torch.tensor([[5, 6, 6, 7], [3, -100, -100, -100], [1, 2, -100, -100]])
    there = transformers.AutoModelForCTC.from_pretrained(folder)(**inputs, labels=labels).loss
    ours = task({**nodes.as_batch(nodes.sound, inputs), "labels": labels}).loss
    assert float(there) == pytest.approx(float(ours), rel=1e-5)


@pytest.fixture
def paired(written, nodes):
    def _paired(loss, other="text"):
        tokenizers = (
            {**nodes.image, "text": nodes.text()} if other == "text" else {**nodes.sound, **nodes.image}
        )
        node = {
            "_target_": "unimodal.tasks.contrastive.Contrastive",
            "pooling": {"_target_": "unimodal.tasks.pooling.MeanPooling"},
            "contrast": {"_target_": f"unimodal.tasks.contrastive_loss.{loss}"},
            "projection_dim": 16,
        }
        return *written(tokenizers, nodes.transformer(), node), nodes.inputs_of(tokenizers)

    return _paired


@pytest.mark.parametrize("loss", ["InfoNCE", "SigLIP"])
@torch.no_grad()
def test_vectors_and_similarities_are_the_runs(paired, loss):
    task, folder, inputs = paired(loss)
    model = transformers.AutoModelForZeroShotImageClassification.from_pretrained(folder)
    texts = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    images = {"pixel_values": inputs["pixel_values"]}
    output = model(**texts, **images)
    for field, given in {"text": texts, "image": images}.items():
        ours = task.project(field, inputs)
        there = getattr(model, f"get_{field}_features")(**given).pooler_output
        torch.testing.assert_close(there, ours, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(output[f"{field}_embeds"], ours, atol=1e-6, rtol=1e-5)
    logits = task.contrast.logits(task.project("image", inputs), task.project("text", inputs))
    logits = logits + task.contrast.bias if loss == "SigLIP" else logits
    torch.testing.assert_close(output.logits_per_image, logits, atol=1e-4, rtol=1e-5)
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)


@torch.no_grad()
def test_the_zero_shot_pipeline_says_what_the_run_says(paired):
    task, folder, _ = paired("InfoNCE")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    picture, names = Image.fromarray(pixels), ["cat", "a dog"]
    pipe = transformers.pipeline("zero-shot-image-classification", model=str(folder))
    said = pipe(picture, candidate_labels=names, hypothesis_template="{}")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    classifier = task.zero_shot(names)
    logits = classifier.outputs(dict(processor(picture, return_tensors="pt")))[0]
    scores = {one["label"]: one["score"] for one in said}
    assert [scores[name] for name in names] == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)


@torch.no_grad()
def test_a_pair_of_sound_and_picture_has_its_own_names(paired):
    task, folder, inputs = paired("InfoNCE", "audio")
    model = transformers.AutoModelForZeroShotImageClassification.from_pretrained(folder)
    sound = {key: inputs[key] for key in ("input_values", "attention_mask")}
    ours = task.project(
        "audio",
        {k: v[:, :400] for k, v in {**sound, "input_values_mask": sound["attention_mask"].bool()}.items()},
    )
    torch.testing.assert_close(model.get_audio_features(**sound).pooler_output, ours, atol=1e-6, rtol=1e-5)
    assert model(**inputs).logits_per_audio.shape == (3, 3)
    with pytest.raises(ValueError, match="reads audio and image, no text"):
        model.get_text_features(torch.zeros(1, 2, dtype=torch.long))


def test_a_folder_saved_again_holds_the_code_of_its_class(transcriber, tmp_path):
    _, folder = transcriber
    transformers.AutoModelForCTC.from_pretrained(folder).save_pretrained(tmp_path / "again")
    names = {path.name for path in (tmp_path / "again").glob("*.py")}
    assert names == {path.name for path in folder.glob("*.py")} and "modeling_unimodal_ctc.py" in names
    assert "modeling_unimodal_captioning.py" not in names


def test_weights_have_the_names_of_the_run(paired):
    task, folder, _ = paired("SigLIP")
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert (
        {"contrast.log_scale", "contrast.bias", "projections.image.weight"} <= names <= set(task.state_dict())
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"]["AutoModelForZeroShotImageClassification"].startswith(
        "modeling_unimodal_contrastive."
    )


@pytest.mark.parametrize(
    ("task", "modalities", "lines"),
    [
        ("Captioning", ("image", "text"), ("text = ''", "model.generate(**inputs)")),
        ("Captioning", ("audio", "text"), ("soundfile.read", "{**processor(samples")),
        ("CTC", ("audio",), ("pipeline('automatic-speech-recognition'", "argmax(-1)")),
        ("Contrastive", ("image", "text"), ("'zero-shot-image-classification'", "get_text_features")),
        ("Contrastive", ("audio", "image"), ("get_audio_features", "audio_vectors @ image_vectors.T")),
    ],
)
def test_the_lines_of_the_card_are_python(task, modalities, lines):
    code = usage_by_head("my-model", task, "AutoModelForCTC", modalities)
    compile(code, "card", "exec")
    assert all(line in code for line in lines)
