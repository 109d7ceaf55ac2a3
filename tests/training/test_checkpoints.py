import os
import pickle

import pytest
import torch

from unimodal.training import checkpoints


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _write(path, config):
    trainer = {"overfit_batches": 0.0, "limit_val_batches": None}
    full = {
        "backbone": {},
        "tokenizer": {},
        "task": {},
        "data": {},
        "seed": 0,
        "loader": {},
        "trainer": trainer,
    }
    torch.save({"unimodal": {"format": 1, "config": full | config}, "state_dict": {}}, path)


def test_a_pickled_payload_is_refused_and_does_not_run(tmp_path):
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": Payload(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"evil\.ckpt cannot be read as a checkpoint of plain data"):
        checkpoints.load(path)
    torch.save({"state_dict": Payload(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoints.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target", ["os.mkdir", "torch.load", "builtins.eval", "unimodal.training.train.train"]
)
def test_a_target_that_no_yaml_declares_is_refused(tmp_path, target):
    path = tmp_path / "evil.ckpt"
    _write(path, {"task": {"pooling": [{"_target_": target, "path": str(tmp_path / "ran")}]}})
    with pytest.raises(ValueError, match=f"names {target}, which no yaml of unimodal declares"):
        checkpoints.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_target_of_the_users_own_yaml_is_allowed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thing.yaml").write_text("_target_: mine.Thing\n")
    _write(tmp_path / "a.ckpt", {"data": {"_target_": "mine.Thing"}})
    config, _ = checkpoints.load(tmp_path / "a.ckpt", [tmp_path / "mine"])
    assert config["data"]["_target_"] == "mine.Thing"


def test_what_is_not_checked_does_not_come_out(tmp_path):
    _write(tmp_path / "a.ckpt", {"callbacks": {"x": {"_target_": "os.mkdir"}}})
    config, _ = checkpoints.load(tmp_path / "a.ckpt")
    assert "callbacks" not in config


def test_a_newer_format_and_a_foreign_file_are_named(tmp_path):
    torch.save({"unimodal": {"format": 99, "config": {}}, "state_dict": {}}, tmp_path / "new.ckpt")
    with pytest.raises(ValueError, match="format 99; this version reads up to 1"):
        checkpoints.load(tmp_path / "new.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt is no checkpoint of unimodal"):
        checkpoints.load(tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="nowhere is no checkpoint and no run folder"):
        checkpoints.load(tmp_path / "nowhere")
