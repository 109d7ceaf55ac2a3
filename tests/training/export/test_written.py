"""`unimodal export` of captions, transcripts and pairs: checked on held-out samples in a clean process."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import unimodal.hub.portable  # noqa: F401  # registers the classes
from unimodal.training.export.examples import as_array, captioned, examples, tensors
from unimodal.training.export.refusals import check_task

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "grey": (128, 128, 128)}
SMALL_PICTURES = ("modality=image", "tokenizer.image_size=16", "tokenizer.patch_size=8")
ANY = {"head": True, "only": None, "format": "auto"}
TASKS = "unimodal.tasks"


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """48 pictures and their colours, every other asked for."""
    folder, generator, rows = tmp_path_factory.mktemp("colours"), np.random.default_rng(0), []
    for i in range(48):
        name = list(COLOURS)[i % 4]
        pixels = np.array(COLOURS[name]) + generator.integers(-30, 30, (20, 20, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        rows.append({"image": f"{i}.png", "text": name, "prompt": ["", "which colour?"][i % 2]})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return (
        "data=table",
        f"data.path={folder / 'pairs.jsonl'}",
        "data.columns.image=image",
        "data.columns.text=text",
        "data.columns.label=none",
        "+tokenizer@beside.text=text_byte",
        *SMALL_PICTURES,
    )


@pytest.fixture
def folder_of(trained, exported, colours):
    """A run of each kind, and its folder."""

    def _folder_of(name):
        settings = {
            "captioning": ("task=captioning", "data.columns.prompt=prompt", *colours),
            "contrastive": ("task=contrastive", *colours),
            "ctc": (
                "task=ctc",
                "modality=audio",
                "data=joined_clips",
                "data.train_size=32",
                "data.eval_size=8",
            ),
        }
        epochs = ("trainer.max_epochs=8", "trainer.check_val_every_n_epoch=8")
        with torch.enable_grad():
            return trained(name, *settings[name], *epochs), exported(name)

    return _folder_of


@pytest.mark.slow
@torch.no_grad()
def test_a_captioner_writes_what_the_run_writes(folder_of):
    run, folder = folder_of("captioning")
    task, preprocess = run.task, run.task.preprocess["image"]
    samples, note = captioned(run.config, {"image": preprocess}, 8)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert samples and not note
    for sample in samples:
        prompt = task.asked["prompt"](sample)
        batch = tensors(sample, "image", preprocess) | {key: value[None] for key, value in prompt.items()}
        inputs = processor(as_array(sample, "image"), return_tensors="pt")
        asked = tokenizer(sample["prompt"], return_tensors="pt")
        ids = model.generate(**inputs, **asked)[0, asked["input_ids"].shape[1] :]
        assert [tokenizer.decode(ids, skip_special_tokens=True)] == task.write(batch)


@pytest.mark.slow
@torch.no_grad()
def test_the_pipeline_transcribes_held_out_sounds_as_the_run(folder_of):
    run, folder = folder_of("ctc")
    samples, _ = examples(run.config, "audio", run.preprocess, 8)
    pipe = transformers.pipeline("automatic-speech-recognition", model=str(folder))
    for sample in samples:
        [ours] = run.task.answer(tensors(sample, "audio", run.preprocess))
        sound = {"raw": as_array(sample, "audio"), "sampling_rate": run.preprocess.sample_rate}
        assert pipe(sound)["text"] == ours["text"]


@pytest.mark.slow
@torch.no_grad()
def test_the_pipeline_tells_colours_apart_as_the_run(folder_of):
    run, folder = folder_of("contrastive")
    samples, _ = examples(run.config, "image", run.preprocess, 8)
    pipe = transformers.pipeline("zero-shot-image-classification", model=str(folder))
    classifier = run.task.zero_shot(list(COLOURS))
    for sample in samples:
        ours = classifier.outputs(tensors(sample, "image", run.preprocess))[0].softmax(0)
        picture = Image.fromarray(as_array(sample, "image"))
        said = pipe(picture, candidate_labels=list(COLOURS), hypothesis_template="{}")
        scores = {one["label"]: one["score"] for one in said}
        assert [scores[name] for name in COLOURS] == pytest.approx(ours.tolist(), abs=1e-4)


@pytest.mark.slow
def test_a_wrong_token_leaves_no_folder(folder_of, refused, monkeypatch):
    folder_of("captioning")
    monkeypatch.setattr(
        "unimodal.tasks.captioning.Captioning._text_logits",
        lambda self, tokens, batch: self.head(tokens.embeds[:, -batch["input_ids"].shape[1] :]).float() + 1,
    )
    assert "outputs differ by up to 1" in refused("captioning")


@pytest.mark.parametrize(
    "target", [f"{TASKS}.segmentation.Segmentation", f"{TASKS}.sequence_labeling.SequenceLabeling"]
)
def test_a_head_without_a_class_is_refused_rather_than_lost(target):
    with pytest.raises(
        ValueError, match=f"no exported class has a head like that of {target.rpartition('.')[2]}"
    ):
        check_task(ANY, target)
    check_task(ANY | {"head": False}, target)


@pytest.mark.parametrize("target", [f"{TASKS}.captioning.Captioning", f"{TASKS}.contrastive.Contrastive"])
def test_one_modality_of_two_that_belong_together_is_refused(target):
    with pytest.raises(ValueError, match="leave out modality=image"):
        check_task(ANY | {"only": "image"}, target)
    check_task(ANY, target)


@pytest.mark.parametrize("wanted", ["onnx", "vit"])
def test_a_format_without_such_a_head_is_refused(wanted):
    with pytest.raises(ValueError, match=f"format={wanted} has no head like that of CTC"):
        check_task(ANY | {"format": wanted}, f"{TASKS}.ctc.CTC")


@pytest.mark.parametrize("name", ["masked_modeling.MaskedModeling", "classification.Classification"])
def test_other_tasks_pass(name):
    check_task(ANY, f"{TASKS}.{name}")
