import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import AutoModel, GPT2Config, GPT2Model

from unimodal.hub.folder import Folder, is_model_folder, open_folder


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT2Model(GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2))


@pytest.fixture
def sharded(model, tmp_path):
    """A folder with several weight files, as transformers writes it."""
    model.save_pretrained(tmp_path / "model", max_shard_size="2KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    return tmp_path / "model"


@pytest.fixture
def plain(model, tmp_path):
    """A folder with one weight file."""
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache in a folder of the test, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _cached(cache: Path, folder: Path, revision: str = "main") -> Path:
    """Lay a folder out as the hub's cache does: links from snapshots to blobs."""
    repository, commit = cache / "models--someone--small", "a" * 40
    snapshot = repository / "snapshots" / commit
    for place in (repository / "blobs", repository / "refs", snapshot):
        place.mkdir(parents=True)
    (repository / "refs" / revision).write_text(commit)
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, repository / "blobs" / f"{number:040x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


def _index(folder: Path, change) -> None:
    file = folder / "model.safetensors.index.json"
    content = json.loads(file.read_text())
    change(content["weight_map"])
    file.write_text(json.dumps(content))


def _same(tensors, model) -> bool:
    theirs = model.state_dict()
    return tensors.keys() == theirs.keys() and all(torch.equal(t, theirs[n]) for n, t in tensors.items())


def test_what_transformers_wrote_is_read_whole(plain, model):
    folder = open_folder(str(plain))
    assert (folder.name, folder.path) == (str(plain), plain)
    assert folder.config["model_type"] == "gpt2"
    assert _same(folder.tensors(), model)
    assert folder.json("preprocessor_config.json") is None and folder.tokenizer_json() is None
    (plain / "tokenizer.json").write_text('{"a": "\u00e9"}', encoding="utf-8")
    assert folder.tokenizer_json() == '{"a": "\u00e9"}'


def test_shards_make_one_model(sharded, model):
    assert _same(Folder(sharded, "x").tensors(), model)


def test_a_folder_in_the_home_may_be_named_by_a_tilde(plain, monkeypatch):
    monkeypatch.setenv("HOME", str(plain.parent))
    assert open_folder("~/model").path == plain
    assert is_model_folder("~/model")


def test_the_hubs_cache_is_read_through_its_links(plain, model, cache):
    _cached(cache, plain)
    for name in ("someone/small", "someone/small@main", "someone/small@" + "a" * 40):
        folder = open_folder(name)
        assert folder.name == name
        assert _same(folder.tensors(), model)


def test_offline_an_unknown_id_is_one_sentence(cache):
    for name in ("someone/other", "gpt2", "someone/small@v2"):
        with pytest.raises(ValueError, match=rf"{name} is no folder here, nor .* cache.*give a local folder"):
            open_folder(name)


def test_a_link_of_the_cache_leads_to_blobs_of_the_same_repository_only(plain, cache, tmp_path):
    snapshot = _cached(cache, plain)
    other = cache / "models--someone--other/blobs"
    other.mkdir(parents=True)
    (tmp_path / "secret.json").write_text('{"model_type": "gpt2"}')
    shutil.copy(tmp_path / "secret.json", other / "0")
    for target in ("../../../models--someone--other/blobs/0", str(tmp_path / "secret.json")):
        (snapshot / "config.json").unlink()
        (snapshot / "config.json").symlink_to(target)
        with pytest.raises(ValueError, match=r"config\.json is a link out of its folder"):
            open_folder("someone/small")
    shutil.move(cache / "models--someone--small/blobs", tmp_path / "blobs")
    (cache / "models--someone--small/blobs").symlink_to(tmp_path / "blobs")
    with pytest.raises(ValueError, match=r"is a link out of its folder"):
        Folder(snapshot, "x").tensors()


@pytest.mark.parametrize(
    "name", ["./gpt2", "/nowhere/gpt2", "~/gpt2-of-nobody", "a/b/c", "../gpt2", "a--b/c"]
)
def test_what_looks_like_a_path_is_never_downloaded(name, cache):
    with pytest.raises(ValueError, match=f"no such folder: {name}"):
        open_folder(name)
    assert not is_model_folder(name)
    assert not cache.exists()


def test_ids_and_model_folders_are_told_from_runs(plain, tmp_path, cache):
    for name in ("gpt2", "google/vit-base-patch16-224", "someone/small@refs/pr/1"):
        assert is_model_folder(name)
    assert is_model_folder(plain) and is_model_folder(str(plain))
    run = tmp_path / "run"
    (run / "checkpoints/best.ckpt").mkdir(parents=True)
    (run / "checkpoints/best.ckpt/.metadata").touch()
    for path in (run, run / "checkpoints/best.ckpt", plain / "config.json", tmp_path):
        assert not is_model_folder(path)
    assert not is_model_folder("best.ckpt") and not is_model_folder("runs/best.ckpt")
    for path in (run, tmp_path):
        shutil.copy(plain / "config.json", path)
    assert not is_model_folder(run)
    assert is_model_folder(tmp_path)  # so that what it lacks is said
    assert not cache.exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_and_do_not_run(plain, tmp_path, file):
    (plain / "model.safetensors").unlink()
    for content in (pickle.dumps(Payload(tmp_path / "ran")), None):
        if content is None:
            torch.save({"w": Payload(tmp_path / "ran")}, plain / file)
        else:
            (plain / file).write_bytes(content)
        with pytest.raises(ValueError, match=rf"only pickled weights \({file}\).*save_pretrained"):
            open_folder(str(plain)).tensors()
    assert not (tmp_path / "ran").exists()


def test_a_pickle_under_the_name_of_safetensors_is_refused_and_does_not_run(plain, sharded, tmp_path):
    file = sorted(sharded.glob("model-*.safetensors"))[0]
    for path in (plain / "model.safetensors", file):
        path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read as safetensors"):
            Folder(plain, "x").tensors()
        path.unlink()
    assert not (tmp_path / "ran").exists()


def test_code_that_the_config_names_is_only_data(plain, model, tmp_path):
    config = json.loads((plain / "config.json").read_text())
    config |= {
        "auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"},
        "_target_": "os.mkdir",
        "path": str(tmp_path / "ran"),
        "trust_remote_code": True,
        "custom_pipelines": {"x": {"impl": "evil.Evil"}},
    }
    (plain / "config.json").write_text(json.dumps(config))
    (plain / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    folder = open_folder(str(plain))
    assert folder.config["_target_"] == "os.mkdir"
    assert _same(folder.tensors(), model)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "place", ["/etc/hostname", "../model-1.safetensors", "a/b", "..", "", "a\\b", "a\0b"]
)
def test_the_index_names_files_of_its_folder(sharded, place):
    shutil.copy(next(sharded.glob("*-00001-*")), sharded.parent / "model-1.safetensors")
    _index(sharded, lambda places: places.update({"wte.weight": place}))
    with pytest.raises(ValueError, match="is a path out of it or none at all"):
        Folder(sharded, "x").tensors()


def test_the_index_and_the_files_agree(sharded):
    original = (sharded / "model.safetensors.index.json").read_text()
    first, second = json.loads(original)["weight_map"]["wte.weight"], "model-none.safetensors"
    other = next(f.name for f in sharded.glob("*.safetensors") if f.name != first)
    for change, message in (
        (lambda p: p.update({"wte.weight": other}), "has wte.weight|lacks wte.weight"),
        (lambda p: p.pop("wte.weight"), "has wte.weight, where .* does not know it|lacks"),
        (lambda p: p.update({"more": first}), f"{first} lacks more, where .* says {first}"),
        (lambda p: p.update({"more": second}), f"{second}, which .* names, is missing"),
        (lambda p: p.update({"more": 3}), "has no weight_map from names to files"),
    ):
        (sharded / "model.safetensors.index.json").write_text(original)
        _index(sharded, change)
        with pytest.raises(ValueError, match=message):
            Folder(sharded, "x").tensors()


def test_a_tensor_in_two_files_is_an_error(sharded):
    file = sorted(sharded.glob("*.safetensors"))[-1]
    tensors = Folder(sharded, "x").tensors()
    known = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    kept = {name: tensors[name].clone() for name, place in known.items() if place == file.name}
    save_file(kept | {"wte.weight": tensors["wte.weight"].clone()}, file)
    with pytest.raises(
        ValueError, match=rf"{file.name} has wte\.weight, where .* says {known['wte.weight']}"
    ):
        Folder(sharded, "x").tensors()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_out_of_the_folder_are_refused_and_those_inside_followed(plain, model, tmp_path, name):
    (plain / name).rename(plain / "inside")
    (plain / name).symlink_to("inside")
    assert _same(Folder(plain, "x").tensors(), model)
    (plain / "inside").rename(tmp_path / "outside")
    for target in (tmp_path / "outside", "../outside", "missing", name):
        (plain / name).unlink()
        (plain / name).symlink_to(target)
        with pytest.raises(ValueError, match=rf"{name} is a link (out of its folder|that leads nowhere)"):
            Folder(plain, "x").tensors()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_pipes_devices_and_folders_are_no_files(plain, name):
    (plain / name).unlink(missing_ok=True)
    for make in (os.mkfifo, os.mkdir):
        make(plain / name)
        with pytest.raises(ValueError, match=rf"{name} is no plain file"):
            folder = Folder(plain, "x")
            folder.tokenizer_json()
            folder.tensors()
        os.unlink(plain / name) if make is os.mkfifo else os.rmdir(plain / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", r"m/config\.json holds a list, not an object"),
        (b"{", r"m/config\.json is broken JSON"),
        (b"[" * 100_000, r"m/config\.json is broken JSON"),
        (b"\xff{}", r"m/config\.json is not UTF-8 at byte 0"),
        (b"", r"m/config\.json is broken JSON"),
        (b'{"a": "' + b"x" * (16 << 20) + b'"}', r"m/config\.json has 16,777,225 bytes; at most 16,777,216"),
        (None, r"m has no config\.json, so it is no Hugging Face model folder"),
    ],
)
def test_a_config_is_one_object_of_moderate_size(plain, content, message):
    (plain / "config.json").unlink()
    if content is not None:
        (plain / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Folder(plain, "m")


def test_a_folder_without_weights_and_an_adapter_say_what_they_are(plain):
    (plain / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"m has no model\.safetensors"):
        Folder(plain, "m").tensors()
    (plain / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="m holds a peft adapter, no model"):
        Folder(plain, "m").tensors()
    with pytest.raises(ValueError, match="is a file, not a model folder"):
        open_folder(str(plain / "config.json"))


def test_truncated_weights_are_named(plain):
    file = plain / "model.safetensors"
    for size in (0, 4, file.stat().st_size // 2):
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"m/model\.safetensors cannot be read as safetensors"):
            Folder(plain, "m").tensors()


def test_what_is_read_is_what_transformers_loads(sharded):
    theirs = AutoModel.from_pretrained(sharded).state_dict()
    mine = Folder(sharded, "x").tensors()
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())
