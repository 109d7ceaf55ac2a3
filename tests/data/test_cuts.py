"""Which inputs are cut, by field."""

import numpy as np
import pytest
import soundfile
import torch

from unimodal.data.cuts import cut_fields, noting_cuts
from unimodal.data.decoding.encoded import Encoded
from unimodal.data.media import fit_audio
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.tasks.captions import CaptionPreprocess
from unimodal.tokenizers.audio import AudioPreprocess
from unimodal.tokenizers.text import TextPreprocess
from unimodal.types import Waveform

AUDIO = AudioPreprocess(8000, 0.5, 80, 40)


def text_preprocess(max_len):
    vocabulary = byte_vocabulary(Source())
    return TextPreprocess(vocabulary["tokenizer"], vocabulary["eos_token"], max_len)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40, 400])
def test_a_text_is_cut_where_it_has_more_tokens_than_max_len(length):
    preprocess = text_preprocess(16)
    assert preprocess.is_cut({"text": "a" * length}) == (length > 16)
    assert len(preprocess({"text": "a" * length})["input_ids"]) == min(length, 16)


@pytest.mark.parametrize(
    ("prompt", "text", "cut"), [(8, 7, False), (8, 8, True), (9, 1, True), (0, 15, False)]
)
def test_a_caption_is_cut_where_prompt_start_and_text_do_not_fit(prompt, text, cut):
    preprocess = CaptionPreprocess(text_preprocess(16))
    assert preprocess.is_cut({"prompt": "p" * prompt, "text": "t" * text}) == cut


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 44_101])
@pytest.mark.parametrize("extra", [-1, 0, 1, 4000])
def test_a_sound_is_cut_where_its_file_is_longer(tmp_path, rate, extra):
    num = round(0.5 * rate) + extra
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, num), rate)
    raw = {"audio": Encoded(path=str(tmp_path / "a.wav"))}
    assert cut_fields(raw, fit_audio(raw, AUDIO), {"audio": AUDIO}) == ({"audio"} if extra > 0 else set())


def test_parts_are_looked_at_one_by_one():
    preprocess = {"text": text_preprocess(4), "audio": AUDIO}
    raw = {"parts": [{"text": "long text"}, {"audio": Waveform(torch.zeros(100), 8000)}]}
    assert cut_fields(raw, raw, preprocess) == {"text"}
    whole = {"text": None, "audio": Waveform(torch.zeros(5000), 8000)}
    fitted = {"parts": [{"audio": Waveform(torch.zeros(4000), 8000)}]}
    assert cut_fields(whole, fitted, preprocess) == {"audio"}


def test_samples_note_what_is_cut_only_while_someone_counts():
    samples = PreparedSamples([{"text": "too long"}, {"text": "a"}], {"text": text_preprocess(4)})
    for index, found in ((0, {"text"}), (1, set()), (0, {"text"})):
        with noting_cuts() as noted:
            samples[index]
        assert noted == found
    assert samples[0]["text"] == "too long"
