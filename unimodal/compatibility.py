"""Guards before the first heavy import."""

import importlib.util
import os
import sys
import warnings


def prepare() -> None:
    """Hide a torchaudio that cannot be imported: most of transformers would fail with it. Warns once."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are forked
    if importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except Exception as error:
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
        warnings.warn(
            f"torchaudio does not import ({error}); audio will not work. See: unimodal doctor", stacklevel=2
        )
