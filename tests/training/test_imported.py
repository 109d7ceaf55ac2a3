"""`pretrained=` of a Hugging Face folder: sizes, knobs, tokenizer and preprocessing come from it."""

import csv
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unimodal.training import build, checkpoints
from unimodal.training.export.export import export
from unimodal.training.pretrained.adopt import adopt
from unimodal.training.pretrained.start import make_start
from unimodal.training.train import train

H = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DIGITS = {"id2label": dict(enumerate(map(str, range(10)))), "label2id": {str(i): i for i in range(10)}}
TEXT = {"vocab_size": 300, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 256}
SHORT = ("debug=fast", "logger=csv", "trainer=cpu", "trainer.precision=32-true")


def write_tokenizer(folder):
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    hf.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|endoftext|>").save_pretrained(folder)


def vit():
    config = hf.ViTConfig(**H, image_size=16, patch_size=4, **DIGITS)
    return hf.ViTForImageClassification(config), hf.ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.2] * 3, image_std=[0.4] * 3
    )


def ast():
    sizes = {"num_mel_bins": 32, "max_length": 64}
    config = hf.ASTConfig(**H, **sizes, patch_size=8, frequency_stride=8, time_stride=8)
    return hf.ASTForAudioClassification(config), hf.ASTFeatureExtractor(**sizes, sampling_rate=8000)


def videomae():
    config = hf.VideoMAEConfig(**H, image_size=16, patch_size=8, num_frames=4)
    processor = hf.VideoMAEImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False)
    return hf.VideoMAEForVideoClassification(config), processor


def gpt2():
    config = hf.GPT2Config(**TEXT, n_embd=32, n_layer=2, n_head=4, n_positions=48)
    return hf.GPT2LMHeadModel(config), None


def llama():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**H, **TEXT, num_key_value_heads=2)), None


STOCK = {"vit": vit, "ast": ast, "videomae": videomae, "gpt2": gpt2, "llama": llama}
MODALITY = {"vit": "image", "ast": "audio", "videomae": "video", "gpt2": "text", "llama": "text"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder for each of `STOCK`, as `save_pretrained` writes it."""
    root = tmp_path_factory.mktemp("stock")
    for name, make in STOCK.items():
        torch.manual_seed(0)
        model, processor = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(root / name)
        if processor is None:
            write_tokenizer(root / name)
        else:
            processor.save_pretrained(root / name)
    return root


@pytest.fixture
def adopted(configure, folders, tmp_path):
    """A run's config as the command line makes it."""

    def _adopted(name, *overrides, output="run"):
        typed = [override.lstrip("+").partition("=")[0] for override in overrides]
        config = configure(*SHORT, f"pretrained={folders / name}", f"output={tmp_path / output}", *overrides)
        return adopt(config, typed)

    return _adopted


def test_sizes_knobs_and_preprocessing_are_the_folders(adopted):
    config = adopted("vit", "modality=image")
    assert (config["backbone"]["dim"], config["backbone"]["depth"]) == (32, 2)
    assert config["backbone"]["block"] == config["block"]
    assert config["block"]["norm"] == "layer"
    assert config["tokenizer"]["patch_size"] == 4
    assert config["tokenizer"]["mean"] == pytest.approx([0.2] * 3)
    assert config["task"]["pooling"]["_target_"].endswith("FirstPooling")


def test_what_was_typed_stands_above_the_folder(adopted):
    config = adopted("vit", "modality=image", "tokenizer.image_size=8", "task/pooling=mean")
    assert config["tokenizer"]["image_size"] == 8
    assert config["tokenizer"]["patch_size"] == 4
    assert config["task"]["pooling"]["_target_"].endswith("MeanPooling")


def test_a_typed_tokenizer_takes_the_place_of_the_folders(adopted):
    config = adopted("vit", "tokenizer=image_conv")
    assert config["tokenizer"]["_target_"].endswith("ImageConvTokenizer")
    assert config["tokenizer"]["dim"] == 32


def test_sizes_can_not_be_typed(adopted):
    with pytest.raises(ValueError, match=r"backbone= is decided by pretrained=.*vit; drop it"):
        adopted("vit", "modality=image", "backbone=small")


def test_a_folder_that_reads_something_else_must_be_meant(adopted):
    with pytest.raises(ValueError, match="reads text, this run image; set modality=text, or modality=image"):
        adopted("gpt2")


def test_blocks_without_rotary_positions_get_learned_ones_in_another_modality(adopted):
    assert adopted("vit", "modality=audio")["tokenizer"]["learned_positions"] is True
    assert adopted("llama", "modality=audio")["tokenizer"]["learned_positions"] is False


def test_a_language_models_blocks_stay_causal_in_another_modality(adopted):
    config = adopted("llama", "modality=image")
    assert config["task"]["causal"] is True
    assert config["task"]["pooling"]["_target_"].endswith("LastPooling")


def test_a_mere_limit_of_the_context_is_not_raised_but_learned_positions_are_the_folders(adopted):
    assert adopted("llama", "modality=text")["tokenizer"]["max_len"] == 256
    assert adopted("gpt2", "modality=text", "task.sample_len=8")["tokenizer"]["max_len"] == 48


def test_a_kept_head_gives_the_stock_models_answers(adopted, folders):
    config = adopted("vit", "modality=image", "keep_head=true")
    source = build.make_source(config)
    _, task, _ = make_start(config, source)
    stock = hf.ViTForImageClassification.from_pretrained(folders / "vit")
    processor = hf.AutoImageProcessor.from_pretrained(folders / "vit")
    datamodule = build.make_datamodule(config, source, task)
    batch = next(iter(datamodule.val_dataloader()))
    pictures = [source.split("val")[i]["image"] for i in range(4)]
    pixels = processor(images=[p.permute(1, 2, 0).numpy() for p in pictures], return_tensors="pt")
    with torch.no_grad():
        expected = stock(**pixels).logits
        ours = task.eval().outputs({"pixel_values": batch["pixel_values"][:4]})
    assert float((ours - expected).abs().max()) < 1e-5


def test_a_head_of_other_classes_can_not_be_kept(adopted):
    config = adopted("videomae", "modality=video", "keep_head=true")
    with pytest.raises(
        ValueError, match=r"keep_head=true, but head.weight of .* does not fit: 8 classes here"
    ):
        make_start(config, build.make_source(config))


def test_a_kept_language_model_predicts_as_the_stock_model(adopted, folders):
    config = adopted("llama", "modality=text", "task.sample_len=8")
    _, task, _ = make_start(config, build.make_source(config))
    stock = hf.LlamaForCausalLM.from_pretrained(folders / "llama")
    ids = torch.randint(0, 256, (2, 20))
    with torch.no_grad():
        difference = task.eval().outputs({"input_ids": ids}) - stock(ids).logits
    assert float(difference.abs().max()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", STOCK)
def test_adapters_on_an_imported_model_train_export_and_load_again(name, adopted, configure, tmp_path):
    short = ("task.sample_len=8", "tokenizer.max_len=48") if MODALITY[name] == "text" else ()
    config = adopted(name, f"modality={MODALITY[name]}", "finetune=lora", *short)
    train(config, tmp_path / "run")
    folder = tmp_path / "out"
    request = configure(f"checkpoint={tmp_path / 'run'}", f"output={folder}", "num_samples=2", verb="export")
    export(request)  # which compares it with the run in a process of its own
    stock = hf.AutoConfig.from_pretrained(folder)
    assert stock.architectures == [type(STOCK[name]()[0]).__name__]
    assert not list(folder.glob("*.py"))


def test_a_run_goes_on_without_the_folder_that_it_came_from(adopted, configure, folders, tmp_path):
    shutil.copytree(folders / "vit", tmp_path / "copy")
    overrides = (*SHORT, "modality=image", f"output={tmp_path / 'run'}", f"pretrained={tmp_path / 'copy'}")
    train(adopt(configure(*overrides), ["modality"]), tmp_path / "run")
    shutil.rmtree(tmp_path / "copy")
    (tmp_path / "run" / "metrics.json").unlink()  # as if it had been cut off at the end
    figures = train(adopt(configure(*overrides), ["modality"]), tmp_path / "run")
    assert figures["steps"] == 4
    saved, _ = checkpoints.load(tmp_path / "run")
    assert saved["backbone"]["dim"] == 32


@pytest.fixture
def pictures_and_words(tmp_path):
    """A table whose label neither the picture nor the word tells alone."""
    generator = np.random.default_rng(0)
    with open(tmp_path / "table.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "text", "label"])
        for i in range(80):
            bright, word = generator.integers(0, 2, 2)
            noise = generator.integers(0, 30, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(np.full((16, 16, 3), 60 + 130 * bright, np.uint8) + noise).save(
                tmp_path / f"{i}.png"
            )
            rows.writerow(
                [f"{i}.png", f"{('dark', 'light')[word]} {i}", ("other", "same")[int(bright == word)]]
            )
    return tmp_path / "table.csv"


@pytest.mark.slow
def test_a_language_model_reads_pictures_beside_its_own_text(
    adopted, configure, pictures_and_words, tmp_path
):
    columns = ("data.columns.image=image", "data.columns.text=text")
    run = ("debug=none", "augment=none", "trainer.max_epochs=30", "optimizer.lr=3e-3", "loader.batch_size=20")
    config = adopted(
        "gpt2",
        "modality=image",
        "beside=own",
        "data=table",
        f"data.path={pictures_and_words}",
        *columns,
        *run,
    )
    figures = train(config, tmp_path / "run")
    assert figures["val/accuracy"] > 0.9
    request = (f"checkpoint={tmp_path / 'run'}", "num_samples=2")
    export(configure(*request, f"output={tmp_path / 'both'}", verb="export"))
    both = hf.AutoConfig.from_pretrained(tmp_path / "both", trust_remote_code=True)
    assert list(both.tokenizers) == ["image", "text"]
    export(configure(*request, f"output={tmp_path / 'one'}", "only=text", verb="export"))
    one = hf.AutoConfig.from_pretrained(tmp_path / "one", trust_remote_code=True)
    assert list(one.tokenizers) == ["text"]


@pytest.mark.parametrize("form", ["auto", "portable"])
@pytest.mark.parametrize(
    "name", ["vit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "llama"))]
)
def test_an_export_is_the_start_of_another_run(name, form, adopted, configure, tmp_path):
    short = ("task.sample_len=8", "tokenizer.max_len=48") if MODALITY[name] == "text" else ()
    overrides = (f"modality={MODALITY[name]}", *short)
    train(adopted(name, *overrides), tmp_path / "run")
    folder = tmp_path / "out"
    request = (f"checkpoint={tmp_path / 'run'}", f"output={folder}", f"format={form}", "num_samples=2")
    export(configure(*request, verb="export"))
    config = configure(
        *SHORT, *overrides, f"pretrained={folder}", f"output={tmp_path / 'next'}", "keep_head=true"
    )
    config = adopt(config, [override.partition("=")[0] for override in overrides])
    source = build.make_source(config)
    _, again, _ = make_start(config, source)
    saved, weights = checkpoints.load(tmp_path / "run")
    first = build.restore_task(saved, weights)
    batch = next(iter(build.make_datamodule(config, source, again).val_dataloader()))
    with torch.no_grad():
        assert torch.equal(first.eval()(batch).logits, again.eval()(batch).logits)
