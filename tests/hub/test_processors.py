"""Raw media once through our path, once through the stock processor of the written folder."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    AutoVideoProcessor,
)

from unimodal.data.media import FIT
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary, character_vocabulary
from unimodal.hub.processors import write_processors
from unimodal.hub.processors.text import check_text, write_prompts
from unimodal.hub.trained import Trained
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.audio_spectrogram import AudioSpectrogramTokenizer
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.tokenizers.video import VideoTubeletTokenizer
from unimodal.types import Waveform

MEAN, STD = [0.4814, 0.4578, 0.4082], [0.2686, 0.2613, 0.2758]
TEXTS = [
    "the cat sat on the mat.",
    "<endoftext> is no end of text",
    "a\r\nb\rc\n\n\td  e ",
    "\ufeffnaïve café \U0001f600\U0001f469\u200d\U0001f4bb \u4f60\u597d",
    "don 't join this .",
    "  ",
]


KINDS = (
    ImagePatchTokenizer,
    VideoTubeletTokenizer,
    TextTokenizer,
    AudioSpectrogramTokenizer,
    AudioWhisperTokenizer,
)


def node(kind, **knobs):
    return {"_target_": f"{kind.__module__}.{kind.__name__}", "dim": 32, **knobs}


def picture_node(**knobs):
    size = {"image_size": [16, 24], "patch_size": 8, "mean": MEAN, "std": STD}
    return node(ImagePatchTokenizer, **size | knobs)


def clip_node(**knobs):
    size = {"num_frames": 4, "image_size": [16, 24], "patch_size": 8, "mean": MEAN, "std": STD}
    return node(VideoTubeletTokenizer, **size | knobs)


def sound_node():
    return node(AudioFrameTokenizer, sample_rate=8000)


def text_node(vocabulary, **knobs):
    return node(TextTokenizer, vocabulary=vocabulary, **knobs)


def written(folder, portable=True, model_type="unimodal", task="Classification", **tokenizers):
    """The folder, as export leaves it but for the weights; a stock class loads from nothing else."""
    trained = Trained({}, tokenizers, {"_target_": f"unimodal.tasks.any.{task}"}, {})
    write_processors(folder, trained, portable)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def built(node):
    kinds = {kind.__name__: kind for kind in KINDS}
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return kinds[node["_target_"].rpartition(".")[2]](**arguments)


def ours(node, field, value):
    """What data and the tokenizer make of a raw value."""
    tokenizer = built(node)
    fitted = FIT[field]({field: value}, tokenizer.preprocess)
    return tokenizer, tokenizer.preprocess(fitted)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def as_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def close(theirs, mine, tolerance=1e-6):
    assert theirs.shape == mine.shape
    assert (theirs - mine).abs().max() <= tolerance


PICTURES = {
    "odd": noise(37, 53, 3),
    "smaller": noise(7, 9, 3),
    "of the size": noise(16, 24, 3),
    "flat": noise(300, 5, 3),
    "grey": noise(37, 53),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_stock_image_processor_gives_our_pixels(tmp_path, name):
    png = as_png(PICTURES[name])
    tokenizer, mine = ours(picture_node(), "image", png)
    stock = AutoImageProcessor.from_pretrained(written(tmp_path, image=picture_node()))
    assert stock.backend == "torchvision"  # what data resizes with
    theirs = stock(Image.open(io.BytesIO(png)), return_tensors="pt")["pixel_values"]
    close(theirs, tokenizer.normalise(mine["pixel_values"][None]))


def test_a_batch_of_pictures_is_prepared_as_each_alone(tmp_path):
    pictures = [Image.fromarray(noise(20, 31, 3, seed=seed)) for seed in range(5)]
    stock = AutoImageProcessor.from_pretrained(written(tmp_path, image=picture_node()))
    together = stock(pictures, return_tensors="pt")["pixel_values"]
    for row, picture in zip(together, pictures, strict=True):
        tokenizer, mine = ours(picture_node(), "image", picture)
        close(row, tokenizer.normalise(mine["pixel_values"]))


@pytest.mark.parametrize("num_frames", [4, 5, 10, 11, 31])
def test_the_portable_video_processor_samples_and_resizes_as_we_do(tmp_path, num_frames):
    clip = noise(num_frames, 37, 53, 3)
    tokenizer, mine = ours(clip_node(), "video", clip)
    stock = AutoVideoProcessor.from_pretrained(written(tmp_path, video=clip_node()))
    theirs = stock(clip, return_tensors="pt")["pixel_values_videos"]
    close(theirs, tokenizer.normalise(mine["pixel_values_videos"][None]))
    pipelines = stock([clip], num_frames=4, do_sample_frames=True, return_tensors="pt")
    assert torch.equal(pipelines["pixel_values_videos"], theirs)


@pytest.mark.parametrize("model_type", ["videomae", "vivit"])
def test_native_video_processors_prepare_the_frames_that_the_model_reads_as_we_do(tmp_path, model_type):
    clip = noise(4, 37, 53, 3)
    tokenizer, mine = ours(clip_node(), "video", clip)
    folder = written(tmp_path, portable=False, model_type=model_type, video=clip_node())
    wanted = tokenizer.normalise(mine["pixel_values_videos"][None])
    video, image = AutoVideoProcessor.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    close(video(clip, return_tensors="pt")["pixel_values"], wanted)
    close(video(clip, num_frames=4, do_sample_frames=True, return_tensors="pt")["pixel_values"], wanted)
    close(image(list(clip), return_tensors="pt")["pixel_values"], wanted)


def test_the_portable_feature_extractor_passes_waveforms(tmp_path):
    rng = np.random.default_rng(0)
    long, short = (rng.uniform(-1, 1, length).astype(np.float32) for length in (500, 300))
    stock = AutoFeatureExtractor.from_pretrained(written(tmp_path, audio=sound_node()))
    batch = stock([long, short], sampling_rate=8000, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_values"][0], torch.from_numpy(long))
    assert torch.equal(batch["input_values"][1, :300], torch.from_numpy(short))
    assert batch["attention_mask"].sum(1).tolist() == [500, 300]
    with pytest.raises(ValueError, match="8000"):
        stock(long, sampling_rate=16_000)


def heard(seconds, rate=16_000):
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 440 * time) + np.random.default_rng(0).normal(0, 0.05, len(time))
    return sound.astype(np.float32)


@pytest.mark.parametrize("seconds", [0.2, 0.665, 2.0])
def test_the_ast_feature_extractor_gives_our_fbank(tmp_path, seconds):
    knobs = {"sample_rate": 16_000, "n_mels": 32, "num_frames": 64, "mean": -5.5, "std": 7.0}
    fbank = node(AudioSpectrogramTokenizer, **knobs)
    folder = written(tmp_path, False, "audio-spectrogram-transformer", audio=fbank)
    stock = AutoFeatureExtractor.from_pretrained(folder)
    assert type(stock).__name__ == "ASTFeatureExtractor"
    theirs = stock(heard(seconds), sampling_rate=16_000, return_tensors="pt")["input_values"]
    tokenizer, mine = ours(fbank, "audio", Waveform(torch.from_numpy(heard(seconds)), 16_000))
    close(theirs, tokenizer.spectrogram({"input_values": mine["input_values"][None]}), 2e-6)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 2.5])
def test_the_whisper_feature_extractor_gives_our_mel(tmp_path, seconds):
    mel = node(AudioWhisperTokenizer, sample_rate=16_000, n_mels=80, num_positions=100)
    stock = AutoFeatureExtractor.from_pretrained(written(tmp_path, False, "whisper", audio=mel))
    theirs = stock(heard(seconds), sampling_rate=16_000, return_tensors="pt")["input_features"]
    tokenizer, mine = ours(mel, "audio", Waveform(torch.from_numpy(heard(seconds)), 16_000))
    close(theirs.transpose(1, 2), tokenizer.spectrogram({"input_values": mine["input_values"][None]}))


def test_whisper_that_hears_no_whole_seconds_is_refused(tmp_path):
    mel = node(AudioWhisperTokenizer, sample_rate=16_000, n_mels=80, num_positions=101)
    with pytest.raises(ValueError, match=r"whole seconds: tokenizer\.num_positions=101"):
        written(tmp_path, False, "whisper", audio=mel)


def test_a_waveform_tokenizer_has_no_native_feature_extractor(tmp_path):
    with pytest.raises(ValueError, match=r"AudioFrameTokenizer reads; .* format=portable"):
        written(tmp_path, portable=False, audio=sound_node())


class Texts(Source):
    def split(self, name):
        return [{"text": text} for text in TEXTS]


def word_vocabulary():
    """A pretrained tokenizer with special tokens of its own, and an end of text that is an ordinary word."""
    words = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "</s>", "the", "cat", "sat"])}
    fast = FastTokenizer(models.WordLevel(words, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    fast.enable_truncation(4)
    fast.enable_padding(length=9)
    return {"tokenizer": fast.to_str(), "eos_token": "</s>"}


VOCABULARIES = {
    "byte": lambda: byte_vocabulary(Texts()),
    "bpe": lambda: bpe_vocabulary(Texts(), 300),
    "character": lambda: character_vocabulary(Texts()),
    "pretrained": word_vocabulary,
}
vocabularies = pytest.mark.parametrize("vocabulary", VOCABULARIES)


@vocabularies
@pytest.mark.parametrize("model_type", ["unimodal", "gpt2", "llama", "qwen3"])
def test_the_stock_tokenizer_gives_our_ids(tmp_path, vocabulary, model_type):
    text = text_node(VOCABULARIES[vocabulary]())
    stock = AutoTokenizer.from_pretrained(written(tmp_path, model_type=model_type, text=text))
    for line in TEXTS:
        _, mine = ours(text, "text", line)
        batch = stock(line)
        assert batch["input_ids"] == mine["input_ids"].tolist()
        assert batch.keys() == {"input_ids", "attention_mask"}
    assert len(stock) == built(text).vocab_size


@pytest.mark.parametrize("vocabulary", ["byte", "bpe", "character"])
@pytest.mark.parametrize("task", ["Classification", "LanguageModeling", "Captioning"])
def test_a_special_token_in_a_text_is_one_token_there_and_plain_text_in_training(tmp_path, vocabulary, task):
    text = text_node(VOCABULARIES[vocabulary]())
    folder = written(tmp_path, task=task, text=text)
    if task == "Captioning":
        write_prompts(folder, text)
    stock, preprocess = AutoTokenizer.from_pretrained(folder), built(text).preprocess
    ids = stock("a<|endoftext|>b", add_special_tokens=False)["input_ids"]
    assert ids == [*preprocess.encode("a").ids, preprocess.eos_id, *preprocess.encode("b").ids]
    assert preprocess.eos_id not in preprocess.encode("a<|endoftext|>b").ids
    stock.add_tokens(["<|im_start|>"], special_tokens=True)  # as for a chat template
    assert len(stock("<|im_start|>", add_special_tokens=False)["input_ids"]) == 1


@vocabularies
def test_stock_tokens_are_cut_and_decoded_as_ours(tmp_path, vocabulary):
    text = text_node(VOCABULARIES[vocabulary](), max_len=5)
    stock = AutoTokenizer.from_pretrained(written(tmp_path, text=text))
    for line in TEXTS:
        tokenizer, mine = ours(text, "text", line)
        assert stock(line, truncation=True)["input_ids"] == mine["input_ids"].tolist()
        ids = tokenizer.preprocess.encode(line).ids
        assert stock.decode(ids, skip_special_tokens=True) == tokenizer.preprocess.decode(ids)


@pytest.mark.parametrize("vocabulary", ["byte", "bpe", "character"])
@pytest.mark.parametrize("model_type", ["unimodal", "gpt2", "llama", "qwen3"])
def test_prompts_of_a_language_model_begin_with_the_end_of_text(tmp_path, vocabulary, model_type):
    text = text_node(VOCABULARIES[vocabulary]())
    folder = written(tmp_path, model_type=model_type, task="LanguageModeling", text=text)
    stock, preprocess = AutoTokenizer.from_pretrained(folder), built(text).preprocess
    assert stock.bos_token_id == stock.eos_token_id == stock.pad_token_id == preprocess.eos_id
    for line in [*TEXTS, ""]:
        mine = preprocess.encode(FIT["text"]({"text": line}, preprocess)["text"]).ids
        assert stock(line)["input_ids"] == [preprocess.eos_id, *mine]  # as tasks.language_modeling does
    padded = stock(["a", "abc"], padding=True)
    assert padded["attention_mask"][0][0] == 0 and padded["attention_mask"][0][-1] == 1


def test_special_tokens_that_a_tokenizer_came_with_stay_as_they_are(tmp_path):
    text = text_node(word_vocabulary())
    stock = AutoTokenizer.from_pretrained(written(tmp_path, task="LanguageModeling", text=text))
    assert stock("the cat")["input_ids"] == [1, 3, 4]
    stock.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again")("the cat")["input_ids"] == [1, 3, 4]


def test_a_family_for_which_transformers_builds_its_own_tokenizer_is_found_out(tmp_path):
    text = text_node(VOCABULARIES["bpe"]())
    AutoConfig.for_model("qwen2").save_pretrained(written(tmp_path, text=text))
    with pytest.raises(ValueError, match="transformers takes Qwen2Tokenizer"):
        check_text(tmp_path, text, False, ["x = 12345\n\n\tcaf\u0065\u0301 "])
    AutoConfig.for_model("qwen3").save_pretrained(tmp_path)
    check_text(tmp_path, text, False, TEXTS)


def test_a_tokenizer_without_a_vocabulary_writes_no_files(tmp_path):
    written(tmp_path, text=text_node(None, vocab_size=8))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_each_auto_class_finds_its_processor_in_a_joint_folder(tmp_path):
    text = text_node(VOCABULARIES["byte"]())
    nodes = {"image": picture_node(image_size=[8, 8]), "video": clip_node(), "audio": sound_node()}
    folder = written(tmp_path, **nodes, text=text)
    assert dict(AutoImageProcessor.from_pretrained(folder).size) == {"height": 8, "width": 8}
    assert dict(AutoVideoProcessor.from_pretrained(folder).size) == {"height": 16, "width": 24}
    assert AutoFeatureExtractor.from_pretrained(folder).sampling_rate == 8000
    assert AutoTokenizer.from_pretrained(folder)("a")["input_ids"]
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "TokenizersBackend"  # the first it finds


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("image", "ViTImageProcessor"),
        ("video", "VideoMAEImageProcessor"),
        ("audio", "Wav2Vec2FeatureExtractor"),
        ("text", "TokenizersBackend"),
    ],
)
def test_auto_processor_finds_the_one_processor_of_a_folder(tmp_path, field, kind):
    nodes = {"image": picture_node, "video": clip_node, "audio": sound_node}
    made = text_node(VOCABULARIES["byte"]()) if field == "text" else nodes[field]()
    stock = AutoProcessor.from_pretrained(written(tmp_path, **{field: made}))
    assert type(stock).__name__ == kind


def test_what_a_node_leaves_out_is_the_tokenizers_default(tmp_path):
    stock = AutoImageProcessor.from_pretrained(written(tmp_path, image=node(ImagePatchTokenizer)))
    assert dict(stock.size) == {"height": 224, "width": 224} and list(stock.image_mean) == [0.5] * 3


def test_a_node_that_its_class_does_not_take_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"image\.ImagePatchTokenizer cannot be read: .*depth"):
        written(tmp_path, image=node(ImagePatchTokenizer, depth=2))
