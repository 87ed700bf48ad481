"""Makes the fixtures of the change detectors with the Python package river.

    python3 -m venv /tmp/river && /tmp/river/bin/pip install river==0.26.1
    /tmp/river/bin/python tests/data/drift/make.py

Each file is one stream: a line for each setting of a detector with the indices at which it alarmed,
then the samples, one on a line. `adwin` is the algorithm as in the paper, whose window lives on after
an alarm; `adwin_afresh` is river's class around it, which begins afresh. Beside the alarms stands the
width of the window after the last sample.
"""

import math
import pathlib
import random

from river import drift
from river._river_rust.drift import AdaptiveWindowing

HERE = pathlib.Path(__file__).parent
SAMPLES = 2000

PAGE_HINKLEY = [
    dict(min_instances=30, delta=0.005, threshold=50.0, alpha=0.9999),
    dict(min_instances=10, delta=0.5, threshold=8.0, alpha=1.0),
    dict(min_instances=50, delta=0.1, threshold=20.0, alpha=0.99),
]
ADWIN = [
    dict(delta=0.002, clock=32, max_buckets=5, min_window_length=5, grace_period=10),
    dict(delta=0.05, clock=1, max_buckets=5, min_window_length=5, grace_period=10),
    dict(delta=0.0001, clock=8, max_buckets=3, min_window_length=16, grace_period=64),
]


def streams():
    """Streams of different kinds, from fixed seeds."""
    draw = random.Random(20260101)
    third = SAMPLES // 3
    yield "steady", [draw.gauss(0, 1) for _ in range(SAMPLES)]
    yield "step", [draw.gauss(3 if i >= third else 0, 1) for i in range(SAMPLES)]
    yield "fall", [draw.gauss(-1.5 if i >= third else 0, 1) for i in range(SAMPLES)]
    yield "ramp", [draw.gauss(max(0, i - third) / 200, 1) for i in range(SAMPLES)]
    yield "spread", [draw.gauss(0, 5 if i >= third else 1) for i in range(SAMPLES)]
    yield "bits", [float(draw.random() < (0.6 if i >= third else 0.1)) for i in range(SAMPLES)]
    yield "heavy", [draw.paretovariate(1.5) for _ in range(SAMPLES)]
    yield "regimes", [draw.gauss(4 * (i // 250 % 3), 1) for i in range(SAMPLES)]
    yield "teeth", [i % 80 / 10 + draw.gauss(0, 0.2) for i in range(SAMPLES)]
    yield "constant", [7.5 for _ in range(SAMPLES)]
    level, walk = 0.0, []
    for _ in range(SAMPLES):
        level = 0.9 * level + draw.gauss(0, 1)
        walk.append(level)
    yield "correlated", walk


def alarms(update, samples):
    return [index for index, sample in enumerate(samples) if update(sample)]


def page_hinkley(settings, samples):
    test = drift.PageHinkley(**settings)

    def update(sample):
        test.update(sample)
        return test.drift_detected

    return alarms(update, samples), 0


def adwin_afresh(settings, samples):
    test = drift.ADWIN(**settings)

    def update(sample):
        test.update(sample)
        return test.drift_detected

    return alarms(update, samples), test.width


def adwin(settings, samples):
    window = AdaptiveWindowing(**settings)
    return alarms(window.update, samples), window.get_width()


def line(name, settings, found):
    indices, width = found
    numbers = " ".join(f"{value!r}" for value in settings.values())
    return f"{name} {numbers} | {width:.0f} | {' '.join(map(str, indices))}".rstrip()


def main():
    for name, samples in streams():
        samples = [float(f"{sample:.4f}") for sample in samples]
        assert all(map(math.isfinite, samples))
        lines = [line("page_hinkley", it, page_hinkley(it, samples)) for it in PAGE_HINKLEY]
        lines += [line("adwin", it, adwin(it, samples)) for it in ADWIN]
        lines += [line("adwin_afresh", it, adwin_afresh(it, samples)) for it in ADWIN]
        lines += [f"{sample:g}" for sample in samples]
        (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")


main()
