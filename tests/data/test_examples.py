import pickle

import pytest
import torch
from torch import nn

from unimodal.backbone.transformer import Transformer
from unimodal.data.augment import AudioAugment, ImageAugment
from unimodal.data.examples import Examples, label_of
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.sources.digits import Digits
from unimodal.data.sources.keypad_tones import KeypadTones
from unimodal.model import Unimodal
from unimodal.tasks.classification import Classification
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer, ImagePreprocess

AUGMENT = ImageAugment(rotate=15, translate=0.2, scale=0.2, brightness=0.3)


def digits(augment=AUGMENT, seed=0, split="val"):
    preprocess = {"image": ImagePatchTokenizer(32, image_size=16, patch_size=8).preprocess}
    return Examples(PreparedSamples(Digits().split(split), preprocess), preprocess, augment, seed, label_of)


def batches(dataset, num_workers=0, epoch=0, num_examples=12):
    sampler = ResumableBatchSampler(num_examples, 4, shuffle=False)
    loader = ResumableDataLoader(dataset, sampler, num_workers)
    loader.load_state_dict({"epoch": epoch, "batches": 0})
    return torch.cat([batch["pixel_values"] for batch in loader])


def test_an_example_holds_the_fitted_sample_and_its_label():
    dataset = digits(augment=None)
    example = dataset[Draw(0, 5)]
    assert example.keys() == {"pixel_values", "labels"}
    assert example["pixel_values"].shape == (3, 16, 16)
    assert example["pixel_values"].dtype == torch.uint8
    assert example["labels"] == Digits().split("val")[5]["label"]
    assert len(dataset) == len(Digits().split("val"))


def test_augmentation_is_a_pure_function_of_seed_epoch_and_index():
    first = digits()[Draw(1, 3)]["pixel_values"]
    torch.manual_seed(99)
    assert torch.equal(digits()[Draw(1, 3)]["pixel_values"], first)
    for other in (digits()[Draw(2, 3)], digits(seed=1)[Draw(1, 3)], digits()[Draw(1, 4)]):
        assert not torch.equal(other["pixel_values"], first)


def test_the_same_picture_gets_another_change_in_another_row():
    class Same(list):
        def __getitem__(self, index):
            return super().__getitem__(0)

    samples = PreparedSamples(Same(Digits().split("val")[:1] * 2), digits().preprocess)
    dataset = Examples(samples, digits().preprocess, AUGMENT, target=label_of)
    assert not torch.equal(dataset[Draw(0, 0)]["pixel_values"], dataset[Draw(0, 1)]["pixel_values"])


def test_workers_make_the_same_examples():
    dataset = digits()
    alone = batches(dataset, epoch=1)
    assert torch.equal(batches(dataset, num_workers=2, epoch=1), alone)
    assert not torch.equal(batches(dataset, num_workers=2, epoch=2), alone)


def test_the_global_generator_is_untouched():
    dataset = digits()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    dataset[Draw(0, 0)]
    assert torch.equal(torch.get_rng_state(), before)


def test_without_augmentation_epochs_are_alike():
    dataset = digits(augment=None)
    assert torch.equal(batches(dataset, epoch=0), batches(dataset, epoch=7))


def test_the_augmentation_is_told_the_preprocess():
    seen = []
    dataset = digits(augment=lambda sample, preprocess: seen.append(preprocess) or sample)
    dataset[Draw(0, 0)]
    assert seen == [dataset.preprocess["image"]]


def test_an_uncounted_draw_has_no_label():
    assert digits()[Draw(0, 3, counted=False)]["labels"] == -100


def test_labels_of_any_kind_can_be_uncounted():
    sample = {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "label": torch.tensor([1.0, 0.0])}
    preprocess = {"image": ImagePreprocess((8, 8))}
    substitute = Examples([sample | {"counted": False}], preprocess, target=label_of)[Draw(0, 0)]
    assert substitute["labels"].tolist() == [-100, -100]
    assert Examples([sample], preprocess, target=label_of)[Draw(0, 0)]["labels"].tolist() == [1, 0]


def test_examples_without_a_target_say_whether_they_count():
    sample = {"image": torch.zeros(3, 8, 8, dtype=torch.uint8)}
    rows = [sample, sample | {"counted": False}]
    examples = Examples(rows, {"image": ImagePreprocess((8, 8))})
    said = [
        bool(examples[Draw(0, i, counted)]["counted"]) for i, counted in ((0, True), (0, False), (1, True))
    ]
    assert said == [True, False, False] and "labels" not in examples[Draw(0, 0)]


def test_each_tokenizer_finds_its_own_field():
    image = ImagePatchTokenizer(32, image_size=8, patch_size=8).preprocess
    audio = AudioFrameTokenizer(32, sample_rate=8000).preprocess
    sample = Digits().split("val")[0] | KeypadTones().split("val")[0]
    preprocess = {"image": image, "audio": audio}
    example = Examples(PreparedSamples([sample], preprocess), preprocess, target=label_of)[Draw(0, 0)]
    assert example.keys() == {"pixel_values", "input_values", "labels"}


def test_a_missing_field_names_what_there_is():
    samples = PreparedSamples(KeypadTones().split("val"), digits().preprocess)
    with pytest.raises(ValueError, match='no "image"; they have audio, label'):
        samples[0]


def test_missing_labels_are_said():
    with pytest.raises(ValueError, match="the samples have no label"):
        Examples([{"image": None}], digits().preprocess, target=label_of)[Draw(0, 0)]


def test_what_goes_to_workers_holds_no_weights():
    image = ImagePatchTokenizer(32, image_size=16, patch_size=8)
    model = Unimodal({"image": image}, Transformer(32, 2, 2))
    task = Classification(model, [str(i) for i in range(10)], nn.Identity())
    preprocess = {name: tokenizer.preprocess for name, tokenizer in model.tokenizers.items()}
    samples = PreparedSamples(Digits().split("train"), preprocess)
    dataset = task.examples(samples, preprocess, training=True, augment=AUGMENT)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1797 * 64 + 20_000  # the pictures and little else
    for part in (b"unimodal.tasks", b"unimodal.model", b"unimodal.backbone", b"Parameter"):
        assert part not in pickled
    assert torch.equal(pickle.loads(pickled)[Draw(0, 1)]["pixel_values"], dataset[Draw(0, 1)]["pixel_values"])


def test_a_hidden_part_of_the_spectrogram_travels_with_the_sound():
    tokenizer = AudioFrameTokenizer(32, sample_rate=8000, n_mels=32, max_seconds=0.3)
    augment = AudioAugment(time_mask=10, freq_mask=8)
    preprocess = {"audio": tokenizer.preprocess}
    samples = PreparedSamples(KeypadTones().split("train"), preprocess)
    dataset = Examples(samples, preprocess, augment, target=label_of)
    example = dataset[Draw(0, 0)]
    num_frames = tokenizer.log_mel.num_frames(len(example["input_values"]))
    assert example["spectrogram_mask"].shape == (num_frames, 32)
    assert not example["spectrogram_mask"].all()
