"""Upload, up to the network call."""

import pytest
from huggingface_hub import HfApi, RepoUrl
from huggingface_hub.errors import LocalTokenNotFoundError

from unimodal.hub.push import push


@pytest.fixture
def calls(monkeypatch):
    """What would be asked of the hub."""
    asked = {}

    def create_repo(self, repo_id, **kwargs):
        asked["create_repo"] = {"repo_id": repo_id} | kwargs
        return RepoUrl("https://huggingface.co/me/digits")

    def upload_folder(self, **kwargs):
        asked["upload_folder"] = kwargs

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    return asked


@pytest.mark.parametrize("private", [True, False])
def test_a_folder_is_uploaded_whole(tmp_path, calls, private):
    assert push(tmp_path, "digits", private) == "https://huggingface.co/me/digits"
    assert calls["create_repo"] == {"repo_id": "digits", "private": private, "exist_ok": True}
    assert calls["upload_folder"]["repo_id"] == "me/digits"  # as the hub calls it
    assert calls["upload_folder"]["folder_path"] == tmp_path


@pytest.mark.parametrize(
    "error",
    [
        LocalTokenNotFoundError("no token.\nmore"),
        ConnectionError("unreachable"),
        TimeoutError(),
        OSError("403"),
    ],
)
@pytest.mark.parametrize("method", ["create_repo", "upload_folder"])
def test_an_error_says_that_the_folder_is_complete(tmp_path, calls, monkeypatch, error, method):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(HfApi, method, fail)
    with pytest.raises(
        ValueError, match=r"^push=me/x failed: .+; .* itself is complete\. .*hf auth login"
    ) as caught:
        push(tmp_path, "me/x", True)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_name_that_the_hub_does_not_take_is_refused_without_asking(tmp_path):
    with pytest.raises(ValueError, match=r"push=a/b/c failed: .* itself is complete"):
        push(tmp_path, "a/b/c", True)


def test_without_a_token_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="itself is complete"):
        push(tmp_path, "me/x", True)
