"""The baseline of a run equals scikit-learn's own, is compared with the run, and never breaks one."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, mean_absolute_error
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.examples import Examples, label_of
from unimodal.data.simple_features import FeatureRows
from unimodal.training.baseline import compared
from unimodal.training.train import train

SHORT = ("debug=none", "trainer.max_steps=1", "trainer.max_epochs=1", "loader.batch_size=8")
TEXT = ("modality=text", "task=classification", "data=table", "tokenizer.max_len=32", *SHORT)
WORDS = {"fruit": ["apple", "pear", "plum", "cherry"], "tool": ["saw", "hammer", "drill", "plane"]}


def sentences(num=120):
    """Texts with their labels; one word of each gives its class away."""
    rng = np.random.default_rng(0)
    names = [("fruit", "tool")[i] for i in rng.integers(0, 2, num)]
    filler = ["the", "a", "of", "and", "with", "under", "near", "red"]
    return [(" ".join([*rng.choice(filler, 5), str(rng.choice(WORDS[name]))]), name) for name in names]


def write_table(path, rows, header="text,label,split"):
    splits = ["train" if i < 3 * len(rows) // 4 else "val" for i in range(len(rows))]
    lines = [",".join(map(str, (*row, split))) for row, split in zip(rows, splits, strict=True)]
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def parts(rows):
    """Inputs and labels of the training rows, then of the validation rows."""
    cut = 3 * len(rows) // 4
    return ([row[0] for row in some] for some in (rows[:cut], rows[cut:]))


@pytest.fixture
def run(small_run, tmp_path, capsys):
    """Train with these overrides; returns the metrics, which metrics.json has too, and what was printed."""

    def _run(*overrides, name="run"):
        output = tmp_path / name
        metrics = train(small_run(*overrides, f"output={output}"), output)
        assert json.loads((output / "metrics.json").read_text()) == metrics
        return metrics, capsys.readouterr().out

    return _run


def said(out):
    """The lines on the baseline."""
    return [
        line for line in out.splitlines() if line.strip().startswith("baseline") or "its baseline" in line
    ]


def tf_idf():
    return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)


def test_the_baseline_of_texts_is_that_of_scikit_learn(run, tmp_path):
    rows = sentences()
    rows = [(text, name if i % 9 else "fruit") for i, (text, name) in enumerate(rows)]  # not perfect
    metrics, out = run(*TEXT, f"data.path={write_table(tmp_path / 'd.csv', rows)}")
    train_texts, val_texts = parts(rows)
    labels = [name for _, name in rows]
    model = make_pipeline(tf_idf(), LogisticRegression(C=30, max_iter=200)).fit(train_texts, labels[:90])
    expected = model.score(val_texts, labels[90:])
    assert 0.8 < expected < 1
    assert metrics["baseline"] == {
        "metric": "val/accuracy",
        "value": pytest.approx(expected),
        "mode": "max",
        "model": "logistic regression on TF-IDF of words and pairs of words",
        "num_train": 90,
        "num_val": 30,
    }
    assert f"baseline: val/accuracy {expected:.4f}, logistic regression on TF-IDF" in out


def photos(folder, num=100, classes=3):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(num):
        label = int(rng.integers(0, classes))
        pixels = rng.integers(0, 200, (16, 16, 3))
        pixels[4 * label : 4 * label + 4] += 40
        rows.append((pixels.astype(np.uint8), label))
        target = folder / ("train" if i < 80 else "val") / f"class{label}" / f"{i:03}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(target)
    return rows


def test_the_baseline_of_images_is_that_of_scikit_learn(run, tmp_path):
    rows = photos(tmp_path / "photos")
    rows = [*sorted(rows[:80], key=lambda row: row[1]), *rows[80:]]  # as the class folders are read
    metrics, _ = run(
        *("modality=image", "data=folder", f"data.path={tmp_path / 'photos'}", "augment=none"),
        *("tokenizer.image_size=16", *SHORT),
    )
    columns = np.stack([pixels.transpose(2, 0, 1).ravel() for pixels, _ in rows]).astype(np.float32)
    labels = np.array([label for _, label in rows])
    encoder = make_pipeline(StandardScaler(), PCA(80, random_state=0)).fit(columns[:80])
    features = encoder.transform(columns) / 768**0.5
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0)).numpy()
    held, rest = order[::5], np.delete(order, np.s_[::5])

    def fitted(strength, some):
        return LogisticRegression(C=strength, max_iter=200).fit(features[some], labels[some])

    best = max((1, 10, 100), key=lambda c: fitted(c, rest).score(features[held], labels[held]))
    expected = fitted(best, np.arange(80)).score(features[80:], labels[80:])
    assert expected > 0.5
    assert metrics["baseline"]["value"] == pytest.approx(expected)


def test_baseline_false_leaves_it_out_and_changes_nothing_else(run, tmp_path):
    data = f"data.path={write_table(tmp_path / 'd.csv', sentences())}"
    shown, out = run(*TEXT, data, name="shown")
    hidden, quiet = run(*TEXT, data, "baseline=false", name="hidden")
    assert "baseline" in shown and "baseline: " in out
    assert "baseline" not in hidden and not said(quiet)
    assert {k: v for k, v in shown.items() if k.startswith("val/")} == {
        k: v for k, v in hidden.items() if k.startswith("val/")
    }


def test_workers_read_the_same_baseline_and_the_run_stays_the_same(run, tmp_path):
    data = f"data.path={write_table(tmp_path / 'd.csv', sentences())}"
    alone, _ = run(*TEXT, data, name="alone")
    workers, _ = run(*TEXT, data, "loader.num_workers=1", name="workers")
    assert alone["baseline"] == workers["baseline"]
    assert alone["val/loss"] == workers["val/loss"]


def test_a_run_below_its_baseline_says_so_and_one_above_does_not(run, tmp_path):
    data = f"data.path={write_table(tmp_path / 'd.csv', sentences())}"
    below, out = run(*TEXT, data, name="below")
    assert below["baseline"]["value"] == 1 > below["val/accuracy"]
    points = 100 * (1 - below["val/accuracy"])
    assert f"this run is {points:.1f} points worse than it" in out
    assert "This run is below its baseline: val/accuracy is" in out
    above, out = run(
        *TEXT, data, "trainer.max_steps=60", "trainer.max_epochs=20", "optimizer.lr=1e-2", name="above"
    )
    assert above["val/accuracy"] == 1
    assert "this run is equal to it" in out and "below its baseline" not in out


def test_numbers_are_compared_by_ridge_regression(run, tmp_path):
    rng = np.random.default_rng(0)
    rows = [(text, round(3 * len(text) + rng.normal(), 3)) for text, _ in sentences()]
    metrics, out = run(
        *TEXT, "task=regression", f"data.path={write_table(tmp_path / 'd.csv', rows)}", "seed=1"
    )
    train_texts, val_texts = parts(rows)
    encoder, numbers = tf_idf().fit(train_texts), np.array([number for _, number in rows])
    values = encoder.transform(train_texts), encoder.transform(val_texts)
    candidates = [
        mean_absolute_error(numbers[90:], Ridge(alpha=a).fit(values[0], numbers[:90]).predict(values[1]))
        for a in (10, 1, 0.1)
    ]
    assert metrics["baseline"]["metric"] == "val/mae" and metrics["baseline"]["mode"] == "min"
    assert any(metrics["baseline"]["value"] == pytest.approx(one, rel=1e-3) for one in candidates)
    assert "ridge regression" in out and "val/loss" not in metrics["baseline"]["metric"]


def test_several_labels_are_compared_one_against_the_rest(run, tmp_path):
    rows = [(text, f"{name}|red" if "red" in text else name) for text, name in sentences()]
    metrics, _ = run(*TEXT, f"data.path={write_table(tmp_path / 'd.csv', rows)}")
    train_texts, val_texts = parts(rows)
    names = ["fruit", "red", "tool"]
    targets = np.array([[name in label.split("|") for name in names] for _, label in rows], int)
    model = make_pipeline(tf_idf(), OneVsRestClassifier(LogisticRegression(C=30, max_iter=200)))
    scores = model.fit(train_texts, targets[:90]).decision_function(val_texts)
    expected = average_precision_score(targets[90:], scores, average="macro")
    assert metrics["baseline"]["metric"] == "val/map"
    assert metrics["baseline"]["value"] == pytest.approx(expected)


def test_a_run_that_chooses_by_the_loss_is_compared_by_accuracy(run, tmp_path):
    data = f"data.path={write_table(tmp_path / 'd.csv', sentences())}"
    metrics, _ = run(*TEXT, data, "callbacks.best.monitor=val/loss")
    assert metrics["monitor"] == "val/loss" and metrics["baseline"]["metric"] == "val/accuracy"
    metrics, _ = run(*TEXT, data, "callbacks.best.monitor=val/f1", name="f1")
    assert metrics["baseline"]["metric"] == "val/f1"


def test_data_without_a_linear_model_says_why_and_trains(run, tmp_path):
    rows = [("?! ...", name) for _, name in sentences()]  # no word at all
    metrics, out = run(*TEXT, f"data.path={write_table(tmp_path / 'd.csv', rows)}")
    assert "baseline" not in metrics and metrics["steps"] == 1
    assert "baseline: none, the linear model cannot be fitted: empty vocabulary" in out


def test_tasks_without_a_baseline_are_quiet(run):
    metrics, out = run("modality=text", "tokenizer.max_len=32", "task.sample_len=8", *SHORT)
    assert "baseline" not in metrics and not said(out)


def test_a_modality_of_ones_own_has_no_baseline_and_trains(small_run, tmp_path, capsys, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "add-a-modality.md").read_text(encoding="utf-8")
    code = page.partition("`my-folder/own_series.py`:\n")[2].partition("`my-folder/data/waves.yaml`")[0]
    (tmp_path / "own_series.py").write_text(textwrap.dedent(code), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config = small_run("augment=none", *SHORT)
    config["tokenizer"] = {"_target_": "own_series.SeriesTokenizer", "dim": 32}
    config["data"] = {"_target_": "own_series.Waves", "train_size": 60, "val_size": 30}
    metrics = train(config, tmp_path / "run")
    assert "val/accuracy" in metrics and "baseline" not in metrics
    assert not said(capsys.readouterr().out)


def test_a_value_without_simple_features_is_a_reason_and_no_crash():
    samples = [{"image": "not pixels", "label": 0}]
    rows = FeatureRows(Examples(samples, {}, target=label_of), ["image"], [0])
    with pytest.raises(BadSample, match='"image" is not what its simple features are made of'):
        rows[0]


def test_samples_in_parts_are_read_by_modality_and_lack_some():
    samples = [{"parts": [{"text": "second"}, {"text": "third"}], "label": 1, "counted": False}]
    rows = FeatureRows(Examples(samples, {}, target=label_of), ["image", "text"], [0])
    values, label = rows[0]
    assert values == [None, "second"] and label == -100


def test_not_a_number_is_below_the_baseline():
    baseline = {"metric": "val/mae", "value": 2.0, "mode": "min", "model": "ridge regression on words"}
    cell, below = compared(baseline, {"val/mae": float("nan")})
    assert "this run has no finite val/mae" in cell and "below its baseline" in below
    assert compared(baseline, {"val/mae": 1.5}) == (
        "val/mae 2.0000, ridge regression on words; this run is 0.5 better than it",
        "",
    )


def test_debug_runs_have_no_baseline(run):
    metrics, out = run("modality=image")
    assert "baseline" not in metrics and not said(out)
