"""What a run takes from a checkpoint, and what it says of the rest. Checkpoints of random weights do."""

import pytest
import torch

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.training import build
from unimodal.training.finetune.lora import LoRA
from unimodal.training.pretrained.origin import Origin
from unimodal.training.pretrained.positions import resize_positions
from unimodal.training.pretrained.start import make_start

SMALL = ("backbone.dim=32", "backbone.depth=2", "backbone.num_heads=2", "trainer=cpu")
TEXT = ("modality=text", "tokenizer.max_len=32", "task.sample_len=4")
POSITIONS = "tokenizer.learned_positions=true"


def write(path, complete, task):
    """A checkpoint as a run writes it, with weights that are nowhere zero."""
    for parameter in task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    config = {"format": 1, "config": complete}
    torch.save({"unimodal": config, "state_dict": task.state_dict()}, path)
    return task


@pytest.fixture
def trained(configure, tmp_path):
    """The task of a checkpoint at tmp_path/a.ckpt."""

    def _trained(*overrides, **changes):
        config = configure(*SMALL, *overrides)
        config["task"] |= changes
        complete = build.complete(config, build.make_source(config))
        return write(tmp_path / "a.ckpt", complete, build.make_task(complete))

    return _trained


@pytest.fixture
def start(configure, tmp_path):
    """What a run makes of that checkpoint: its task, config."""

    def _start(*overrides, **changes):
        config = configure(*SMALL, f"pretrained={tmp_path / 'a.ckpt'}", *overrides)
        config["task"] |= changes
        complete, task, _ = make_start(config, build.make_source(config))
        return task, complete

    return _start


def same(one, other, part=""):
    mine, theirs = one.state_dict(), other.state_dict()
    assert any(name.startswith(part) for name in mine)
    return all(torch.equal(mine[name], theirs[name]) for name in mine if name.startswith(part))


@pytest.mark.parametrize("modality", ["image", "audio", "video", "text"])
def test_the_same_model_is_loaded_whole(trained, start, capsys, modality):
    settings = TEXT if modality == "text" else (f"modality={modality}",)
    before = trained(*settings, "block=classic")
    task, complete = start(*settings, "block=classic")
    assert same(task, before)
    num = len(list(task.parameters()))
    assert f"pretrained: {num} of {num} tensors from" in capsys.readouterr().out
    assert complete["finetune"]["fresh"] == []


def test_a_backbone_of_another_size_is_refused_with_what_mends_it(trained, start):
    trained()
    wanted = r"backbone\.dim=16 here, 32 there; backbone\.depth=1 here, 2 there.*; "
    with pytest.raises(ValueError, match=wanted + r"add backbone\.dim=32 backbone\.depth=2$"):
        start("backbone.dim=16", "backbone.depth=1")
    with pytest.raises(ValueError, match=r"add backbone\.num_kv_heads=2"):
        start("backbone.num_kv_heads=1")


def test_weights_of_a_run_fit_whatever_it_skipped_and_dropped(trained, start):
    before = trained("backbone.drop_path=0.3", "task.token_dropout=0.2", "task.mixup=0.2")
    task, _ = start("backbone.drop_path=0.1")
    assert same(task, before)


def test_another_dialect_is_refused_by_its_name(trained, start):
    trained("block=classic")
    with pytest.raises(ValueError, match=r"block\.norm=rms here, layer there.*add block=classic$"):
        start()


def test_a_dialect_of_ones_own_is_refused_by_its_knobs(trained, start):
    trained("block.gated=false")
    with pytest.raises(ValueError, match=r"add block\.gated=false$"):
        start()


def test_a_window_may_change_and_is_said(trained, start, capsys):
    before = trained()
    task, _ = start("backbone.layer_types=[sliding,full]", "backbone.window=2")
    assert same(task, before)
    assert "layer_types=[sliding,full] (null), backbone.window=2 (null)" in capsys.readouterr().out


def test_other_classes_get_a_new_head(trained, start, capsys):
    before = trained(class_names=list("abcde"))
    task, complete = start()
    assert same(task, before, "model.")
    assert task.head.weight.abs().max() == 0
    assert complete["finetune"]["fresh"] == ["head.weight", "head.bias"]
    assert "new: head.weight, head.bias (10 classes here, 5 there)" in capsys.readouterr().out


def test_as_many_but_other_classes_get_a_new_head(trained, start, capsys):
    trained(class_names=list("abcdefghij"))
    assert start()[0].head.weight.abs().max() == 0
    assert "head.bias (other classes)" in capsys.readouterr().out


def test_the_same_classes_in_another_order_are_refused(trained, start):
    trained(class_names=list("1023456789"))
    with pytest.raises(ValueError, match="same classes in another order: label 0 is '0' here, '1' there"):
        start()


def test_a_pooling_with_weights_is_loaded_beside_a_new_head(trained, start):
    before = trained("task/pooling=attention", class_names=list("abcde"))
    task, _ = start("task/pooling=attention")
    assert same(task, before, "pooling.")


def test_another_modality_brings_its_own_tokenizer(trained, start, capsys):
    before = trained()
    task, complete = start("modality=audio")
    assert same(task.model.backbone, before.model.backbone)
    assert "model.tokenizers.audio.project.weight" in complete["finetune"]["fresh"]
    said = capsys.readouterr().out
    assert "audio.* (AudioFrameTokenizer here, ImagePatchTokenizer there)" in said
    assert "head.bias (16 classes here, 10 there)" in said


def test_a_projection_of_another_shape_is_new_and_said(trained, start, capsys):
    trained()
    _, complete = start("tokenizer.patch_size=4")
    assert "model.tokenizers.image.project.weight" in complete["finetune"]["fresh"]
    said = capsys.readouterr().out
    assert "image.project.weight ((32, 48) here, (32, 192) there)" in said
    assert "image here (there): patch_size=4 (8)" in said


def test_settings_that_differ_are_said_and_stay(trained, start, capsys):
    before = trained("modality=audio")
    task, complete = start("modality=audio", "tokenizer.sample_rate=4000", "tokenizer.mean=-5")
    here, there = (t.model.tokenizers["audio"] for t in (task, before))
    assert "audio here (there): sample_rate=4000 (8000), mean=-5 (-6.0)" in capsys.readouterr().out
    assert same(here, there, "project.")
    assert same(here.log_mel, build.make_task(complete).model.tokenizers["audio"].log_mel)
    assert not torch.equal(here.log_mel.filters, there.log_mel.filters)


@pytest.mark.parametrize(
    ("settings", "change", "sizes"),
    [
        (("modality=image",), ("tokenizer.image_size=[48,64]",), "4 x 4 to 6 x 8"),
        (("tokenizer=image_conv",), ("tokenizer.image_size=64",), "4 x 4 to 8 x 8"),
        (
            ("modality=video",),
            ("tokenizer.num_frames=12", "tokenizer.image_size=40"),
            "4 x 4 x 4 to 6 x 5 x 5",
        ),
        (("modality=audio", "tokenizer=audio_patch"), ("tokenizer.max_seconds=5",), "100 x 5 to 50 x 5"),
        (("modality=audio",), ("tokenizer.max_seconds=5",), "251 to 126"),
        (TEXT, ("tokenizer.max_len=48",), "32 to 48"),
    ],
)
def test_learned_positions_are_resized_to_the_grid(trained, start, capsys, settings, change, sizes):
    before = trained(*settings, POSITIONS)
    task, _ = start(*settings, POSITIONS)
    assert same(task, before)
    task, _ = start(*settings, POSITIONS, *change)
    assert f"position_table: resized from {sizes}" in capsys.readouterr().out
    [tokenizer] = task.model.tokenizers.values()
    assert tokenizer.position_table.shape[0] == torch.tensor(tokenizer.position_grid).prod()


def test_positions_on_a_line_are_read_between_their_neighbours():
    table = torch.arange(4.0)[:, None].expand(4, 3)
    resized = resize_positions(table, (4,), (8,))
    torch.testing.assert_close(resized[:, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    grid = (torch.arange(4.0)[:, None] * 10 + torch.arange(6.0)).flatten()[:, None]
    assert resize_positions(grid, (4, 6), (4, 6)) is grid
    smaller = resize_positions(grid, (4, 6), (4, 3)).reshape(4, 3)  # rows stay apart, columns are joined
    torch.testing.assert_close(smaller[:, 1], torch.arange(4.0) * 10 + 2.5)


def test_text_takes_the_checkpoints_vocabulary(trained, start, capsys):
    before = trained(*TEXT, "tokenizer.vocabulary.vocab_size=300")
    task, complete = start(*TEXT)
    assert same(task, before)
    assert task.model.tokenizers["text"].vocab_size == 300
    assert len(complete["tokenizer"]["vocabulary"]["tokenizer"]) > 1000  # and the run's checkpoint has it
    assert "vocabulary: the checkpoint's 300 tokens" in capsys.readouterr().out


def _bytes_from(tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte_vocabulary(None)["tokenizer"])
    path = f"tokenizer.vocabulary.path={tmp_path}/tokenizer.json"
    return ("tokenizer=text_pretrained", path, "tokenizer.vocabulary.eos_token='<|endoftext|>'")


def test_a_named_vocabulary_that_differs_is_refused_with_both_sizes(trained, start, tmp_path):  # FAULTS 36
    trained(*TEXT)
    with pytest.raises(ValueError, match=r"has 257 tokens here, 320 in .*finetune\.resize_vocabulary=true"):
        start(*TEXT, *_bytes_from(tmp_path))


@pytest.mark.parametrize("tied", ["true", "false"])
def test_common_tokens_keep_their_rows_in_another_vocabulary(trained, start, tmp_path, tied):
    before = trained(*TEXT, f"task.tied={tied}")
    resize = "finetune.resize_vocabulary=true"
    task, complete = start(*TEXT, *_bytes_from(tmp_path), f"task.tied={tied}", resize)
    old, new = before.model.tokenizers["text"], task.model.tokenizers["text"]
    ids_before, ids = (t.preprocess.fast.get_vocab() for t in (old, new))
    for token in ("a", "Z", "<|endoftext|>"):
        assert torch.equal(new.embedding.weight[ids[token]], old.embedding.weight[ids_before[token]])
        assert torch.equal(task.head.weight[ids[token]], before.head.weight[ids_before[token]])
    assert complete["finetune"]["fresh"] == []  # every byte was known
    trained(*TEXT, *_bytes_from(tmp_path), f"task.tied={tied}")
    _, complete = start(*TEXT, f"task.tied={tied}", resize)  # 320 tokens, of which 257 are known
    assert "model.tokenizers.text.embedding.weight" in complete["finetune"]["fresh"]


def test_a_tied_head_can_not_take_two_tensors(trained, start):
    trained(*TEXT, "task.tied=false")
    with pytest.raises(ValueError, match=r"are one tensor here and two in .*; set task\.tied=false\."):
        start(*TEXT, "task.tied=true")


def test_a_language_model_starts_a_classifier(trained, start, capsys):
    before = trained(*TEXT)
    passages = ("data=reference_passages", "task=classification", "tokenizer.max_len=32", "modality=text")
    task, _ = start(*passages)
    assert same(task, before, "model.")
    assert "head.bias (Classification here, LanguageModeling there)" in capsys.readouterr().out


def test_adapters_of_the_checkpoint_are_merged(configure, start, tmp_path):
    config = configure(*SMALL, "finetune=lora")
    complete = build.complete(config, build.make_source(config))
    task = build.make_task(complete)
    LoRA().inject(task)
    write(tmp_path / "a.ckpt", complete, task)
    query = task.model.backbone.blocks[0].attention.query
    wanted = query.base_layer.weight + 2 * query.lora_B["default"].weight @ query.lora_A["default"].weight
    plain, _ = start()
    torch.testing.assert_close(plain.model.backbone.blocks[0].attention.query.weight, wanted)
    assert not any("lora" in name for name in Origin.read(tmp_path / "a.ckpt").weights)


def test_a_path_without_a_checkpoint_is_named(start):
    with pytest.raises(ValueError, match=r"a\.ckpt is no checkpoint and no run folder"):
        start()
