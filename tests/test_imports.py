"""The import rule of the architecture: a module imports only from rows above its own."""

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("tokenizers", "tasks", "conf")

ARRAYS = {"torch", "numpy"}
MODELS = ARRAYS | {"transformers", "tokenizers"}  # Hugging Face's `tokenizers` is a part of transformers
MEDIA = {"torchvision", "torchaudio", "soundfile", "av", "PIL", "datasets", "pyarrow", "sklearn"}

# package: (row, packages of this project that it may import, third-party packages that it may import)
TABLE = {
    "unimodal.types": (0, (), {"torch"}),
    "unimodal.suggestions": (0, (), set()),
    "unimodal.backbone": (1, ("unimodal.types",), MODELS),
    "unimodal.tokenizers": (1, ("unimodal.types",), MODELS),
    "unimodal.interleaving": (1, ("unimodal.types",), {"torch"}),
    "unimodal.model": (
        2,
        ("unimodal.types", "unimodal.backbone", "unimodal.interleaving", "unimodal.tokenizers"),
        MODELS,
    ),
    "unimodal.data": (2, ("unimodal.types", "unimodal.suggestions"), MODELS | MEDIA | {"lightning"}),
    "unimodal.tasks": (
        3,
        ("unimodal.types", "unimodal.backbone", "unimodal.tokenizers", "unimodal.model", "unimodal.data"),
        MODELS | {"lightning", "torchmetrics"},
    ),
    "unimodal.hub": (
        4,
        (
            "unimodal.types",
            "unimodal.suggestions",
            "unimodal.backbone",
            "unimodal.tokenizers",
            "unimodal.model",
            "unimodal.data",
            "unimodal.tasks.pooling",  # plain torch, and exported
        ),
        MODELS | {"safetensors", "huggingface_hub", "peft"},
    ),
    "unimodal.training": (
        5,
        (
            "unimodal.types",
            "unimodal.suggestions",
            "unimodal.backbone",
            "unimodal.model",
            "unimodal.data",
            "unimodal.tasks.base",  # the config names tokenizers and tasks, the code does not
            "unimodal.tasks.learner",
            "unimodal.tasks.joint",
            "unimodal.tasks.intervals",  # what tasks give, no task
            "unimodal.hub",
        ),
        None,  # any
    ),
}
LAST_ROW = {"cli", "__main__", "application", "mistakes", "compatibility", "doctor"}


def modules():
    """Every module of the project by its dotted name, through the links."""
    found = {}
    for folder in (ROOT / "unimodal", *(ROOT / "unimodal" / link for link in LINKS)):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path, everywhere=True):
    """What a file imports, dotted; without `everywhere` only what it imports when it is imported."""
    names, todo = set(), [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
    return {module_of(name) for name in names}


def module_of(name):
    """`unimodal.types.Batch` is in the module `unimodal.types`; foreign names stay as they are."""
    while name not in MODULES and name.startswith("unimodal."):
        name = name.rpartition(".")[0]
    return name


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def package_of(name):
    return next((package for package in TABLE if within(name, package)), None)


def foreign(name):
    return {
        top
        for top in (target.partition(".")[0] for target in imported(MODULES[name]))
        if top != "unimodal" and top not in sys.stdlib_module_names
    }


def own(name):
    return {target for target in imported(MODULES[name]) if within(target, "unimodal")}


ruled = pytest.mark.parametrize("name", sorted(name for name in MODULES if package_of(name)))


def test_the_links_are_followed():
    assert {"unimodal.tokenizers.base", "unimodal.tasks.base", "unimodal.conf"} <= set(MODULES)


def test_every_module_has_a_row():
    rest = {name for name in MODULES if package_of(name) is None} - {"unimodal", "unimodal.conf"}
    assert rest <= {f"unimodal.{name}" for name in LAST_ROW}


def test_the_table_lets_nothing_look_down_or_sideways():
    for package, (row, allowed, _) in TABLE.items():
        for other in allowed:
            assert TABLE[package_of(other)][0] < row, f"{package} may not import {other}"


@ruled
def test_a_module_imports_only_from_rows_above(name):
    package = package_of(name)
    allowed = (package, *TABLE[package][1])
    wrong = {target for target in own(name) if not any(within(target, one) for one in allowed)}
    assert not wrong, f"{name} may not import {', '.join(sorted(wrong))}"


@ruled
def test_a_module_imports_only_the_third_party_packages_of_its_row(name):
    allowed = TABLE[package_of(name)][2]
    wrong = set() if allowed is None else foreign(name) - allowed
    assert not wrong, f"{name} may not import {', '.join(sorted(wrong))}"


def test_hydra_is_known_to_the_last_rows_only():
    users = {name for name in MODULES if foreign(name) & {"hydra", "omegaconf"}}
    assert users, "the reader of imports finds nothing"
    assert all(package_of(name) in ("unimodal.training", None) for name in users)


def test_the_packages_own_init_files_import_nothing_heavy():
    for name in ("unimodal", "unimodal.conf"):
        assert foreign(name) == set() and own(name) == set()


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imported(path, everywhere=False) & set(MODULES) for name, path in MODULES.items()}
    assert "unimodal.types" in graph["unimodal.model"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def fresh_python(code):
    """Standard output of a new interpreter that runs from the repository's root."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=env, text=True).strip()


def test_importing_unimodal_loads_nothing_heavy():
    heavy = ("torch", "transformers", "hydra", "lightning", "numpy", "tokenizers")
    assert fresh_python(f"import sys, unimodal; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_hugging_faces_tokenizers_is_not_shadowed():
    where = Path(fresh_python("import tokenizers; print(tokenizers.__file__)"))
    assert "site-packages" in where.parts and ROOT not in where.parents


@pytest.mark.parametrize("folder", ["tokenizers", "tests/tokenizers", "tests", "tasks"])
def test_folders_that_would_shadow_have_no_init_file(folder):
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_conf_has_an_init_file_for_hydra():
    assert (ROOT / "conf" / "__init__.py").exists()


@pytest.mark.parametrize("name", LINKS)
def test_the_top_level_folders_are_linked_into_the_package(name):
    link = ROOT / "unimodal" / name
    assert link.is_symlink() and os.readlink(link) == f"../{name}"
    assert link.resolve() == ROOT / name
