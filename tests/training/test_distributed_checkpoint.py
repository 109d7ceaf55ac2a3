import os
import pickle
import subprocess
import sys

import pytest
import torch
import torch.distributed.checkpoint as dcp
from lightning.fabric.utilities.load import _load_distributed_checkpoint
from torch.distributed.checkpoint import metadata as torch_metadata

from unimodal.training import build, checkpoints
from unimodal.training import distributed_checkpoint as sharded
from unimodal.training.train import train

TRAINER = {"overfit_batches": 0.0, "limit_val_batches": None}
CONFIG = {name: {} for name in ("backbone", "tokenizer", "task", "data", "loader")}
SAVED = {"format": 1, "config": CONFIG | {"seed": 0, "trainer": TRAINER}}
WEIGHTS = {
    "model.a.weight": torch.randn(5, 3, generator=torch.Generator().manual_seed(0)),
    "model.b.half": torch.ones(4, dtype=torch.bfloat16),
    "model.c.count": torch.tensor(7),
    "empty": torch.empty(0, 2),
}


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint as Lightning's ModelParallelStrategy writes it, by one process."""
    return _write(tmp_path / "run/checkpoints/best.ckpt")


def _write(path, optimizer=None):
    path.mkdir(parents=True)
    state = {"state_dict": WEIGHTS, "optimizer_0": optimizer or {"state": {}, "param_groups": [{"lr": 0.1}]}}
    dcp.save(state, checkpoint_id=path, no_dist=True)
    torch.save({"unimodal": SAVED, "global_step": 3, "epoch": 1}, path / "meta.pt")
    return path


def _rewrite(folder, change):
    """Change the index as its own classes hold it."""
    index = pickle.loads((folder / ".metadata").read_bytes())
    change(index)
    (folder / ".metadata").write_bytes(pickle.dumps(index))


def test_a_folder_of_shards_is_read_as_torch_and_lightning_read_it(folder):
    mine, theirs = sharded.read(folder), _load_distributed_checkpoint(folder)
    assert mine["state_dict"].keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        assert torch.equal(mine["state_dict"][name], value)
        assert torch.equal(mine["state_dict"][name], theirs["state_dict"][name])
        assert mine["state_dict"][name].dtype == value.dtype
    assert mine["global_step"] == theirs["global_step"] == 3
    sharded.check(folder)


def test_it_stands_wherever_a_checkpoint_does(folder, tmp_path):
    assert checkpoints.find(folder) == checkpoints.find(tmp_path / "run") == folder
    config, weights = checkpoints.load(tmp_path / "run")
    assert config["seed"] == 0
    assert torch.equal(weights["model.a.weight"], WEIGHTS["model.a.weight"])


def test_all_weights_of_a_run_are_there(small_run, tmp_path):
    train(small_run(), tmp_path / "run")
    config, weights = checkpoints.load(tmp_path / "run")
    dcp.save({"state_dict": weights}, checkpoint_id=tmp_path / "as", no_dist=True)
    content = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    torch.save({"unimodal": content["unimodal"]}, tmp_path / "as/meta.pt")
    same, again = checkpoints.load(tmp_path / "as")
    assert same == config
    assert build.restore_task(same, again).state_dict().keys() == weights.keys()


@pytest.mark.parametrize("name", [".metadata", "meta.pt", "__0_0.distcp"])
def test_a_payload_in_any_file_is_refused_and_does_not_run(folder, tmp_path, name):
    ran = tmp_path / "ran"
    if name == "__0_0.distcp":
        place = next(iter(pickle.loads((folder / ".metadata").read_bytes()).storage_data.values()))
        torch.save(Payload(ran), folder / "evil")
        evil = (folder / "evil").read_bytes()

        def change(index):
            for info in index.storage_data.values():
                info.offset, info.length = 0, len(evil)

        assert place.relative_path == name
        _rewrite(folder, change)
        (folder / name).write_bytes(evil)
    elif name == "meta.pt":
        torch.save({"unimodal": SAVED, "x": Payload(ran)}, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(ValueError, match=r"best\.ckpt cannot be read as a checkpoint of plain data"):
        checkpoints.load(folder)
    with pytest.raises(ValueError, match=r"is no plain index|is not plain data"):
        sharded.check(folder)
    assert not ran.exists()


def test_a_payload_among_the_optimizers_numbers_is_found_before_torch_reads_it(tmp_path):
    ran = tmp_path / "ran"
    folder = _write(tmp_path / "last.ckpt", {"state": {}, "param_groups": [{"lr": Payload(ran)}]})
    checkpoints.load(folder)  # does not look at the optimizer
    with pytest.raises(ValueError, match=r"optimizer_0\.param_groups\.0\.lr is not plain data"):
        sharded.check(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    "callable_",
    [os.system, eval, torch.load, torch.hub.load, pickle.loads, torch_metadata.Metadata.__init__],
)
def test_the_index_may_name_nothing_but_what_torch_writes(folder, callable_):
    (folder / ".metadata").write_bytes(pickle.dumps(callable_))
    with pytest.raises(ValueError, match=r"\.metadata is no plain index of shards: it names"):
        checkpoints.load(folder)


def test_an_index_can_not_change_a_class(folder):
    name = b"torch.distributed.checkpoint.metadata\nMetadata\n"
    (folder / ".metadata").write_bytes(
        b"c" + name + b"(N}Vfoo\nVbar\nstb."
    )  # setattr(Metadata, "foo", "bar")
    with pytest.raises(ValueError, match=r"\.metadata is no plain index of shards"):
        checkpoints.load(folder)
    assert not hasattr(torch_metadata.Metadata, "foo")


@pytest.mark.parametrize("path", ["../outside.distcp", "/etc/hostname", "link.distcp", "pipe.distcp"])
def test_shards_lie_in_the_folder_and_are_files(folder, path):
    (folder / "__0_0.distcp").rename(folder.parent / "outside.distcp")
    (folder / "link.distcp").symlink_to("../outside.distcp")
    os.mkfifo(folder / "pipe.distcp")

    def change(index):
        for info in index.storage_data.values():
            info.relative_path = path

    _rewrite(folder, change)
    for read in (checkpoints.load, sharded.check):
        with pytest.raises(ValueError, match=r"a path out of it|a link out of its folder|is no plain file"):
            read(folder)


def test_what_is_missing_or_does_not_fit_together_is_said(folder):
    def shrink(index):
        chunk = index.state_dict_metadata["state_dict.model.a.weight"]
        chunk.size = torch.Size([500, 300])

    _rewrite(folder, shrink)
    with pytest.raises(ValueError, match=r"state_dict\.model\.a\.weight is not complete"):
        checkpoints.load(folder)
    (folder / "__0_0.distcp").unlink()
    with pytest.raises(ValueError, match=r"its __0_0\.distcp is missing"):
        checkpoints.load(folder)
    (folder / "meta.pt").unlink()
    with pytest.raises(ValueError, match=r"its meta\.pt is missing"):
        checkpoints.load(folder)
    (folder / ".metadata").unlink()
    with pytest.raises(ValueError, match=r"its \.metadata is missing"):
        checkpoints.load(folder.parent.parent)


def test_one_process_can_not_go_on_from_shards(small_run, tmp_path):
    _write(tmp_path / "run/checkpoints/last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt is a folder of shards; go on with trainer=fsdp"):
        train(small_run(), tmp_path / "run")


STOP = """
import sys
import lightning as L

class Stop(L.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 6:
            raise RuntimeError("stopped")
"""


@pytest.mark.slow
def test_two_processes_save_and_resume_shards_that_equal_a_single_file(configure, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/own_stop.py").write_text(STOP)
    settings = ("backbone.dim=32", "backbone.depth=2", "backbone.num_heads=2", "tokenizer.patch_size=16")
    settings += ("trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=csv")
    settings += ("trainer.precision=32-true", "data.val_fraction=0.8", "loader.batch_size=32")
    settings += ("trainer.max_epochs=2", "trainer.strategy.save_distributed_checkpoint=")

    def command(*arguments):
        call = [sys.executable, "-m", "unimodal", *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)

    def run(kind, *more):
        return command("train", "--config-dir", "own", *settings[:-1], settings[-1] + kind, *more)

    for kind, output in (("false", "one"), ("true", "shards")):
        done = run(kind, f"output={output}")
        assert done.returncode == 0, done.stderr
    stopped = run("true", "output=resumed", "+callbacks.stop._target_=own_stop.Stop")
    assert stopped.returncode != 0 and "stopped" in stopped.stderr
    done = run("true", "output=resumed")
    assert done.returncode == 0, done.stderr
    assert "resumed from last.ckpt" in done.stdout
    assert (tmp_path / "shards/checkpoints/last.ckpt").is_dir()
    _, one = checkpoints.load(tmp_path / "one/checkpoints/last.ckpt")
    for name in ("shards", "resumed"):
        _, other = checkpoints.load(tmp_path / name / "checkpoints/last.ckpt")
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert torch.equal(value, other[key]), f"{name}: {key}"
    for verb in (("evaluate", "checkpoint=shards"), ("train", "pretrained=shards", "output=next")):
        overrides = (*settings[:4], "debug=fast") if verb[0] == "train" else ()
        done = command(*verb, "trainer=cpu", *overrides)
        assert done.returncode == 0, done.stderr
