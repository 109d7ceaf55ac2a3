"""What a machine without unimodal does with exported folders: processors, models, pipelines, `generate`.

Run as `python -I stranger.py REQUEST.pt ANSWERS.pt [SITE]`. Packages in the folder SITE come first: so
another transformers is asked.
"""

import os
import sys
from importlib.abc import MetaPathFinder


class NoUnimodal(MetaPathFinder):
    """As if it were not installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in ("unimodal", "lightning", "torchmetrics", "hydra"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


sys.meta_path.insert(0, NoUnimodal())
sys.path[:0] = sys.argv[3:]
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402

PROCESSORS = {
    "image": "AutoImageProcessor",
    "video": "AutoVideoProcessor",
    "audio": "AutoFeatureExtractor",
    "text": "AutoTokenizer",
}
BATCH = 32


def as_given(job):
    """The samples as users of transformers have them."""
    if job["field"] == "text":
        return job["samples"]
    arrays = [sample.numpy() for sample in job["samples"]]
    return [Image.fromarray(one) for one in arrays] if job["field"] == "image" else arrays


def processed(processor, job, samples):
    """A batch, padded where samples differ in length."""
    if job["field"] == "text":
        inputs = processor(samples, padding=True, truncation=True, return_tensors="pt")
        return {key: inputs[key] for key in ("input_ids", "attention_mask")}
    if job["field"] == "audio":
        return processor(samples, sampling_rate=job["sample_rate"], padding=True, return_tensors="pt")
    return processor(
        [list(clip) for clip in samples] if job["field"] == "video" else samples, return_tensors="pt"
    )


def piped(job, sample):
    """A sample as a pipeline takes it, which may empty it."""
    return {"raw": sample, "sampling_rate": job["sample_rate"]} if job["field"] == "audio" else sample


def load(job, class_name):
    model, info = getattr(transformers, class_name).from_pretrained(
        job["folder"], trust_remote_code=job["trust_remote_code"], output_loading_info=True
    )
    faults = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    assert not faults, f"{class_name}: {faults}"
    return model.eval()


def pipeline_of(job, task):
    return transformers.pipeline(
        task, model=job["folder"], trust_remote_code=job["trust_remote_code"], device="cpu"
    )


def classify(job):
    """Logits [N, C] through the processor, and the pipeline's scores [N, C] in the order of the classes."""
    model, samples = load(job, job["class_name"]), as_given(job)
    processor = getattr(transformers, PROCESSORS[job["field"]]).from_pretrained(job["folder"])
    batches = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
    logits = torch.cat([model(**processed(processor, job, batch)).logits for batch in batches])
    pipe, num = pipeline_of(job, f"{job['field']}-classification"), logits.shape[1]
    options = {"top_k": None, "truncation": True} if job["field"] == "text" else {"top_k": num}
    ids, scores, tops = model.config.label2id, torch.full_like(logits, torch.nan), []
    for row, sample in enumerate(samples):
        said = pipe(piped(job, sample), **options)
        tops.append(said[0]["label"])
        for one in said:
            scores[row, ids[one["label"]]] = one["score"]
    return {"logits": logits, "scores": scores, "labels": tops, "class": type(model).__name__}


def write(job):
    """Greedy continuations, one at a time, in a padded batch and by the pipeline; and what windows cost."""
    model = load(job, job["class_name"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"])
    options = {"do_sample": False, "max_new_tokens": job["num_new"]}

    def continued(prompts, **more):
        ids = model.generate(**tokenizer(prompts, return_tensors="pt", **more), **options)
        return tokenizer.batch_decode(ids, skip_special_tokens=True)

    answers = {"texts": [text for prompt in job["prompts"] for text in continued([prompt])]}
    answers["together"] = continued(job["prompts"], padding=True)
    said = pipeline_of(job, "text-generation")(job["prompts"], **options)
    answers["piped"] = [one["generated_text"] for [one] in said]
    answers["ids"] = [tokenizer(text)["input_ids"] for text in job["samples"]]
    nats, likeliest = 0.0, []
    for ids in job["windows"]:
        logits = model(input_ids=ids[:, :-1]).logits.float()
        nats += float(
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
        )
        likeliest.append(logits.argmax(-1))
    return answers | {"nats": nats, "likeliest": likeliest, "class": type(model).__name__}


def embed(job):
    """Of each sample what the pipeline of features gives: tokens [N, D], or of images one vector [D]."""
    task = "image-feature-extraction" if job["field"] == "image" else "feature-extraction"
    pipe = pipeline_of(job, task)
    options = {"pool": True} if job["field"] == "image" else {"truncation": True}
    return {"vectors": [torch.tensor(pipe(sample, **options)[0]) for sample in as_given(job)]}


def retrain(job):
    """The model is saved, loaded again, fine-tuned for two steps by Trainer, saved and loaded again."""
    model, samples = load(job, job["class_name"]), as_given(job)
    processor = getattr(transformers, PROCESSORS[job["field"]]).from_pretrained(job["folder"])
    inputs = processed(processor, job, samples)
    before, again = model(**inputs).logits, f"{job['folder']}-again"
    model.save_pretrained(again)
    same = load(job | {"folder": again}, job["class_name"])(**inputs).logits
    rows = [{key: value[i] for key, value in inputs.items()} | {"labels": i % 2} for i in range(len(samples))]
    settings = transformers.TrainingArguments(
        again, max_steps=2, learning_rate=0.01, use_cpu=True, report_to="none", disable_tqdm=True
    )
    with torch.inference_mode(False), torch.enable_grad():
        model = load(job | {"folder": again}, job["class_name"])
        trainer = transformers.Trainer(model, settings, train_dataset=[clone(row) for row in rows])
        trainer.train()
    trainer.save_model(again)
    after = model.eval()(**inputs).logits
    reloaded = load(job | {"folder": again}, job["class_name"])(**inputs).logits
    return {"before": before, "same": same, "after": after, "reloaded": reloaded}


def clone(row):
    """Tensors that may be a part of a graph."""
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in row.items()}


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    request, kinds = (
        torch.load(sys.argv[1]),
        {"classify": classify, "write": write, "embed": embed, "retrain": retrain},
    )
    with torch.inference_mode():
        answers = {name: kinds[job["kind"]](job) for name, job in request.items()}
    torch.save(answers | {"version": transformers.__version__}, sys.argv[2])


if __name__ == "__main__":
    main()
