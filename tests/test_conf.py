"""Every yaml under conf/ composes and builds; what is added is tested by being there."""

from pathlib import Path

import pytest
import torch
import yaml

import unimodal.conf
from unimodal.data.sources.digits import Digits
from unimodal.training import build
from unimodal.training.monitors import make_callbacks
from unimodal.training.optimization import Optimization

CONF = Path(unimodal.conf.__file__).parent
OF_THE_MODALITY = {"image": "image", "audio": "audio", "video": "video", "text": "text"}
TEXT_ONLY = {"text", "reference_text", "reference_passages", "language_modeling"}
TINY = (
    "backbone.dim=32",
    "backbone.depth=1",
    "backbone.num_heads=2",
    "trainer=cpu",
    "trainer.precision=32-true",
)


class Counts(Digits):
    """Digits as numbers instead of classes."""

    def __init__(self):
        super().__init__()
        self.class_names, self.target_names = (), ("digit",)

    def split(self, name):
        return [row | {"label": torch.tensor([float(row["label"])])} for row in super().split(name)]


class Named(Digits):
    """Digits with their names as text."""

    def split(self, name):
        return [row | {"text": str(row["label"])} for row in super().split(name)]


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _build(config, source=None):
    source = source or build.make_source(config)
    complete = build.complete(config, source)
    return build.make_task(complete), source, complete


def _loss_and_gradient(config, source=None):
    task, source, complete = _build(config, source)
    batch = next(iter(build.make_datamodule(complete, source, task).train_dataloader()))
    loss = task(batch).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in task.parameters())


def test_every_yaml_says_what_it_is_for():
    for file in CONF.rglob("*.yaml"):
        lines = file.read_text().splitlines()
        says = [line for line in lines[:2] if line.startswith("# ") and not line.startswith("# @")]
        assert says, f"{file.relative_to(CONF)} does not open with a comment"
        yaml.safe_load(file.read_text())


@pytest.mark.parametrize("option", _options("tokenizer"))
def test_every_tokenizer_trains(configure, tmp_path, option):
    modality = option.partition("_")[0]
    overrides = [f"modality={modality}", f"tokenizer={option}", "loader.batch_size=2"]
    if modality == "text":
        overrides.append("tokenizer.max_len=32")
    if option == "text_conv":  # which a language model cannot use
        overrides += ["task=classification", "data=reference_passages"]
    if option == "text_pretrained":
        from unimodal.data.vocabulary import byte_vocabulary

        (tmp_path / "tokenizer.json").write_text(byte_vocabulary(None)["tokenizer"])
        overrides += [
            f"tokenizer.vocabulary.path={tmp_path}/tokenizer.json",
            "tokenizer.vocabulary.eos_token='<|endoftext|>'",
        ]
    _loss_and_gradient(configure(*TINY, *overrides))


OWN_DATA = ("folder", "table", "hub")
DENSE = {
    "digit_scenes": ("image", "segmentation"),
    "joined_clips": ("audio", "ctc"),
    "keypad_sequences": ("audio", "sequence_labeling"),
    "reference_code": ("text", "sequence_labeling"),
}


def _own_data(option, folder):
    """Overrides that make a small set of sentences the data."""
    rows = [f"sentence number {i},{'ab'[i % 2]}" for i in range(40)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]))
    if option == "folder":
        for row in rows:
            text, label = row.split(",")
            (folder / label).mkdir(exist_ok=True)
            (folder / label / f"{text}.txt").write_text(text)
    return [f"data.path={folder}", "task=classification"]


@pytest.mark.parametrize("option", _options("data"))
def test_every_data_set_trains(configure, tmp_path, option):
    known = {"digits": "image", "keypad_tones": "audio", "moving_digits": "video", "four_digits": "mixed"}
    modality = known.get(option, "text")
    modality, task = DENSE.get(option, (modality, None))
    overrides = [f"modality={modality}", f"data={option}", "loader.batch_size=2"]
    if option == "reference_passages":
        overrides.append("task=classification")
    if task:
        overrides.append(f"task={task}")
    if option in OWN_DATA:
        overrides += _own_data(option, tmp_path)
    _loss_and_gradient(configure(*TINY, *overrides))


@pytest.mark.parametrize("option", _options("task"))
def test_every_task_trains(configure, option):
    modality = "text" if option in ("language_modeling", "masked_text") else "image"
    source = Counts() if option == "regression" else None
    overrides = [f"modality={modality}", f"task={option}", "loader.batch_size=2"]
    if option in ("captioning", "contrastive"):
        overrides = [*overrides[:2], "loader.batch_size=8", "+tokenizer@beside.text=text_byte"]
        source = Named()
    data = next((data for data, (_, task) in DENSE.items() if task == option), None)
    if data:
        overrides = [f"modality={DENSE[data][0]}", f"data={data}", *overrides[1:]]
    _loss_and_gradient(configure(*TINY, *overrides), source)


@pytest.mark.parametrize("option", _options("task/vocabulary"))
def test_every_vocabulary_of_transcripts_trains(configure, option):
    settings = ("modality=audio", "data=joined_clips", "task=ctc", "data.train_size=8", "loader.batch_size=2")
    _loss_and_gradient(configure(*TINY, *settings, f"task/vocabulary={option}"))


@pytest.mark.parametrize("option", _options("task/masking"))
def test_every_masking_trains(configure, option):
    settings = ("modality=audio", "tokenizer=audio_patch", "tokenizer.stride=16", "loader.batch_size=2")
    _loss_and_gradient(configure(*TINY, *settings, "task=masked_modeling", f"task/masking={option}"))


@pytest.mark.parametrize("block", _options("block"))
@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_masked_modeling_trains_with_every_block(configure, modality, block):
    config = configure(*TINY, f"modality={modality}", f"block={block}", "task=masked_modeling")
    assert len(config["task"]["masking"]["together"][0]) == (2 if modality == "video" else 3)  # tubes
    config["loader"]["batch_size"] = 2
    _loss_and_gradient(config)


@pytest.mark.parametrize("option", _options("task/contrast"))
def test_every_contrast_trains(configure, option):
    beside = ("+tokenizer@beside.text=text_byte", "loader.batch_size=8")  # not all of one class
    _loss_and_gradient(configure(*TINY, *beside, "task=contrastive", f"task/contrast={option}"), Named())


@pytest.mark.parametrize("option", _options("task/loss"))
def test_every_loss_of_a_regression_trains(configure, option):
    _loss_and_gradient(configure(*TINY, "task=regression", f"task/loss={option}"), Counts())


@pytest.mark.parametrize("option", _options("task/pooling"))
def test_every_pooling_trains(configure, option):
    prefix = "tokenizer.num_prefix_tokens=1"
    _loss_and_gradient(configure(*TINY, f"task/pooling={option}", prefix, "loader.batch_size=2"))


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_typed_pooling_stands_above_that_of_the_stock_models(configure, modality, task):
    settings = (f"modality={modality}", "block=classic", f"task={task}")
    usual = configure(*settings)["task"]["pooling"]
    assert usual["_target_"].endswith("FirstPooling") and usual["num_tokens"] == 1 + (modality == "audio")
    for option in ("mean", "last", "attention"):
        pooling = configure(*settings, f"task/pooling={option}")["task"]["pooling"]
        assert pooling["_target_"].endswith(f"{option.capitalize()}Pooling") and "num_tokens" not in pooling


@pytest.mark.parametrize("option", sorted(set(_options("modality")) - {"all", "joint"}))
@pytest.mark.parametrize("block", _options("block"))
def test_every_modality_trains_with_every_block(configure, option, block):
    _loss_and_gradient(configure(*TINY, f"modality={option}", f"block={block}", "loader.batch_size=2"))


EVERYTHING = {
    "task": {"mixup": 0.4, "cutmix": 1.0, "token_dropout": 0.3, "head_dropout": 0.2},
    "backbone": {"drop_path": 0.2},
    "augment": {"crop": 0.5, "trivial": True, "erase": 0.5},
}
IN_TIME = {"time_shift": 0.2, "speed": 0.2}


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        *((f"task/{name}", EVERYTHING["task"]) for name in ("classification", "regression")),
        *((f"backbone/{name}", EVERYTHING["backbone"]) for name in _options("backbone")),
        ("augment/image", EVERYTHING["augment"]),
        ("augment/video", EVERYTHING["augment"] | IN_TIME),
    ],
)
def test_regularisation_is_off_unless_it_is_chosen(file, keys):
    node = yaml.safe_load((CONF / f"{file}.yaml").read_text())
    assert not any(node[key] for key in keys)


@pytest.mark.parametrize("block", _options("block"))
@pytest.mark.parametrize("modality", ["image", "audio", "video", "text"])
def test_every_modality_trains_with_all_regularisation_and_augmentation(configure, modality, block):
    options = EVERYTHING | {"augment": EVERYTHING["augment"] | (IN_TIME if modality == "video" else {})}
    if modality in ("audio", "text"):
        del options["augment"]
    overrides = [f"{group}.{key}={value}" for group, keys in options.items() for key, value in keys.items()]
    if modality == "text":
        overrides += ["data=reference_passages", "task=classification", "tokenizer.max_len=32"]
    _loss_and_gradient(
        configure(*TINY, f"modality={modality}", f"block={block}", "loader.batch_size=4", *overrides)
    )


def _joint_gradient(config):
    source = build.make_source(config)
    complete = build.complete(config, source)
    learner = build.make_learner(complete)
    names = [name for name, p in learner.named_parameters() if p.requires_grad]
    batches = build.make_datamodules(complete, source, learner).first_batches()
    for batch in batches:
        sum(output.loss for output in learner(batch).values()).backward()
    assert len(batches) == len(config["mix"])
    assert [name for name, p in learner.named_parameters() if p.grad is not None] == names


@pytest.mark.parametrize("block", _options("block"))
def test_all_modalities_train_jointly_with_every_block(configure, block):
    _joint_gradient(configure(*TINY, "modality=all", f"block={block}"))


@pytest.mark.parametrize("option", sorted(set(_options("source")) - {"base"}))
def test_every_source_trains_jointly(configure, option):
    _joint_gradient(configure(*TINY, "modality=joint", f"+source@mix.mine={option}"))


def test_the_loader_of_a_source_is_that_of_the_run_unless_it_says_otherwise(configure):
    usual, changed = (configure("modality=all", *more)["mix"] for more in ((), ("loader.num_workers=3",)))
    assert usual["image"]["loader"] == configure()["loader"]
    assert (usual["text"]["loader"]["batch_size"], usual["audio"]["loader"]["batch_size"]) == (16, 64)
    assert {node["loader"]["num_workers"] for node in changed.values()} == {3}
    own = configure("modality=all", "loader.batch_size=8", "mix.audio.loader.batch_size=4")["mix"]
    assert [own[name]["loader"]["batch_size"] for name in ("image", "audio")] == [8, 4]


def test_a_source_that_knows_no_places_is_refused(configure):
    config = configure(*TINY, "modality=joint", "+source@mix.mine=image", "block=classic")
    with pytest.raises(ValueError, match=r"set mix\.mine\.tokenizer\.learned_positions=true"):
        build.make_source(config)


@pytest.mark.parametrize("verb", ["train", "check-data"])
@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (("block=classic",), "AudioSpectrogramTokenizer"),
        (("block=modern",), "AudioFrameTokenizer"),
        (("block=classic", "tokenizer=audio_patch"), "AudioPatchTokenizer"),
        (("block=classic", "experiment=sounds"), "AudioFrameTokenizer"),
    ],
)
def test_the_classic_block_takes_asts_embedding_unless_another_is_named(configure, verb, overrides, wanted):
    tokenizer = configure("modality=audio", *overrides, verb=verb)["tokenizer"]
    assert tokenizer["_target_"].endswith(f".{wanted}")
    classic = "block=classic" in overrides
    assert (tokenizer["num_prefix_tokens"], tokenizer["learned_positions"]) == (
        (2, True) if classic else (0, False)
    )


@pytest.mark.parametrize("option", _options("backbone"))
def test_every_backbone_builds_at_its_size(configure, option):
    config = configure(f"backbone={option}")
    with torch.device("meta"):
        task, _, _ = _build(config)
    wanted = {"tiny": 0.8e6, "small": 21e6, "base": 85e6, "large": 302e6}[option]
    assert sum(p.numel() for p in task.model.backbone.parameters()) == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("optimizer", _options("optimizer"))
@pytest.mark.parametrize("scheduler", _options("scheduler"))
def test_every_optimizer_and_schedule_steps(configure, optimizer, scheduler):
    config = configure(*TINY, f"optimizer={optimizer}", f"scheduler={scheduler}")
    task, _, _ = _build(config)
    made = Optimization(build.make(config["optimizer"]), build.make(config["scheduler"]), 10)(task)
    task.head.weight.grad = torch.ones_like(task.head.weight)
    before = task.head.weight.clone()
    made["optimizer"].step()
    made["lr_scheduler"]["scheduler"].step()
    assert not torch.equal(before, task.head.weight)


@pytest.mark.parametrize("option", _options("finetune"))
def test_every_way_of_fine_tuning_trains_the_head(configure, option):
    config = configure(*TINY, f"finetune={option}", *(["finetune.num_layers=1"] * (option == "layers")))
    task, source, complete = _build(config)
    build.make_finetuning(config).apply(task)
    batch = next(iter(build.make_datamodule(complete, source, task).train_dataloader()))
    task(batch).loss.backward()
    assert task.head.weight.grad.abs().sum() > 0
    learns = any(parameter.requires_grad for parameter in task.model.backbone.parameters())
    assert learns == (option != "head")


@pytest.mark.parametrize("option", _options("augment"))
def test_every_augmentation_builds(configure, option):
    config = configure(f"augment={option}")
    assert (not config["augment"]) == (option == "none")
    if config["augment"]:
        build.make(config["augment"])


@pytest.mark.parametrize("option", sorted(set(_options("experiment")) - {"none"}))
def test_every_recipe_trains_and_says_what_it_reached(configure, recipe_data, option):
    head = (CONF / "experiment" / f"{option}.yaml").read_text().splitlines()[:3]
    assert f"unimodal train experiment={option}" in head[1] and " s " in head[2]
    assert "%" in head[2] or " nats " in head[2]
    path = recipe_data(option)
    _loss_and_gradient(configure(*TINY, f"experiment={option}", f"data.path={path}", "loader.batch_size=2"))


@pytest.mark.parametrize("group", ["callbacks", "logger", "debug"])
def test_every_other_option_builds(configure, tmp_path, group):
    for option in _options(group):
        config = configure(*TINY, f"{group}={option}", f"output={tmp_path}")
        task, _, _ = _build(config)
        assert make_callbacks(config, task)
        for node in config["logger"].values():
            build.make(node)


@pytest.mark.parametrize("option", [o for o in _options("trainer") if o != "gpu"])
def test_every_trainer_builds(configure, tmp_path, option):
    config = configure(f"trainer={option}", "trainer.accelerator=cpu", "trainer.devices=1")
    assert build.make_trainer(config, tmp_path).max_epochs > 0
