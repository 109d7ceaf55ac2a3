"""What is written today loads in the oldest transformers that is to read it, and in the newest known."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

VERSIONS = ["5.17", "5.23", "5.24"]  # 5.24 renamed past_key_values to cache
CLASSIFIERS = ["image", "audio", "video", "modern_image", "modern_audio", "modern_video"]
WRITERS = ["text", "modern_text", "portable_text"]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with a transformers of this version and what it needs; torch is this Python's own."""
    folder, made = tmp_path_factory.mktemp("sites"), {}

    def _site(version):
        if version not in made:
            wanted, target = f"transformers=={version}.*", folder / version
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", target]
            done = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (
                f"{wanted} cannot be installed, which needs the network: {done.stderr}"
            )
            made[version] = target
        return made[version]

    return _site


@pytest.fixture
def answers(exported, job, ask, site, shelf):
    """Of all folders under one version."""
    _, made = shelf

    def _answers(version):
        if version not in made:
            names = [name for name in (*CLASSIFIERS, *WRITERS) if name != "portable_text"]
            jobs = {name: job(name, exported(name)) for name in names}
            jobs["portable_text"] = job("modern_text", exported("modern_text", "format=portable"))
            made[version] = ask(jobs, site(version))
        return made[version]

    return _answers


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_this_version_that_is_asked(answers, version):
    assert answers(version)["version"].startswith(f"{version}.")


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_models_and_pipelines_predict_as_the_run(trained, held_out, answers, difference, version, name):
    outputs, there = held_out(trained(name)).outputs, answers(version)[name]
    assert difference(there["logits"], outputs) < 1e-4
    assert difference(there["scores"], outputs.softmax(1)) < 1e-5
    assert there["class"].startswith("Unimodal") == name.startswith("modern")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_language_models_write_as_the_run(trained, answers, greedily, version, name):
    ours = greedily(trained("modern_text" if name == "portable_text" else name))
    there = answers(version)[name]
    assert there["texts"] == there["together"] == there["piped"] == ours


@pytest.mark.parametrize("name", WRITERS)
def test_all_versions_say_the_same(answers, difference, name):
    old, *others = (answers(version)[name] for version in VERSIONS)
    for new in others:
        assert old["nats"] == pytest.approx(new["nats"], rel=1e-6)
        assert old["ids"] == new["ids"]
