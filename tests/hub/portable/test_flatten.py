"""The code in an exported folder."""

import ast
import importlib.util
import subprocess
import sys

import pytest
from transformers.dynamic_module_utils import get_relative_imports

from unimodal.hub.portable.flatten import imports, write_code
from unimodal.hub.portable.parts import PARTS


@pytest.fixture
def own_module(tmp_path, monkeypatch, own_tokenizer):
    """Somebody's module on the path, with more lines among its imports if wanted."""

    def _own_module(name, more=""):
        (tmp_path / f"{name}.py").write_text(own_tokenizer.replace("import math\n", f"import math\n{more}\n"))
        monkeypatch.syspath_prepend(tmp_path)
        return f"{name}.RowTokenizer"

    return _own_module


def test_files_import_each_other_and_little_else(exported, kind):
    allowed = {"torch", "transformers", "numpy", "tokenizers", *sys.stdlib_module_names}
    for path in exported(kind).glob("*.py"):
        for module, _ in imports(path.read_text()):
            if module.startswith("."):
                assert (path.parent / f"{module[1:]}.py").exists(), f"{path.name} imports {module}"
            else:
                assert module.partition(".")[0] in allowed, f"{path.name} imports {module}"


def test_transformers_finds_every_relative_import(exported, kind):
    for path in exported(kind).glob("*.py"):
        found = {one.module[1:] for one in imports(path.read_text()) if one.module.startswith(".")}
        assert set(get_relative_imports(path)) == found


def test_every_file_is_needed(exported, kind):
    todo, seen = ["configuration_unimodal", "modeling_unimodal"], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += get_relative_imports(exported(kind) / f"{name}.py")
    assert {path.stem for path in exported(kind).glob("*.py")} == seen


def test_code_is_copied_as_it_stands_but_for_imports(exported):
    spec = importlib.util.find_spec("unimodal.backbone.transformer")
    with open(spec.origin) as file:
        ours = ast.parse(file.read())
    theirs = ast.parse((exported("image_patch") / "transformer.py").read_text())
    for tree in (ours, theirs):
        tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    assert ast.dump(ours) == ast.dump(theirs)


def test_no_file_hides_a_module_of_python(exported):
    folder = exported("image_patch")
    assert not {path.stem for path in folder.glob("*.py")} & set(sys.stdlib_module_names)
    subprocess.run([sys.executable, "-c", "import enum, json, inspect, types"], cwd=folder, check=True)


def test_only_the_classes_of_the_model_are_parts(exported):
    source = (exported("image_patch") / "parts.py").read_text()
    assert "ImagePatchTokenizer" in source and "ImageConvTokenizer" not in source
    assert not (exported("image_patch") / "audio.py").exists()


def test_every_class_of_ours_can_be_exported(tmp_path):
    write_code(tmp_path, PARTS)
    found = (tmp_path / "parts.py").read_text()
    assert all(f'"{name}": ' in found for name in PARTS)


def test_a_tokenizer_of_ones_own_is_copied(own_module, tmp_path):
    target = own_module("my_rows")
    folder = tmp_path / "out"
    folder.mkdir()
    write_code(folder, [target])
    assert "from .base import Tokenizer, projection" in (folder / "my_rows.py").read_text()
    assert "from .my_rows import RowTokenizer" in (folder / "parts.py").read_text()
    assert f'"{target}": RowTokenizer' in (folder / "parts.py").read_text()


def test_a_module_of_the_same_name_as_ours_takes_nobodys_place(own_module, tmp_path):
    target = own_module("transformer")
    folder = tmp_path / "out"
    folder.mkdir()
    write_code(folder, [target, "unimodal.backbone.transformer.Transformer"])
    files = list(folder.glob("transformer*.py"))
    assert len(files) == 2 and sum("class RowTokenizer" in path.read_text() for path in files) == 1


@pytest.mark.parametrize(
    ("name", "line", "named"),
    [
        ("rows_a", "import scipy.signal", "scipy.signal"),
        ("rows_b", "from unimodal.data.media import shown", "unimodal.data.media"),
        ("rows_c", "from torchvision import io", "torchvision"),
        ("rows_d", "from .neighbour import x", ".neighbour"),
        ("rows_e", "import my_package", "my_package"),
    ],
)
def test_what_a_module_of_ones_own_may_not_import_is_named(
    own_module, tmp_path, monkeypatch, name, line, named
):
    target = own_module(name, f"if False:\n    {line}")
    with pytest.raises(
        ValueError, match=f"{name} cannot be exported: it imports {named}, but may import only"
    ):
        write_code(tmp_path, [target])


def test_an_import_that_can_not_be_made_relative_is_named(own_module, tmp_path):
    target = own_module("rows_f", "import unimodal.types")
    with pytest.raises(
        ValueError, match=r"`import unimodal.types` cannot be exported; write `from unimodal.types"
    ):
        write_code(tmp_path, [target])


@pytest.mark.parametrize("name", ["nowhere.Tokenizer", "unimodal.tokenizers.image.NoSuchTokenizer", "Lonely"])
def test_a_class_that_is_nowhere_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} cannot be imported"):
        write_code(tmp_path, [name])
