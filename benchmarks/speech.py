"""A residual codec of speech: distortion over bits per second, from prefixes of one model.

    apt-get install asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav
    mkdir prompts
    ln -s /usr/share/asterisk/sounds/en_US_f_Allison prompts/en
    ln -s /usr/share/asterisk/sounds/es_MX_f_Allison prompts/es
    narrows train speech-rvq --data audio:prompts --out runs/speech
    python -m benchmarks.speech runs/speech prompts [--page speech.html] [--ledger]

Figures are those of the test split, files that were not trained on. The first n stages of each code
are decoded; their bits are -log2 of the histogram of each stage, fitted to training codes. Codecs
of libsndfile code the same windows one after the other; their bits are those of the whole file. The
page has three whole prompts, originals beside what comes back.
"""

import argparse
import dataclasses
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

import narrows as nw
from evidence.benchmarks import record
from narrows import report
from narrows.compare.pages.run import versions
from narrows.data.arrays import Division
from narrows.data.loaders.audio import SoundFile, parts_of_files, read_files
from narrows.data.reading.sound import joined, read_sound
from narrows.report.sound import spectrum_top
from narrows.training.evaluation import latents

Figures = Mapping[str, float]
Rows = Mapping[str, Figures]
RATE, SNR, LSD = HEAD = ("bits/s", "SNR, dB", "log-spectral distance, dB")
CODECS = {
    "Opus, its lowest rate": {"format": "OGG", "subtype": "OPUS", "compression_level": 1.0},
    "GSM 06.10": {"format": "WAV", "subtype": "GSM610"},
    "ADPCM (G.723, 24 kbit/s)": {"format": "AU", "subtype": "G723_24"},
    "ADPCM (G.721, 32 kbit/s)": {"format": "WAV", "subtype": "G721_32"},
}


def figures(data: nw.data.Dataset, x: Tensor, y: Tensor, bits: float) -> dict[str, float]:
    """Bits per second, and both distances, of windows and what came back for them."""
    rate = data.rate or 1
    snr = -10 * float(((x - y).square().mean() / data.variance).log10())
    lsd = nw.metrics.log_spectral_distance(x, y, deviation=data.variance**0.5).mean().item()
    seconds = x.shape[0] * x.shape[2] / rate
    return {RATE: float(f"{bits / seconds:.4g}"), SNR: round(snr, 2), LSD: round(lsd, 2)}


@torch.no_grad()
def prefixes(model: nw.Autoencoder, data: nw.data.Dataset) -> Iterator[tuple[str, Figures]]:
    """Figures of the first n stages, for every n."""
    x = data.test.batch(torch.arange(len(data.test)))
    found = list(latents(model, data.test))
    stages = torch.as_tensor(found[0].code).shape[-1]
    for n in range(1, stages + 1):
        bits, parts = 0.0, []
        for latent in found:
            code = torch.as_tensor(latent.code).clone()
            code[..., n:] = -1  # not sent
            nats = model.prior.rate(dataclasses.replace(latent, code=code))
            bits += float(nats.double().sum()) / np.log(2)
            parts.append(model.decode(code[..., :n]))
        yield f"{n} stages" if n > 1 else "1 stage", figures(data, x, torch.cat(parts), bits)


@torch.no_grad()
def unquantised(model: nw.Autoencoder, data: nw.data.Dataset) -> dict[str, float]:
    """Both distances of what the networks alone give back: the most that any code of theirs can."""
    x = data.test.batch(torch.arange(len(data.test)))
    y = torch.cat([model.decoder(model.encoder(part)) for part in x.split(64)])
    return {name: value for name, value in figures(data, x, y, 0.0).items() if name != RATE}


def published(data: nw.data.Dataset) -> Iterator[tuple[str, Figures]]:
    """Figures of codecs of libsndfile on the same windows."""
    x = data.test.batch(torch.arange(len(data.test)))
    for name, options in CODECS.items():
        file = io.BytesIO()
        soundfile.write(file, x.flatten().numpy(), data.rate or 1, **options)
        bits = 8 * file.tell()
        file.seek(0)
        back, _ = soundfile.read(file, dtype="float32")
        y = torch.from_numpy(back[: x.numel()]).view_as(x)
        yield name, figures(data, x, y, bits)


def clips(folder: Path, samples: int) -> list[SoundFile]:
    """The first test file of two to four seconds of each language, and the longest up to eight."""
    files, _ = read_files(folder, samples=samples)
    parts, _ = parts_of_files([file.name for file in files], Division())
    test = [file for file, part in zip(files, parts, strict=True) if part == "test"]
    seconds = {file.name: len(file.windows) * samples / file.rate for file in test}
    short = [file for file in test if 2 <= seconds[file.name] <= 4]
    first = {Path(file.name).parts[0]: file for file in reversed(short)}
    longest = max((f for f in test if seconds[f.name] <= 8), key=lambda f: seconds[f.name])
    return [*first.values(), longest]


def heard(model: nw.Autoencoder, folder: Path, file: SoundFile, stages: list[int]) -> report.Block:
    """A whole prompt beside what its prefixes give back."""
    sound, rate = read_sound(folder / file.name)
    x = torch.from_numpy(file.windows)
    code = torch.as_tensor(model.encode(x))
    rows = {"original": sound}
    for n in stages:
        y = model.decode(code[..., :n]).numpy()
        rows[f"{n} of {code.shape[-1]} stages"] = joined(y, sound.shape[1])
    top = spectrum_top(sound)
    return report.Gallery([
        report.clip(values, rate=rate, caption=f"{file.name}, {label}", loudest=top)
        for label, values in rows.items()
    ])  # fmt: skip


def write_page(path: Path, model: nw.Autoencoder, folder: Path, rows: Rows) -> None:
    """Figures and three prompts, to be heard."""
    stages = [1, 3, torch.as_tensor(model.encode(torch.zeros(1, *model.shape))).shape[-1]]
    units = {RATE: "", SNR: "dB", LSD: "dB"}
    columns = {name: report.Column(name.partition(",")[0], unit) for name, unit in units.items()}
    table = report.Table("Test files, one seed.", columns, rows=rows)
    heading = "Prompts that were not trained on"
    prompts = [heard(model, folder, file, stages) for file in clips(folder, model.shape[-1])]
    last = rows[f"{stages[-1]} stages"]
    answer = f"{last[RATE]:.0f} bits per second give an SNR of {last[SNR]} dB on unseen files."
    sections = [report.Section("Figures", [table]), report.Section(heading, prompts)]
    command = f"python -m benchmarks.speech RUN {folder} --page {path.name}"
    report.Page(
        "A residual codec of speech", [answer], sections, commands=[command], versions=versions()
    ).write(path)


def main() -> None:
    """Prints a line for each number of stages and each codec."""
    parser = argparse.ArgumentParser("python -m benchmarks.speech", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, help="that narrows train speech-rvq wrote")
    parser.add_argument("folder", type=Path, help="of the prompts")
    parser.add_argument("--page", type=Path, default=None, help="HTML file to write")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/")
    options = parser.parse_args()
    model = nw.Autoencoder.load(options.run)
    data = nw.data.load(f"audio:{options.folder}", samples=model.shape[-1])
    rows = dict([*prefixes(model, data), *published(data)])
    for name, found in rows.items():
        print(f"{name:26}" + "".join(f"{found[key]:10.4g} {key:28}" for key in HEAD))
        if options.ledger:
            record("speech", name, found, seed=0, recipe="speech-rvq", epochs=7)
    bound = unquantised(model, data)
    print(f"features unquantised: {bound}")
    if options.ledger:
        settings = {"seed": 0, "recipe": "speech-rvq", "epochs": 7}
        record("speech-unquantised", "features unquantised", bound, **settings)
    if options.page:
        write_page(options.page, model, options.folder, rows)


if __name__ == "__main__":
    main()
