import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.transformer import Transformer
from unimodal.data.augment import ImageAugment
from unimodal.data.collate import collate
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw
from unimodal.data.sources.digit_scenes import DigitScenes
from unimodal.model import Unimodal
from unimodal.tasks.segmentation import Segmentation
from unimodal.tokenizers.image_any import ImageAnySizeTokenizer
from unimodal.types import IGNORED

NAMES = ["paper", "line", "dot"]


@pytest.fixture
def make(image_model, randomise):
    """Two by two patches of 4 x 4 pixels; the head is not zero."""

    def _make(cells=2, num_prefix_tokens=0):
        torch.manual_seed(0)
        task = Segmentation(image_model(num_prefix_tokens), NAMES, cells)
        randomise(task.head)
        return task

    return _make


def batch_of(num, seed=0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num, 8, 8), generator=rng)
    labels[:, :2] = IGNORED
    return {
        "pixel_values": torch.randint(256, (num, 3, 8, 8), dtype=torch.uint8, generator=rng),
        "labels": labels,
    }


@pytest.mark.parametrize("num_prefix_tokens", [0, 2])
def test_one_cell_a_patch_is_segmenters_linear_decoder(make, num_prefix_tokens):
    task, batch = make(cells=1, num_prefix_tokens=num_prefix_tokens).eval(), batch_of(3)
    patches = task.encode(batch).embeds[:, num_prefix_tokens:]
    grid = task.head(patches).transpose(1, 2).reshape(3, len(NAMES), 2, 2)
    wanted = F.interpolate(grid, (8, 8), mode="bilinear")
    assert torch.allclose(task.outputs(batch), wanted, atol=1e-6)


def test_cells_stand_where_their_patch_stands(make):
    """Only the cells of the patch at row 1 and column 0 may change with its token."""
    task = make(cells=4)
    embeds = torch.zeros(1, 4, 32)
    before = task._logits(embeds)
    embeds[0, 2] = 1.0
    changed = (task._logits(embeds) != before).any(1)[0]
    assert changed[4:, :4].all() and not changed[:4].any() and not changed[:, 4:].any()


def test_a_cell_of_the_head_is_the_same_place_in_every_class(make):
    """Output c * cells ** 2 + row * cells + column is of class c, at that row and column of the patch."""
    task = make(cells=4)
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.zero_()
        task.head.bias[1 * 16 + 2 * 4 + 3] = 1.0
    logits = task._logits(torch.zeros(1, 4, 32))
    assert logits[0, 1, 2, 3] == 1 and logits.sum() == 4  # in each patch once


def test_the_loss_is_the_mean_over_pixels_that_count(make):
    task, batch = make(), batch_of(4)
    output = task(batch)
    counted = batch["labels"] != IGNORED
    losses = F.cross_entropy(output.logits, batch["labels"].clamp_min(0), reduction="none")
    assert torch.allclose(output.loss, losses[counted].mean(), atol=1e-6)
    assert output.count == counted.sum() == 4 * 48


def test_nothing_that_counts_gives_a_loss_of_zero(make):
    batch = batch_of(2)
    batch["labels"].fill_(IGNORED)
    output = make()(batch)
    assert output.loss == 0 and output.count == 0
    output.loss.backward()


def test_figures_do_not_depend_on_the_batches(make, validate):
    task, batch = make().eval(), batch_of(6)
    rows = [{key: value[part] for key, value in batch.items()} for part in (slice(0, 1), slice(1, 6))]
    whole, parts = validate(task, [batch]), validate(task, rows)
    assert whole.keys() == {"val/loss", "val/miou", "val/accuracy", "val/num_samples"}
    assert parts == pytest.approx(whole, abs=1e-6)


def test_rows_that_do_not_count_change_no_figure(make, validate):
    task, batch = make().eval(), batch_of(3)
    more = {key: torch.cat((value, value[:1])) for key, value in batch.items()}
    more["labels"][3] = IGNORED
    assert validate(task, [more]) == pytest.approx(validate(task, [batch]), abs=1e-6)


def test_the_mask_moves_with_the_image(make):
    """A picture whose pixels say their class: after any augmentation they still do."""
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:4, 4:] = 1
    sample = {"image": (mask * 200).repeat(3, 1, 1), "mask": mask}
    task = make()
    samples = PreparedSamples([sample] * 20, task.preprocess)
    dataset = task.examples(
        samples, task.preprocess, training=True, augment=ImageAugment(translate=0.5, hflip=True)
    )
    moved = 0
    for index in range(20):
        example = dataset[Draw(0, index)]
        here, counted = example["pixel_values"][0] > 100, example["labels"] != IGNORED
        assert torch.equal(here[counted], (example["labels"] == 1)[counted])
        assert not here[~counted].any()
        moved += not torch.equal(example["labels"], mask.long())
    assert moved > 10


def test_without_augmentation_the_mask_is_the_label_and_255_does_not_count(make):
    mask = torch.randint(3, (8, 8), dtype=torch.uint8)
    mask[0, 0] = 255
    task = make()
    samples = PreparedSamples(
        [{"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "mask": mask}], task.preprocess
    )
    dataset = task.examples(samples, task.preprocess, training=False)
    labels = dataset[Draw(0, 0)]["labels"]
    assert labels[0, 0] == IGNORED and torch.equal(labels.flatten()[1:], mask.flatten()[1:].long())
    assert (dataset[Draw(0, 0, counted=False)]["labels"] == IGNORED).all()


def test_an_answer_is_a_mask_and_the_share_of_its_classes(make):
    task, batch = make().eval(), batch_of(2)
    answers = task.answer({"pixel_values": batch["pixel_values"]}, top_k=2)
    said = task.outputs(batch).argmax(1)
    for answer, mask in zip(answers, said, strict=True):
        assert answer["mask"].dtype == torch.uint8 and torch.equal(answer["mask"].long(), mask)
        assert answer["share_1"] == pytest.approx(
            (mask == NAMES.index(answer["top_1"])).float().mean().item(), abs=1e-6
        )
        assert answer["share_1"] >= answer["share_2"] and "share_3" not in answer


def test_samples_say_what_is_there_and_what_was_seen(make, validate):
    task = make()
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.zero_()
    batch = batch_of(2)
    batch["labels"][:] = 1
    validate(task, [batch])
    assert task.samples() == ["line -> paper (0.0% of the pixels)"] * 2
    assert task.samples() == []


def test_what_does_not_fit_says_what_to_change(image_model, text_model):
    with pytest.raises(ValueError, match="modality=image"):
        Segmentation(text_model(), NAMES)
    with pytest.raises(ValueError, match="two classes"):
        Segmentation(image_model(), ["all"])
    with pytest.raises(ValueError, match=r"task.cells=5 is not between 1 and 4"):
        Segmentation(image_model(), NAMES, cells=5)


def test_bf16_gives_a_finite_loss_and_gradients(make):
    task = make()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task(batch_of(2)).loss
    loss.backward()
    assert loss.dtype == torch.float32 and task.head.weight.grad.isfinite().all()


def test_one_scene_is_learned_by_heart(image_model):
    torch.manual_seed(0)
    source = DigitScenes(size=8, max_digits=1, min_digit_size=8, max_digit_size=8, train_size=4)
    task = Segmentation(image_model(), source.region_names, cells=4)
    dataset = task.examples(
        PreparedSamples(source.split("train"), task.preprocess), task.preprocess, training=True
    )
    batch = collate([dataset[Draw(0, index)] for index in range(4)])
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task(batch).loss.backward()
        optimizer.step()
    assert (task(batch).logits.argmax(1) == batch["labels"]).float().mean() > 0.98


def test_pictures_of_any_size_are_refused():
    model = Unimodal({"image": ImageAnySizeTokenizer(32, patch_size=4)}, Transformer(32, 1, 4))
    with pytest.raises(ValueError, match=r"one image size; set tokenizer=image_patch"):
        Segmentation(model, NAMES)
