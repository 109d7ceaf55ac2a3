"""Muon on hidden matrices, AdamW on everything else."""

from functools import partial

import pytest
import torch
from torch import nn

from unimodal.backbone.transformer import Transformer
from unimodal.training.muon import Muon, orthogonal
from unimodal.training.optimization import Optimization, parameter_groups
from unimodal.training.schedules import constant

TOLERANCE = 0.02  # torch.optim.Muon computes in bfloat16


def with_gradients(*shapes: tuple[int, int], seed: int = 0) -> list[nn.Parameter]:
    torch.manual_seed(seed)
    params = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def test_it_takes_the_steps_of_torchs_muon():
    shapes = [(16, 16), (48, 16), (16, 48), (16, 16)]
    ours, theirs = with_gradients(*shapes), with_gradients(*shapes)
    optimizer = Muon([{"params": ours, "hidden": True}], muon_lr=0.1, weight_decay=0.2)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, momentum=0.95)
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)


def test_groups_that_are_not_hidden_take_the_steps_of_adamw_to_the_bit():
    ours, theirs = with_gradients((4, 4), (8, 2)), with_gradients((4, 4), (8, 2))
    settings = {"lr": 0.01, "betas": (0.9, 0.98), "weight_decay": 0.1, "fused": True}
    mine = Muon([{"params": ours}, {"params": with_gradients((4, 4)), "hidden": True}], **settings)
    reference = torch.optim.AdamW(theirs, **settings)
    for _ in range(3):
        mine.step()
        reference.step()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_orthogonal_matrices_have_singular_values_near_one_whatever_their_shape():
    matrices = [1000 * torch.randn(24, 8), 1e-3 * torch.randn(8, 24), torch.randn(8, 8)]
    for matrix, result in zip(matrices, orthogonal(matrices, 10), strict=True):
        assert result.shape == matrix.shape
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.5 and values.max() < 1.3


def test_a_zero_gradient_changes_nothing():
    param = nn.Parameter(torch.randn(8, 8))
    before, param.grad = param.detach().clone(), torch.zeros(8, 8)
    Muon([{"params": [param], "hidden": True}]).step()
    assert torch.equal(param, before)


def test_only_the_matrices_of_blocks_are_hidden():
    module = nn.ModuleDict(
        {"backbone": Transformer(8, 2, 2), "head": nn.Linear(8, 3), "in": nn.Embedding(5, 8)}
    )
    optimization = Optimization(partial(Muon, lr=0.01, muon_lr=0.5), partial(constant, warmup=0.0), 10)
    optimizer = optimization(module)["optimizer"]
    hidden = {id(p) for group in optimizer.param_groups if group.get("hidden") for p in group["params"]}
    named = {name for name, p in module.named_parameters() if id(p) in hidden}
    assert named == {name for name, p in module.named_parameters() if ".blocks." in name and p.ndim == 2}
    assert {group["lr"] for group in optimizer.param_groups if group.get("hidden")} == {0.5}
    assert {group["lr"] for group in optimizer.param_groups if not group.get("hidden")} == {0.01}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


def test_adamw_has_the_groups_that_it_always_had():
    assert not any("hidden" in group for group in parameter_groups(Transformer(8, 2, 2)))


def test_the_options_of_a_module_hold_for_its_own_parameters_only():
    module = nn.ModuleDict({"in": nn.Embedding(5, 8), "head": nn.Linear(8, 3)})
    module["in"].optimizer_options = {"factor": 15.0, "eps": 1e-3}
    optimization = Optimization(partial(torch.optim.AdamW, lr=0.01), partial(constant, warmup=0.0), 10)
    groups = optimization(module)["optimizer"].param_groups
    [own] = [group for group in groups if any(p is module["in"].weight for p in group["params"])]
    assert own["lr"] == pytest.approx(0.15) and own["eps"] == 1e-3 and own["weight_decay"] == 0
    others = [group for group in groups if group is not own]
    assert {group["lr"] for group in others} == {0.01} and {group["eps"] for group in others} == {1e-8}
    assert sum(len(group["params"]) for group in groups) == 3


def test_its_state_goes_on_from_a_checkpoint():
    first, second = with_gradients((8, 8), (4, 4)), with_gradients((8, 8), (4, 4))

    def make(params: list[nn.Parameter]) -> Muon:
        return Muon([{"params": params[:1]}, {"params": params[1:], "hidden": True}])

    one, other = make(first), make(second)
    one.step()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for mine, theirs in zip(first, second, strict=True):
            theirs.copy_(mine)
    one.step()
    other.step()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, second, strict=True))


@pytest.mark.parametrize(("setting", "value"), [("momentum", 1.0), ("num_iterations", 0)])
def test_a_setting_out_of_range_is_named(setting, value):
    with pytest.raises(ValueError, match=f"optimizer.{setting}"):
        Muon([{"params": with_gradients((2, 2))}], **{setting: value})
