from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from unimodal.backbone.transformer import Transformer
from unimodal.tokenizers.text import TextPreprocess, TextTokenizer

ROUND_TRIP = ["text_byte", "text_bpe", "text_character"]
AWKWARD = [
    "the cat sat",
    " leading and trailing  spaces ",
    "tabs\t, newlines\r\n\n and \x00 control",
    "emoji \U0001f469‍\U0001f469‍\U0001f467 \U0001f1e9\U0001f1ea é vs é",
    "中文, العربية, ζ",
    "literally <0x41> and <|endoftext|>",
    "<|endoftext|>",
    "",
]


@pytest.fixture(params=ROUND_TRIP)
def text_tokenizer(request, named_tokenizer):
    return named_tokenizer(request.param)


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_decode_undoes_encode(text_tokenizer, text):
    preprocess = text_tokenizer.preprocess
    assert preprocess.decode(preprocess.encode(text).ids) == text


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_ids_lie_in_the_vocabulary_and_the_text_never_says_eos(text_tokenizer, text):
    ids = text_tokenizer.preprocess.encode(text).ids
    assert all(0 <= i < text_tokenizer.vocab_size for i in ids)
    assert text_tokenizer.preprocess.eos_id not in ids


def test_special_tokens_are_left_out_of_the_decoded_text(text_tokenizer):
    preprocess = text_tokenizer.preprocess
    ids = [*preprocess.encode("the").ids, preprocess.eos_id]
    assert preprocess.decode(ids) == "the"


def test_bytes_are_one_token_each(named_tokenizer):
    preprocess = named_tokenizer("text_byte").preprocess
    for text in AWKWARD:
        assert len(preprocess.encode(text).ids) == len(text.encode())


def test_bpe_is_shorter_than_bytes_on_what_it_was_trained_on(named_tokenizer):
    model = named_tokenizer("text_bpe")
    assert len(model.preprocess.encode("the cat sat on the mat.").ids) < 12
    assert model.vocab_size <= 1024


def test_known_characters_are_one_token_each(named_tokenizer):
    preprocess = named_tokenizer("text_character").preprocess
    assert len(preprocess.encode("naïve cat").ids) == 9
    assert len(preprocess.encode("中").ids) == 3  # not in the training text: its bytes


@pytest.mark.parametrize("name", [*ROUND_TRIP, "text_pretrained"])
def test_an_empty_text_is_one_end_of_text(named_tokenizer, name):
    preprocess = named_tokenizer(name).preprocess
    assert preprocess({"text": ""})["input_ids"].tolist() == [preprocess.eos_id]


def test_a_long_text_is_cut(named_tokenizer):
    preprocess = named_tokenizer("text_byte", max_len=5).preprocess
    ids = preprocess({"text": "the cat"})["input_ids"]
    assert ids.dtype == torch.int64 and ids.tolist() == preprocess.encode("the c").ids


def test_every_id_of_a_pretrained_tokenizer_has_an_embedding(named_tokenizer):
    model = named_tokenizer("text_pretrained")  # its ids have holes
    batch = {"input_ids": model.preprocess({"text": "the cat dog x"})["input_ids"][None]}
    assert batch["input_ids"].tolist() == [[7, 9, 0, 3]]
    assert model.vocab_size == 10
    assert torch.equal(model(batch).embeds[0], model.embedding.weight[batch["input_ids"][0]])


def test_a_pretrained_tokenizers_own_padding_and_truncation_are_off(named_tokenizer):
    preprocess = named_tokenizer("text_pretrained").preprocess
    fast = preprocess.fast
    fast.enable_truncation(2)
    fast.enable_padding(length=8)
    copy = replace(preprocess, tokenizer=fast.to_str())
    fast.no_truncation()
    fast.no_padding()
    assert copy.encode("the cat x").ids == preprocess.encode("the cat x").ids == [7, 9, 3]


def test_tokens_stand_at_their_place_on_all_axes(named_tokenizer):
    tokens = named_tokenizer("text_byte")({"input_ids": torch.zeros(2, 5, dtype=torch.long)})
    assert tokens.positions.tolist() == [[[p] * 3 for p in range(5)]]


def test_position_ids_place_tokens_and_choose_their_learned_positions(named_tokenizer):
    model = named_tokenizer("text_byte", learned_positions=True)
    places = torch.tensor([[3, 4, 5], [0, 1, 2]])
    tokens = model({"input_ids": torch.ones(2, 3, dtype=torch.long), "position_ids": places})
    assert torch.equal(tokens.positions, places.float()[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(tokens.embeds, model.embedding.weight[1] + model.position_table[places])


def test_padding_by_hand_changes_no_real_token(named_tokenizer, randomise):
    model, reader = named_tokenizer("text_byte"), randomise(Transformer(32, 2, 4)).eval()
    ids, mask = torch.arange(10).view(2, 5), torch.tensor([[1, 1, 1, 0, 0], [1] * 5])
    together = reader(model({"input_ids": ids, "attention_mask": mask}))
    assert together.padded and torch.equal(together.mask, mask.bool())
    alone = reader(model({"input_ids": ids[:1, :3]}))
    torch.testing.assert_close(together.embeds[:1, :3], alone.embeds, atol=1e-5, rtol=1e-5)


def test_packed_texts_keep_their_segments(named_tokenizer, randomise):
    model = named_tokenizer("text_byte", learned_positions=True)
    reader = randomise(Transformer(32, 2, 4)).eval()
    ids, segments = torch.arange(7)[None], torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
    places = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    packed = reader(model({"input_ids": ids, "position_ids": places, "segments": segments})).embeds
    separate = [reader(model({"input_ids": part})).embeds for part in ids.split([3, 4], 1)]
    torch.testing.assert_close(packed, torch.cat(separate, 1), atol=1e-5, rtol=1e-5)


def test_packed_texts_have_no_place_for_prefix_tokens(named_tokenizer):
    model = named_tokenizer("text_byte", num_prefix_tokens=1)
    with pytest.raises(ValueError, match=r"tokenizer.num_prefix_tokens"):
        model({"input_ids": torch.arange(4)[None], "segments": torch.zeros(1, 4, dtype=torch.long)})


def test_an_id_outside_the_vocabulary_is_refused(named_tokenizer):
    model = named_tokenizer("text_byte")
    with pytest.raises(ValueError, match=f"input_ids has 300; .* vocab_size={model.vocab_size}"):
        model({"input_ids": torch.tensor([[300]])})


@pytest.mark.parametrize("places", [None, torch.arange(60, 66)[None]], ids=["long", "late"])
def test_a_place_beyond_the_learned_positions_is_refused(named_tokenizer, places):
    model = named_tokenizer("text_byte", learned_positions=True)  # 64 of them
    batch = {"input_ids": torch.zeros(1, 65 if places is None else 6, dtype=torch.long)}
    if places is not None:
        batch["position_ids"] = places
    with pytest.raises(ValueError, match="learned positions only 64"):
        model(batch)


def test_an_unknown_end_of_text_names_its_knob(named_tokenizer):
    json = named_tokenizer("text_byte").preprocess.tokenizer
    with pytest.raises(ValueError, match=r"'</nope>'; set tokenizer.vocabulary.eos_token"):
        TextTokenizer(32, {"tokenizer": json, "eos_token": "</nope>"})


def test_cutting_spares_what_stands_around_a_text():
    fast = Tokenizer(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "a": 2}, unk_token="a"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [("[CLS]", 0), ("[SEP]", 1)]
    fast.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    preprocess = TextPreprocess(fast.to_str(), "[SEP]", max_len=4)
    assert preprocess({"text": "a a a a a"})["input_ids"].tolist() == [0, 2, 2, 1]
