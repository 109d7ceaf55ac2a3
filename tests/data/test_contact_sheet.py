import pytest
import torch

from unimodal.data.contact_sheet import CELL, Cell, contact_sheet, draw_sample
from unimodal.types import Waveform

SAMPLES = {
    "image": {"image": torch.randint(0, 255, (3, 20, 10), dtype=torch.uint8)},
    "video": {"video": torch.randint(0, 255, (6, 3, 16, 16), dtype=torch.uint8)},
    "audio": {"audio": Waveform(torch.sin(torch.arange(8000) / 5), 8000)},
    "short audio": {"audio": Waveform(torch.zeros(3), 8000)},
    "text": {"text": "a long line of words " * 50},
    "other letters": {"text": "\u65e5\u672c\u8a9e \U0001f600"},
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_can_be_drawn(name):
    picture = draw_sample(SAMPLES[name])
    assert max(picture.size) <= CELL
    assert len(set(picture.get_flattened_data())) > 1 or name == "short audio"


def test_a_tone_is_a_line_in_its_spectrogram():
    picture = draw_sample(SAMPLES["audio"]).convert("L").crop((0, 0, CELL, CELL - 30))
    rows = torch.tensor(list(picture.get_flattened_data())).view(CELL - 30, CELL).float().mean(1)
    assert rows.max() > 4 * rows.median()


def test_a_sheet_has_a_cell_for_each_sample():
    cells = [Cell(sample, "a title that is far too long for its cell " * 3) for sample in SAMPLES.values()]
    one, two = contact_sheet(cells, "heading"), contact_sheet(cells * 2, "heading")
    assert one.width == two.width and two.height > 1.8 * one.height


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="no sample"):
        contact_sheet([], "heading")
