"""Sound on a page: what is played is what was given."""

import io
import wave

import numpy as np
import pytest
from PIL import Image

from narrows import report
from narrows.report.sound import spectrum_top, to_wav

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2048) / RATE)[None]


def test_the_wav_file_holds_the_samples_to_sixteen_bits():
    stereo = np.concatenate([TONE, 2 * TONE - 0.3])
    with wave.open(io.BytesIO(to_wav(stereo, RATE))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, RATE, 2048)
        values = np.frombuffer(file.readframes(2048), "<i2").reshape(-1, 2).T
    assert np.abs(values / 32767 - stereo.clip(-1, 1)).max() < 1e-4


def test_the_brightest_row_of_a_tone_is_at_its_frequency():
    picture = report.spectrogram(TONE, caption="1,000 Hz")
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("L"), float)
    assert pixels.shape[0] == 129  # frequencies from 0 to 4,000 Hz, upwards
    assert 128 - pixels.mean(1).argmax() == 32
    assert picture.alt == "Spectrogram: 1,000 Hz."


def test_a_quieter_sound_is_darker_where_pictures_are_compared():
    top = spectrum_top(TONE)
    both = [report.spectrogram(g * TONE, caption="", loudest=top).data for g in (1.0, 0.1)]
    loud, quiet = (np.asarray(Image.open(io.BytesIO(one)).convert("L"), float) for one in both)
    assert quiet.mean() < loud.mean()
    assert report.spectrogram(0.1 * TONE, caption="").data == both[0]


@pytest.mark.parametrize("samples", [np.zeros((1, 500)), np.full((1, 70), np.nan)])
def test_silence_and_short_sounds_are_drawn(samples):
    assert report.clip(np.nan_to_num(samples), rate=RATE, caption="none").data


def test_a_page_plays_it_and_asks_nobody_else(tmp_path):
    clips = report.Gallery([report.clip(TONE, rate=RATE, caption="a <tone>")])
    page = report.Page("Sound", ["One."], [report.Section("Clips", [clips])])
    text = page.write(tmp_path / "page.html").read_text()
    assert text.count("<audio controls") == text.count("</audio>") == 1
    assert 'src="data:audio/wav;base64,' in text
    assert "media-src data:" in text
    assert "a &lt;tone&gt;" in text
    markdown = page.write(tmp_path / "page.md").read_text()
    assert "[Play](figures/clips-2.wav)" in markdown
    assert (tmp_path / "figures" / "clips-2.wav").read_bytes() == to_wav(TONE, RATE)


def test_sequences_without_a_rate_have_a_picture_and_nothing_to_play():
    assert isinstance(report.clip(TONE, rate=None, caption="a sensor"), report.Picture)
