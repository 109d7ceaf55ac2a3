"""A tokenizer that was imported leaves as it came, and differing ids of AutoTokenizer are reported."""

import json

import pytest
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from unimodal.data.tokenizer_files import FILES, GENERATION
from unimodal.data.vocabulary import pretrained_vocabulary
from unimodal.hub.folder import Folder
from unimodal.hub.generation import write_generation
from unimodal.hub.processors import write_processors
from unimodal.hub.reading import read_folder
from unimodal.hub.trained import CAPTIONING, CLASSIFICATION, LANGUAGE_MODELING, Trained
from unimodal.tokenizers.text import TextTokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
START, END = SPECIAL[1:]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\r\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
CHAT = [{"role": "user", "content": "The Cat sat"}]
TEXTS = ["The Cat sat on the mat.", f"{START}user\nThe Cat 12{END}\n", "caf\u00e9\r\n", ""]


def tokenizer_json(lower):
    """In the shape of SmolLM2's: byte-level, chat tokens that are special, no start token before a text."""
    fast = FastTokenizer(models.BPE())
    fast.normalizer = normalizers.Lowercase() if lower else None
    digits = pre_tokenizers.Digits(individual_digits=True)
    fast.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    fast.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    fast.train_from_iterator(["the cat sat on the mat, 12 times"] * 5, trainer)
    return json.dumps(json.loads(fast.to_str()), indent=2, ensure_ascii=False)


@pytest.fixture
def smol(tmp_path):
    """A folder of a small model with such a tokenizer."""

    def _smol(lower=False, **settings):
        folder = tmp_path / "smol"
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = LlamaConfig(**sizes, vocab_size=300, bos_token_id=1, eos_token_id=2, pad_token_id=2)
        LlamaForCausalLM(config).save_pretrained(folder)
        GenerationConfig(do_sample=True, temperature=0.2, top_p=0.9, eos_token_id=[2, 0]).save_pretrained(
            folder
        )
        tokens = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": SPECIAL[0]}
        more = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 8192, "add_prefix_space": False}
        files = {
            "tokenizer.json": tokenizer_json(lower),
            "tokenizer_config.json": json.dumps({**tokens, **more, **settings}, indent=2),
            "special_tokens_map.json": json.dumps({**tokens, "additional_special_tokens": [START, END]}),
            "chat_template.jinja": TEMPLATE,
        }
        for name, text in files.items():
            (folder / name).write_bytes(text.encode())
        return folder

    return _smol


def exported(folder, imported, target=LANGUAGE_MODELING, portable=True, **settings):
    """The tokenizer's files of a run from this folder."""
    text = {**imported.tokenizers["text"], **settings}
    trained = Trained(imported.backbone, {"text": text}, {"_target_": target}, {})
    folder.mkdir()
    write_processors(folder, trained, portable)
    if target == LANGUAGE_MODELING:
        write_generation(folder, trained)
    (folder / "config.json").write_text(json.dumps({"model_type": "unimodal" if portable else "llama"}))
    return folder


def read(folder):
    return read_folder(Folder(folder, "a folder"), "text")


@pytest.mark.parametrize("portable", [True, False])
def test_an_imported_tokenizer_leaves_unchanged(smol, tmp_path, portable):
    folder = smol()
    there = exported(tmp_path / "there", read(folder), portable=portable)
    kept = {name for name in (*FILES, GENERATION) if (folder / name).exists()}
    assert kept == {"added_tokens.json"} ^ {*FILES, GENERATION}
    for name in kept:
        assert (there / name).read_bytes() == (folder / name).read_bytes()
    before, after = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(there)
    for text in TEXTS:
        assert after(text) == before(text)
    assert after(START)["input_ids"] == [1] and after.chat_template == TEMPLATE.replace("\r", "")
    asked = [one.apply_chat_template(CHAT, tokenize=False) for one in (before, after)]
    assert asked[0] == asked[1] and START in asked[0]


def test_special_tokens_in_a_text_stay_plain_text_in_training(smol):
    text = TextTokenizer(dim=8, **{"vocabulary": read(smol()).tokenizers["text"]["vocabulary"]})
    ids = text.preprocess({"text": f"{START}user{END}"})["input_ids"]
    assert not {0, 1, 2} & set(ids.tolist()) and text.preprocess.decode(ids.tolist()) == f"{START}user{END}"


def test_what_was_exported_is_imported_and_exported_alike(smol, tmp_path):
    first = exported(tmp_path / "first", read(smol()), portable=False)
    (first / "config.json").write_bytes((tmp_path / "smol" / "config.json").read_bytes())
    second = exported(tmp_path / "second", read(first), portable=False)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", GENERATION):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_another_task_keeps_the_files_too(smol, tmp_path):
    folder = smol()
    there = exported(tmp_path / "there", read(folder), CLASSIFICATION)
    for name in FILES:
        assert name == "added_tokens.json" or (there / name).read_bytes() == (folder / name).read_bytes()
    assert not (there / GENERATION).exists()


def test_a_captioner_adds_only_the_end_of_text_behind_a_prompt(smol, tmp_path):
    folder = smol()
    before = AutoTokenizer.from_pretrained(folder)
    after = AutoTokenizer.from_pretrained(exported(tmp_path / "there", read(folder), CAPTIONING))
    for text in TEXTS:
        assert after(text)["input_ids"] == [*before(text)["input_ids"], 2]
    assert after.padding_side == "left" and after.chat_template == TEMPLATE.replace("\r", "")


def test_learned_positions_cut_earlier_than_the_files_say(smol, tmp_path):
    node = {"learned_positions": True, "max_len": 16}
    after = AutoTokenizer.from_pretrained(exported(tmp_path / "there", read(smol()), **node))
    assert after.model_max_length == 16 and after.chat_template == TEMPLATE.replace("\r", "")


def test_code_that_a_file_names_does_not_leave(smol, tmp_path):
    folder = smol(auto_map={"AutoTokenizer": ["evil--x.Evil", None]})
    there = exported(tmp_path / "there", read(folder))
    assert "evil" not in (there / "tokenizer_config.json").read_text()


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer"])
def test_ids_that_auto_tokenizer_gives_otherwise_are_reported(smol, tmp_path, kind):
    imported = read(smol(lower=True, tokenizer_class=kind))
    assert "\n" not in imported.note and f"AutoTokenizer ({kind})" in imported.note
    assert "the ids of a folder/tokenizer.json" in imported.note
    after = AutoTokenizer.from_pretrained(exported(tmp_path / "there", imported))
    ids = TextTokenizer(dim=8, vocabulary=imported.tokenizers["text"]["vocabulary"]).preprocess.encode(
        "The Cat"
    )
    assert after("The Cat")["input_ids"] == ids.ids  # the export follows the run


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "PreTrainedTokenizerFast"])
def test_nothing_is_reported_where_the_ids_are_the_same(smol, kind, caplog):
    folder = smol(tokenizer_class=kind)
    assert read(folder).note == ""
    pretrained_vocabulary(None, str(folder))
    assert not caplog.records


def test_a_named_tokenizer_leaves_unchanged_and_its_ids_are_reported(smol, tmp_path, caplog):
    folder = smol(lower=True)
    vocabulary = pretrained_vocabulary(None, str(folder))
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("unimodal")]
    assert "AutoTokenizer (GPT2Tokenizer)" in line and "this run has the ids of AutoTokenizer" in line
    there = exported(tmp_path / "there", read(folder), vocabulary=vocabulary)
    before, after = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(there)
    preprocess = TextTokenizer(dim=8, vocabulary=vocabulary).preprocess
    assert after("The Cat")["input_ids"] == before("The Cat")["input_ids"] == preprocess.encode("The Cat").ids
    for name in FILES:
        assert name == "added_tokens.json" or (there / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((there / GENERATION).read_text())["eos_token_id"] == 2  # a model of its own


def test_a_lower_casing_file_with_a_class_that_reads_it_is_no_difference(smol):
    assert read(smol(lower=True, tokenizer_class="PreTrainedTokenizerFast")).note == ""
