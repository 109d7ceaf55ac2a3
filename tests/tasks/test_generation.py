import pytest
import torch
from torch import nn

from unimodal.tasks.generation import Sampler, generate, greedy

EOS, VOCAB = 256, 257
BACKBONES = {
    "plain": {},
    "registers": {"num_registers": 3},
    "grouped heads": {"num_kv_heads": 2},
    "sliding window": {"layer_types": ["sliding", "full"], "window": 3, "num_registers": 2},
}


@pytest.fixture
def head(randomise):
    return randomise(nn.Linear(32, VOCAB), seed=1)


def prompts(num=3, length=5):
    return torch.randint(256, (num, length), generator=torch.Generator().manual_seed(0))


def logits_of(num=4, vocab=50, seed=0):
    return 2 * torch.randn(num, vocab, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def recomputed(model, head, ids, max_new_tokens, eos_id):
    """Greedy without a cache, row by row and each time from the start."""
    rows = []
    for row in ids:
        for _ in range(max_new_tokens):
            tokens = model({"input_ids": row[None]}, causal=True)
            row = torch.cat((row, head(tokens.embeds[0, -1:]).argmax(-1)))
            if row[-1] == eos_id:
                break
        rows.append(row)
    longest = max(len(row) for row in rows)
    return torch.stack([nn.functional.pad(row, (0, longest - len(row)), value=eos_id) for row in rows])


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("learned_positions", [False, True])
def test_the_cache_changes_nothing(text_model, head, backbone, learned_positions):
    model = text_model({"learned_positions": learned_positions}, **backbone)
    written = generate(model, head, prompts(), 11, EOS, greedy)
    assert torch.equal(written, recomputed(model, head, prompts(), 11, EOS))
    assert len(written[:, 5:].unique()) > 5


def test_rows_do_not_depend_on_each_other(text_model, head):
    model = text_model()
    together = generate(model, head, prompts(), 8, EOS, greedy)
    alone = [generate(model, head, row[None], 8, EOS, greedy)[0] for row in prompts()]
    assert torch.equal(together, torch.stack(alone))


def test_the_prompt_stays_in_front(text_model, head):
    written = generate(text_model(), head, prompts(), 4, EOS, greedy)
    assert torch.equal(written[:, :5], prompts())
    assert written.shape == (3, 9)


def test_no_new_tokens_give_the_prompt(text_model, head):
    assert torch.equal(generate(text_model(), head, prompts(), 0, EOS, greedy), prompts())


def test_an_ended_row_stays_ended_while_others_go_on(text_model, head):
    model = text_model()
    free = generate(model, head, prompts(), 8, EOS, greedy)
    eos = next(int(i) for i in free[0, 6:9] if i not in free[1:, 5:] and i not in free[0, 5:6])
    end = free[0, 5:].tolist().index(eos) + 5
    written = generate(model, head, prompts(), 8, eos, greedy)
    assert written[0, end:].eq(eos).all()
    assert torch.equal(written[0, :end], free[0, :end])
    assert torch.equal(written[1:], free[1:])


def test_writing_stops_when_every_row_has_ended(text_model, head):
    model = text_model()
    first = int(generate(model, head, prompts(1), 1, EOS, greedy)[0, -1])
    assert generate(model, head, prompts(1), 50, first, greedy).shape == (1, 6)


def test_writing_leaves_no_graph_and_no_gradient(text_model, head):
    model = text_model()
    assert not generate(model, head, prompts(), 2, EOS, greedy).requires_grad
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_k": 1}, {"top_p": 1e-6}])
def test_the_narrowest_settings_are_greedy(settings):
    for seed in range(5):
        logits = logits_of(seed=seed)
        assert torch.equal(Sampler(**settings)(logits), greedy(logits))


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.3}, {"top_k": 7}, {"top_p": 0.6}, {"top_k": 9, "top_p": 0.5}]
)
def test_probabilities_sum_to_one(settings):
    probabilities = Sampler(**settings).probabilities(logits_of())
    assert torch.allclose(probabilities.sum(-1), torch.ones(4))
    assert (probabilities >= 0).all()


def test_the_temperature_divides_the_logits():
    logits = logits_of()
    for temperature in (0.5, 1.0, 3.0):
        expected = (logits / temperature).softmax(-1)
        assert torch.allclose(Sampler(temperature).probabilities(logits), expected)


@pytest.mark.parametrize("top_k", [1, 3, 49, 50, 80])
def test_top_k_keeps_the_k_likeliest(top_k):
    logits = logits_of()
    probabilities = Sampler(top_k=top_k).probabilities(logits)
    best = logits.argsort(-1, descending=True)[:, :top_k]
    for row in range(len(logits)):
        assert set(probabilities[row].nonzero()[:, 0].tolist()) == set(best[row].tolist())
        expected = logits[row, best[row]].softmax(-1)
        assert torch.allclose(probabilities[row, best[row]], expected)


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_top_k_keeps_exactly_k_also_where_logits_tie(top_k):
    probabilities = Sampler(top_k=top_k).probabilities(torch.zeros(2, 20))
    assert (probabilities > 0).sum(-1).tolist() == [top_k] * 2


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.75, 0.95])
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p):
    logits = logits_of(num=20)
    for row, kept in zip(logits.softmax(-1), Sampler(top_p=top_p).probabilities(logits), strict=True):
        wanted, mass = [], 0.0
        for index in row.argsort(descending=True).tolist():  # as one would do it by hand
            wanted.append(index)
            mass += row[index].item()
            if mass >= top_p:
                break
        assert sorted(kept.nonzero()[:, 0].tolist()) == sorted(wanted)
        assert torch.allclose(kept[wanted], row[wanted] / row[wanted].sum(), atol=1e-6)


def test_top_p_of_one_keeps_everything_that_matters():
    logits = logits_of()
    assert torch.allclose(Sampler(top_p=1.0).probabilities(logits), logits.softmax(-1), atol=1e-6)


def test_top_p_is_taken_of_what_top_k_left():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    probabilities = Sampler(top_k=2, top_p=0.5).probabilities(logits)  # 4/7 is above 0.5 already
    assert probabilities.tolist() == [[1, 0, 0, 0]]


def test_draws_repeat_with_the_seed_and_only_with_it():
    logits = logits_of(num=20)
    sampler = Sampler(seed=3)
    first, second = sampler(logits), sampler(logits)
    torch.manual_seed(99)
    assert torch.equal(Sampler(seed=3)(logits), first)
    assert not torch.equal(first, second)
    assert not torch.equal(Sampler(seed=4)(logits), first)


def test_the_global_generator_is_untouched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Sampler()(logits_of())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "top_k": 5}, {"top_p": 0.8}])
def test_draws_come_as_often_as_their_probability_says(settings):
    sampler, logits = Sampler(**settings), logits_of(num=1, vocab=12)
    draws = sampler(logits.expand(40_000, -1))
    frequencies = draws.bincount(minlength=12) / 40_000
    probabilities = sampler.probabilities(logits)[0]
    assert torch.allclose(frequencies, probabilities, atol=0.012)  # five standard deviations
    assert not frequencies[probabilities == 0].any()


@pytest.mark.parametrize(
    "settings", [{"temperature": -0.1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": -1}]
)
def test_a_setting_without_meaning_is_named(settings):
    knob, value = next(iter(settings.items()))
    with pytest.raises(ValueError, match=f"{knob}={value}"):
        Sampler(**settings)
