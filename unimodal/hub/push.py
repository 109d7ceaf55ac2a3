"""An exported folder to the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi


def push(folder: Path, repo: str, private: bool) -> str:
    """Uploads a folder; the repository is made if it is not there yet.

    Args:
        folder: complete, with its README.md.
        repo: `name` or `organisation/name`.
        private: of a new repository; one that is there stays as it is.

    Returns:
        Where it is now, a URL.

    Raises:
        ValueError: whatever goes wrong; what to do about it.
    """
    api = HfApi()
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Export from unimodal")
    except Exception as error:  # the hub's, httpx's and the file system's errors have no common base
        reason = str(error).strip().partition("\n")[0].rstrip(". ") or type(error).__name__
        raise ValueError(
            f"push={repo} failed: {reason}; {folder} itself is complete. Log in with `hf auth login` (or set "
            f"HF_TOKEN) and upload it: hf upload {repo} {folder}"
        ) from error
    return str(made)
