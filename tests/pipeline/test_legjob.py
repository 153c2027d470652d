from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pytest

from pipeline.chain import Link
from pipeline.legjob import cut_into_groups
from stages.base import Needs


@dataclass
class Plain:
    reads: ClassVar = ()
    adds: ClassVar = pa.schema([])

    def needs(self):
        return Needs()


class Model(Plain):
    def needs(self):
        return Needs(model=True)


def groups(*chain):
    links = [Link(name, Model() if name.isupper() else Plain(), pool) for name, pool in chain]
    cut = cut_into_groups(links, [(name, {}) for name, _ in chain])
    return [(group.pool, "".join(use for use, _ in group.stages)) for group in cut]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("abc", [(None, "abc")]),
        ("lECjkS", [(None, "l"), ("m", "ECjkS")]),  # what stands between two models rides along
        ("lEaZ", [(None, "l"), ("m", "EaZ")]),
        ("Eab", [("m", "E"), (None, "ab")]),
    ],
)
def test_a_chain_is_cut_where_workers_change(chain, expected):
    assert groups(*[(letter, "m") for letter in chain]) == expected


def test_two_pools_stay_apart():
    chain = [("l", "m"), ("E", "clap"), ("C", "caption"), ("j", "m"), ("S", "clap")]
    assert groups(*chain) == [(None, "l"), ("clap", "E"), ("caption", "C"), (None, "j"), ("clap", "S")]
