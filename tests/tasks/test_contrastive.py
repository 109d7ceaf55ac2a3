import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch.distributed.fsdp import fully_shard

from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.tasks.contrastive import Contrastive
from unimodal.tasks.contrastive_loss import InfoNCE, SigLIP
from unimodal.tasks.pooling import AttentionPooling, LastPooling, MeanPooling
from unimodal.types import IGNORED

POOLINGS = [MeanPooling, LastPooling, lambda: AttentionPooling(32)]
WORDS = ["a cat", "dog", "one more horse", "rat", "a bee", "wolf", "the frog", "hen"]


def samples(num=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (num, 3, 8, 8), dtype=torch.uint8, generator=rng)
    return [{"image": pixels[i], "text": WORDS[i % len(WORDS)]} for i in range(num)]


@pytest.fixture
def make(pair_model):
    def _make(pooling=MeanPooling, contrast=InfoNCE, **options):
        torch.manual_seed(0)
        return Contrastive(pair_model(), pooling(), contrast(), projection_dim=16, **options)

    return _make


def batch_of(task, rows, counted=True):
    dataset = task.examples(rows, task.preprocess, training=False)
    return collate([dataset[Draw(0, i, counted)] for i in range(len(rows))])


def gradients(task, batch):
    task.zero_grad()
    loss = task(batch).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("contrast", [InfoNCE, SigLIP])
def test_everything_learns(make, contrast):
    task = make(contrast=contrast)
    _, found = gradients(task, batch_of(task, samples()))
    assert found.keys() == dict(task.named_parameters()).keys()
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_change_a_vector(make, pooling):
    task, rows = make(pooling).eval(), samples()
    together = task.project("text", batch_of(task, rows))
    alone = torch.cat([task.project("text", batch_of(task, [row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=-1), torch.ones(8))


def test_a_modality_is_encoded_without_the_other(make):
    task, rows = make().eval(), samples()
    batch, others = batch_of(task, rows), batch_of(task, [{**row, "text": "x"} for row in rows])
    assert torch.equal(task.project("image", batch), task.project("image", others))
    images = {"pixel_values": batch["pixel_values"]}
    assert torch.allclose(task.vectors(images), task.project("image", batch), atol=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 3, 8])
@pytest.mark.parametrize("contrast", [InfoNCE, SigLIP])
def test_gradients_in_chunks_are_those_of_the_whole(make, chunk_size, contrast):
    batch = batch_of(make(), samples())
    loss, wanted = gradients(make(contrast=contrast), batch)
    same, found = gradients(make(contrast=contrast, chunk_size=chunk_size), batch)
    assert torch.allclose(same, loss, atol=1e-6)
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_chunks_of_a_packed_batch_have_rows_of_their_own(make, monkeypatch):
    batch, seen = batch_of(make(), samples()), []
    wanted = gradients(make(), batch)
    task = make(chunk_size=2)
    project = task._projected
    monkeypatch.setattr(task, "_projected", lambda f, b: seen.append(b["rows"].tolist()) or project(f, b))
    loss, found = gradients(task, batch | {"rows": torch.tensor([5, 3, 2, 2, 1, 4, 0, 3])})
    assert torch.allclose(loss, wanted[0], atol=1e-6)
    assert all(torch.allclose(found[name], wanted[1][name], atol=1e-5) for name in found)
    assert seen[:4] == [[1, 0], [0, 0], [0, 1], [0, 1]]


def test_a_sharded_model_is_validated(make, tmp_path):
    batch = batch_of(make(), samples())
    wanted, task = make(), make()
    wanted.count(batch)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        mesh = dist.init_device_mesh("cpu", (1,))
        fully_shard(task, mesh=mesh)
        task.eval()
        with torch.no_grad():
            task.count(batch)
            figures = task.figures()
    finally:
        dist.destroy_process_group()
    for name, value in wanted.figures().items():
        assert torch.allclose(figures[name], value, atol=1e-5), name


@pytest.mark.parametrize("sample", [{"image": None}, {"parts": [{"text": "a"}]}])
def test_a_sample_that_lacks_one_of_both_is_refused(make, sample):
    task = make()
    with pytest.raises(ValueError, match=r"needs image and text in each sample; .*data\.allow_missing"):
        task.examples([sample], task.preprocess, training=True)[Draw(0, 0)]


def test_chunks_keep_less_in_memory(make):
    """What autograd stores for the backward pass, counted tensor by tensor."""
    batch, stored = batch_of(make(), samples(32)), {}
    for chunk_size in (None, 4):
        kept = {}

        def note(tensor, kept=kept):
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            task = make(chunk_size=chunk_size)
            task(batch)
        stored[chunk_size] = sum(kept.values())
    assert stored[4] < stored[None] / 4


def test_rows_that_do_not_count_move_nothing(make, validate):
    task, rows = make(), samples()
    batch, filled = batch_of(task, rows), batch_of(task, rows + samples(3, seed=5))
    filled["labels"][8:] = IGNORED
    assert torch.allclose(task(batch).loss, task(filled).loss, atol=1e-6)
    assert task(filled).count == 8
    wanted = validate(task, [batch])
    assert validate(task, [filled]) == pytest.approx(wanted, abs=1e-5)


def test_batch_size_does_not_change_the_figures(make, validate):
    task, rows = make(), samples(16)
    whole = validate(task, [batch_of(task, rows)])
    parts = validate(task, [batch_of(task, rows[i : i + 3]) for i in range(0, 16, 3)])
    assert whole == pytest.approx(parts, abs=1e-5)
    assert {"val/loss", "val/image_to_text_r10", "val/text_to_image_median_rank"} <= whole.keys()
    assert task.monitor in whole


def test_labels_are_content_before_augmentation(make):
    task, rows = make(), samples()
    rows[5] = {"image": rows[1]["image"].clone(), "text": rows[2]["text"]}
    dataset = task.examples(rows, task.preprocess, True, lambda s, p: s | {"image": 255 - s["image"]})
    labels = torch.stack([dataset[Draw(0, i)]["labels"] for i in range(8)])
    assert labels[5, 0] == labels[1, 0] and labels[5, 1] == labels[2, 1]
    assert len(labels.unique()) == 14 and (labels >= 0).all()


def test_after_validation_texts_and_the_closest_ones_are_shown(make, validate):
    task = make()
    validate(task, [batch_of(task, samples())])
    shown = task.samples()
    assert shown[0].startswith("a cat -> ") and len(shown) == 8


def test_two_modalities_are_asked_for(text_model):
    with pytest.raises(ValueError, match="needs two modalities; the model reads text"):
        Contrastive(text_model(), MeanPooling(), InfoNCE())


def test_bad_settings_are_refused(make):
    with pytest.raises(ValueError, match=r"task\.chunk_size=0"):
        make(chunk_size=0)
    with pytest.raises(ValueError, match=r"must hold \{\}"):
        make(templates=["a photo"])


PROCESS = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
found = []
for task, batch in torch.load(f"{folder}/given.pt", weights_only=False):
    part = {key: value[7 * rank : 7 + 5 * rank] for key, value in batch.items()}  # 7 and 5 pairs
    learner = DistributedDataParallel(task)  # kept until the backward pass is done
    output = learner(part)
    total = output.loss * output.count  # as Learner.step_loss: sums, divided by the count of all processes
    total.backward()
    task.count(part)
    gradients = {name: p.grad for name, p in task.named_parameters()}
    found.append((total.detach(), output.count, gradients, task.figures()))
torch.save(found, f"{folder}/{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_learn_and_count_as_one(make, tmp_path):
    batch = batch_of(make(), samples(12))
    batch["labels"][7] = IGNORED  # in the second process, which has fewer anyway
    tasks = [make(), make(chunk_size=4), make(contrast=SigLIP)]
    torch.save([(task, batch) for task in tasks], tmp_path / "given.pt")
    command, environment = (
        [sys.executable, "-c", PROCESS, str(tmp_path)],
        os.environ | {"OMP_NUM_THREADS": "1"},
    )
    processes = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [process.wait(500) for process in processes] == [0, 0]
    ranks = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for task, first, second in zip(tasks, *ranks, strict=True):
        loss, wanted = gradients(task, batch)
        count = first[1] + second[1]
        assert torch.allclose((first[0] + second[0]) / count, loss, atol=1e-6)
        task.count(batch)
        for name, gradient in wanted.items():
            mean = first[2][name] * 2 / count  # DDP has taken the mean of two processes
            assert torch.allclose(mean, gradient, atol=1e-6), name
            assert torch.equal(first[2][name], second[2][name]), name
        for name, value in task.figures().items():
            assert torch.allclose(first[3][name], value, atol=1e-5), name


def table_of(folder, num=40):
    """Pictures of two colours each, and their names; two pictures a row."""
    rows = []
    colours = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "white": (250, 250, 250)}
    for i in range(num):
        (top, above), (bottom, below) = (list(colours.items())[k] for k in (i % 4, i // 4 % 4))
        names = [f"{i}_{side}.png" for side in "ab"]
        for place, name in enumerate(names):
            picture = Image.new("RGB", (8, 8), above)
            picture.paste(below, (0, 4, 8, 8))
            picture.putpixel((i % 8, place), (i, i, i))
            picture.save(folder / name)
        rows.append({"images": names, "caption": f"{top} {bottom} {i // 16}", "category": top})
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "d.jsonl"


PAIRS = ("modality=image", "+tokenizer@beside.text=text_byte", "task=contrastive", "data=table")
PAIRS += ("data.columns.text=caption", "tokenizer.image_size=8", "tokenizer.patch_size=4", "augment=none")


def test_a_run_trains_is_evaluated_and_names_classes(small_run, configure, tmp_path):
    from unimodal.training.evaluate import evaluate
    from unimodal.training.predict import predict
    from unimodal.training.train import train

    path = table_of(tmp_path)
    figures = train(small_run(*PAIRS, f"data.path={path}", "loader.batch_size=8"), tmp_path / "run")
    run = f"checkpoint={tmp_path / 'run'}"
    again = evaluate(configure(run, "trainer=cpu", "trainer.precision=32-true", verb="evaluate"))
    assert {name: figures[name] for name in again} == again
    named = evaluate(configure(run, "zero_shot=true", "trainer=cpu", verb="evaluate"))
    assert 0 <= named["val/accuracy"] <= 1 and "val/f1" in named
    asked = (run, f"inputs={tmp_path / '0_a.png'}", f"output={tmp_path / 'out.jsonl'}", "trainer=cpu")
    predict(configure(*asked, "class_names=[red,green]", "templates=['{} top']", verb="predict"))
    answer = json.loads((tmp_path / "out.jsonl").read_text())
    assert answer["prediction"] in ("red", "green") and answer["top_2"] != answer["top_1"]
    for inputs, more in ((tmp_path / "0_a.png", ()), (path, ("columns.image=none", "columns.text=caption"))):
        asked = (run, f"inputs={inputs}", f"output={tmp_path / 'out.npy'}", "embeddings=true", "trainer=cpu")
        predict(configure(*asked, *more, verb="predict"))
        vectors = np.load(tmp_path / "out.npy")
        assert vectors.shape[1] == 128 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_classes_by_name_are_refused_where_a_task_has_its_own(small_run, configure, tmp_path):
    from unimodal.training.predict import predict
    from unimodal.training.train import train

    train(small_run("modality=image"), tmp_path / "run")
    asked = (f"checkpoint={tmp_path / 'run'}", f"inputs={table_of(tmp_path)}", "class_names=[red,green]")
    with pytest.raises(ValueError, match="Classification knows only what it was trained for"):
        predict(configure(*asked, "trainer=cpu", verb="predict"))
