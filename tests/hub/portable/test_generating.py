"""`generate` with transformers' cache, against the run and against no cache."""

import pytest
import torch
import transformers

import unimodal.hub.portable  # noqa: F401  # registers the classes

NAMES = ["language", "language_tied", "language_registers", "language_window"]
IDS = torch.randint(256, (3, 5), generator=torch.Generator().manual_seed(3))
MASK = (torch.arange(5) >= torch.tensor([0, 2, 1])[:, None]).long()


@pytest.fixture
def load(exported):
    def _load(name):
        return transformers.AutoModelForCausalLM.from_pretrained(exported(name))

    return _load


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_cache_changes_nothing(load, name, beams):
    model = load(name)
    options = {"attention_mask": MASK, "num_beams": beams, "do_sample": False, "max_new_tokens": 6}
    with_cache = model.generate(IDS, **options, use_cache=True)
    without = model.generate(IDS, **options, use_cache=False)
    assert torch.equal(with_cache, without)


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_grows_by_the_tokens_that_were_read(load, name):
    model = load(name)
    with torch.no_grad():
        whole = model(IDS, attention_mask=MASK).logits
        first = model(IDS[:, :3], attention_mask=MASK[:, :3], use_cache=True)
        past = first.past_key_values
        assert past.get_seq_length() == 3
        rest = model(IDS[:, 3:], attention_mask=MASK, past_key_values=past).logits
    assert past.get_seq_length() == 5
    assert torch.allclose(rest, whole[:, 3:], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_steps_can_be_taken_back(load, name):
    model = load(name)
    with torch.no_grad():
        past = model(IDS, use_cache=True).past_key_values
        past.crop(-2)
        again = model(IDS[:, 3:], past_key_values=past).logits
        assert torch.allclose(again, model(IDS).logits[:, 3:], atol=1e-5)


@pytest.mark.parametrize("key", ["past_key_values", "cache"])
def test_the_cache_has_both_names_that_versions_of_transformers_give_it(load, key):
    model = load("language")
    with torch.no_grad():
        first = model(IDS[:, :3], use_cache=True)
        assert getattr(first, key) is first[2 - (first.loss is None)]
        rest = model(IDS[:, 3:], **{key: getattr(first, key)})
    assert rest.past_key_values is rest.cache and rest.cache.get_seq_length() == 5
    assert torch.allclose(rest.logits, model(IDS).logits[:, 3:], atol=1e-5)
    options = {"max_new_tokens": 4, "do_sample": False}
    given = {key: model(IDS[:, :3], use_cache=True).cache}
    assert torch.equal(model.generate(IDS, **given, **options), model.generate(IDS, **options))
    assert {"past_key_values", "cache"} <= set(model.config.keys_to_ignore_at_inference)


def test_two_different_caches_are_refused(load):
    model = load("language")
    one, other = (model(IDS[:, :3], use_cache=True).cache for _ in range(2))
    with pytest.raises(ValueError, match="two names of one argument"):
        model.generate(IDS, cache=one, past_key_values=other)
    with pytest.raises(ValueError, match="two names of one argument"):
        model(IDS, cache=one, past_key_values=other)


def test_only_the_last_logits_are_made_where_they_are_all_that_is_wanted(load):
    model = load("language")
    whole = model(IDS).logits
    assert torch.allclose(model(IDS, logits_to_keep=1).logits, whole[:, -1:], atol=1e-5)
    assert torch.allclose(model(IDS, logits_to_keep=torch.tensor([1, 3])).logits, whole[:, [1, 3]], atol=1e-5)


def test_sampling_is_the_runs(load):
    config = load("language").generation_config
    assert (config.do_sample, config.temperature, config.top_k, config.top_p) == (True, 0.7, 9, 0.95)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (256, 256, 256)
    assert config.max_new_tokens == 4
    assert load("language_tied").generation_config.do_sample is False
    everything = load("language_window").generation_config
    assert (everything.top_k, everything.top_p) == (0, 1.0)


def test_without_a_prompt_a_new_text_begins(load):
    assert load("language").generate(do_sample=False).shape == (1, 5)


def test_the_head_is_the_embedding_where_it_was(load, exported):
    model = load("language_tied")
    assert model.head.weight is model.get_input_embeddings().weight
    model = load("language")
    assert model.head.weight is not model.get_input_embeddings().weight


def test_a_cache_of_a_fixed_size_is_refused(load):
    with pytest.raises(ValueError, match="cache_implementation"):
        load("language").generate(IDS, cache_implementation="static", max_new_tokens=2)


def test_a_mask_that_does_not_fit_the_cache_is_named(load):
    model = load("language")
    past = model(IDS, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="attention_mask has 2 columns; 5 tokens are cached and 2 are new"):
        model(IDS[:, :2], attention_mask=MASK[:, :2], past_key_values=past)


def test_a_text_longer_than_the_positions_is_named(load):
    with pytest.raises(ValueError, match="learned positions only 24"):
        load("language_tied").generate(IDS, max_new_tokens=30, do_sample=False, eos_token_id=-1)


def test_a_model_without_text_writes_none(exported):
    with pytest.raises(ValueError, match="reads image and cannot write text"):
        transformers.AutoModelForCausalLM.from_pretrained(exported("image_patch"))
