"""Probes of recipes: real steps."""

import math

import pytest

from narrows.choose.clock import Probe
from narrows.cli.recipes import find
from narrows.compare.bench import Source

NETWORK = {"class_path": "narrows.networks.Conv", "init_args": {"hidden": 8, "downsamplings": 1}}


def probe(label, rate=0.5):
    return Probe(label, find(label).read_text(), NETWORK, Source("digits", {}), rate, 16)


def test_a_probe_times_steps(tmp_path):
    found = probe("rounded").run(tmp_path)
    assert 0 < found["seconds"] < math.inf


def test_a_probe_says_that_a_rate_is_out_of_reach(tmp_path):
    with pytest.raises(RuntimeError, match="hold at most"):
        probe("vq-entropy", rate=50.0).run(tmp_path)
