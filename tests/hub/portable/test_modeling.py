"""The classes themselves, with unimodal installed: no code is loaded, no `trust_remote_code` is needed."""

import copy
import pickle

import pytest
import torch
import transformers
from torch.utils.data import Dataset

import unimodal.hub.portable  # noqa: F401  # registers the classes


@pytest.fixture
def load(run, exported):
    """The model of a kind."""

    def _load(name, auto_class=None, **options):
        maker = getattr(transformers, auto_class or run(name).auto_class)
        return maker.from_pretrained(exported(name), **options)

    return _load


def test_an_installed_unimodal_needs_no_flag_and_gives_the_same(run, load, kind):
    model = load(kind)
    assert type(model).__module__ == "unimodal.hub.portable.modeling_unimodal"
    with torch.no_grad():
        logits = model(**run(kind).inputs).logits
    real = run(kind).inputs["attention_mask"].bool() if run(kind).task.generates else slice(None)
    assert torch.allclose(logits[real], run(kind).expected[real], atol=1e-5)


def test_the_pooled_vector_is_the_runs(run, load, kind):
    with torch.no_grad():
        pooled = load(kind, "AutoModel")(**run(kind).inputs).pooler_output
        head = load(kind)
    if not run(kind).task.generates and "regression" not in kind:
        assert torch.allclose(head.head(head.head_norm(pooled)), run(kind).expected, atol=1e-5)


def test_nothing_is_lost_on_the_meta_device(load, kind):
    names = [name for name, _ in load(kind).named_non_persistent_buffers()]
    assert names == []


@pytest.mark.parametrize(
    "name", ["image_classic", "image_registers", "audio_frame", "language_window", "joint"]
)
def test_eager_attention_gives_the_same_and_maps_that_sum_to_one(run, load, name):
    inputs = run(name).inputs
    model = load(name, attn_implementation="eager")
    with torch.no_grad():
        output, expected = model(**inputs, output_attentions=True), load(name)(**inputs).logits
    assert torch.allclose(output.logits, expected, atol=1e-5)
    assert len(output.attentions) == 2
    for one in output.attentions:
        assert torch.allclose(one.sum(-1), torch.ones(1), atol=1e-5)


def test_the_attention_can_be_changed_afterwards(run, load):
    model = load("image_patch")
    with pytest.raises(ValueError, match="eager"):
        model(**run("image_patch").inputs, output_attentions=True)
    model.set_attn_implementation("eager")
    assert len(model(**run("image_patch").inputs, output_attentions=True).attentions) == 2
    assert model(**run("image_patch").inputs).attentions is None


@pytest.mark.parametrize("kernel", ["flash_attention_2", "flex_attention", "paged"])
def test_other_kernels_are_refused_by_transformers(load, kernel):
    with pytest.raises((ValueError, ImportError)):
        load("image_patch", attn_implementation=kernel)


def test_hidden_states_start_with_the_embeddings_and_end_with_the_output(run, load):
    inputs, task = run("image_registers").inputs, run("image_registers").task
    with torch.no_grad():
        output = load("image_registers", "AutoModel")(**inputs, output_hidden_states=True)
        embeds = task.model.embed(inputs).embeds
    assert len(output.hidden_states) == 3
    assert torch.equal(output.hidden_states[0], embeds)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert not torch.allclose(output.hidden_states[1], embeds)


def test_without_return_dict_there_is_a_tuple(run, load):
    model = load("image_patch")
    output, values = model(**run("image_patch").inputs), model(**run("image_patch").inputs, return_dict=False)
    assert torch.equal(values[0], output.logits)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["image_classic", "image_multi_label", "image_regression"])
def test_the_loss_is_the_runs(run, load, name, training):
    labels = {
        "image_classic": torch.tensor([2, -100, 1]),
        "image_multi_label": torch.tensor([[1.0, 0, 1], [0, 0, 1], [-100, -100, -100]]),
        "image_regression": torch.tensor([[30.0, 1.6], [-100, -100], [50, 1.9]]),
    }[name]
    model, task = load(name).train(training), copy.deepcopy(run(name).task).train(training)
    expected = task({**run(name).inputs, "labels": labels}).loss
    assert torch.allclose(model(**run(name).inputs, labels=labels).loss, expected, atol=1e-6)


def test_the_language_loss_is_the_runs(run, load):
    ids = torch.randint(256, (2, 9), generator=torch.Generator().manual_seed(0))
    labels = ids.masked_fill(ids < 60, -100)
    expected = run("language").task({"input_ids": ids, "labels": labels}).loss
    assert torch.allclose(load("language")(ids, labels=labels).loss, expected, atol=1e-6)


def test_a_new_head_forgets_what_belonged_to_the_old_one(run, load):
    model = load("image_classic", num_labels=7, ignore_mismatched_sizes=True)
    output = model(**run("image_classic").inputs, labels=torch.tensor([6, 0, 3]))
    assert output.logits.shape == (3, 7) and output.loss.isfinite()


def test_checkpointing_changes_no_gradient(run, load):
    def gradient(model):
        model.train()(**run("image_patch").inputs, labels=torch.tensor([0, 1, 2])).loss.backward()
        return model.model.tokenizers["image"].project.weight.grad

    expected, model = gradient(load("image_patch")), load("image_patch")
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing and model.model.backbone.checkpointing
    assert torch.allclose(gradient(model), expected, atol=1e-7)
    model.gradient_checkpointing_disable()
    assert not model.model.backbone.checkpointing


class Few(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.mark.parametrize("name", ["image_patch", "language"])
def test_trainer_learns_and_what_it_saves_loads(run, load, tmp_path, name):
    model, inputs = load(name), run(name).inputs
    inputs = {**inputs, "labels": inputs["input_ids"] if name == "language" else torch.tensor([0, 1, 2])}
    rows = Few([{key: value[i] for key, value in inputs.items()} for i in range(3)])
    args = transformers.TrainingArguments(
        str(tmp_path / "run"), max_steps=2, use_cpu=True, report_to="none", disable_tqdm=True,
        gradient_checkpointing=True, learning_rate=0.01,
    )  # fmt: skip
    before = model.head.weight.detach().clone()
    trainer = transformers.Trainer(model, args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] > 0
    assert not torch.equal(before, model.head.weight)
    trainer.save_model(str(tmp_path / "again"))
    assert (tmp_path / "again" / "modeling_unimodal.py").exists()
    again = type(model).from_pretrained(tmp_path / "again")
    assert torch.equal(again.head.weight, model.head.weight)


@pytest.mark.parametrize("name", ["language", "language_tied"])
def test_new_tokens_are_read_written_and_saved(load, tmp_path, name):
    model = load(name)
    model.resize_token_embeddings(260)
    ids = torch.tensor([[259, 4, 5]])
    logits = model(ids).logits
    assert logits.shape[-1] == 260
    model.save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path)(ids).logits, logits)


def test_a_fresh_model_starts_as_every_run_does(run, exported):
    config = transformers.AutoConfig.from_pretrained(exported("image_registers"))
    model = transformers.AutoModelForImageClassification.from_config(config)
    for block in model.model.backbone.blocks:
        assert not block.attention.out.weight.any() and not block.mlp.down.weight.any()
        assert block.attention.query.weight.std() > 0.05
    assert 0.01 < model.model.backbone.registers.std() < 0.03


def test_videos_have_two_names(run, load):
    model, inputs = load("video_tubelet"), run("video_tubelet").inputs
    assert torch.equal(model(**inputs).logits, model(pixel_values_videos=inputs["pixel_values"]).logits)


@torch.no_grad()
def test_a_joint_model_takes_parts_in_any_order(run, load):
    """The same items, image, text and audio of two samples, the second backwards."""
    model, made = load("joint"), run("joint")
    plain = {key: made.inputs[key][:2] for key in ("pixel_values", "input_ids")}
    plain["input_values"] = made.inputs["input_values"][:2, :300]
    parts = torch.tensor([[0, 1, 2], [2, 1, 0]])
    given = model(**plain, parts=parts).logits
    torch.testing.assert_close(given, made.task.outputs({**plain, "parts": parts}), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(given[:1], model(**plain).logits[:1], atol=1e-5, rtol=1e-5)
    assert (given[1] - model(**plain).logits[1]).abs().max() > 1e-4


def test_any_of_a_joint_models_modalities_is_enough(run, load):
    model, inputs = load("joint"), run("joint").inputs
    assert model(pixel_values=inputs["pixel_values"]).logits.shape == (3, 3)
    sound = {"input_values": inputs["input_values"], "attention_mask": inputs["input_values_mask"]}
    named = {"input_values": inputs["input_values"], "input_values_mask": inputs["input_values_mask"]}
    assert torch.equal(model(**sound).logits, model(**named).logits)


def test_what_no_tokenizer_reads_is_named(run, load):
    with pytest.raises(ValueError, match="batch has none of pixel_values"):
        load("image_patch")(input_values=torch.zeros(1, 400))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_on_either_side_changes_no_text(load, padding):
    model, ids = load("text_classic"), torch.randint(256, (1, 6), generator=torch.Generator().manual_seed(0))
    side = (3, 0) if padding == "left" else (0, 3)
    padded = torch.nn.functional.pad(ids, side, value=7)
    mask = torch.nn.functional.pad(torch.ones_like(ids), side)
    with torch.no_grad():
        assert torch.allclose(model(padded, mask).logits, model(ids).logits, atol=1e-5)


def test_models_copy_and_pickle(run, load):
    model, inputs = load("image_patch", attn_implementation="eager"), run("image_patch").inputs
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(**inputs).logits, model(**inputs).logits)
        assert other.attention.config is other.config
