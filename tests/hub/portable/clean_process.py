"""What a machine without unimodal does with exported folders; run as `python -I`, it prints one JSON object.

Usage: clean_process.py FOLDER ...; a folder holds the model, and beside it `FOLDER.pt` what to ask it.
"""

import json
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path


class NoUnimodal(MetaPathFinder):
    """As if it were not installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in ("unimodal", "lightning", "torchmetrics", "hydra"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


sys.meta_path.insert(0, NoUnimodal())
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(1)
transformers.logging.disable_progress_bar()


def difference(a, b, where=None):
    return float((a - b if where is None else (a - b)[where]).abs().max())


def load(auto_class, folder, **options):
    maker = getattr(transformers, auto_class)
    return maker.from_pretrained(folder, trust_remote_code=True, output_loading_info=True, **options)


def faults(loading):
    return sorted(str(one) for name in ("missing_keys", "unexpected_keys") for one in loading[name])


@torch.no_grad()
def look(folder, asked):
    """Everything that a test wants to know of one folder."""
    model, loading = load(asked["auto_class"], folder)
    logits, real = model(**asked["inputs"]).logits, asked["real"]
    seen = {
        "loads": faults(loading),
        "module": type(model).__module__,
        "difference": difference(logits, asked["expected"], real),
        "dtypes": sorted({str(one.dtype) for one in model.parameters()}),
    }
    again = folder.with_name(f"{folder.name}-again")
    model.save_pretrained(again)
    seen["again"] = difference(load(asked["auto_class"], again)[0](**asked["inputs"]).logits, logits, real)
    bare, loading = load("AutoModel", again)
    output = bare(**asked["inputs"])
    seen["bare_loads"], seen["pooled"] = faults(loading), list(output.pooler_output.shape)
    half, _ = load(asked["auto_class"], folder, dtype=torch.bfloat16)
    where = slice(None) if real is None else real
    off = half(**asked["inputs"]).logits[where] - logits[where]
    seen["half"] = float(off.norm() / logits[where].norm())
    seen["half_dtypes"] = sorted({str(one.dtype) for one in half.parameters()})
    seen["half_buffers"] = sorted({str(one.dtype) for one in half.buffers()})
    if asked["auto_class"] == "AutoModelForCausalLM":
        written = model.generate(**asked["inputs"], do_sample=False, max_new_tokens=4)
        seen["generated"] = written[:, -4:].tolist()
    return seen


def main():
    print(json.dumps({name: look(Path(name), torch.load(f"{name}.pt")) for name in sys.argv[1:]}))


if __name__ == "__main__":
    main()
