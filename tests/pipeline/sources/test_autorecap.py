"""Published AutoReCap-XL files: merged, filtered, counted; broken lines told by number; memory bounded by shares."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from pipeline.config import Plan
from pipeline.config_sources import AutoRecapSource
from pipeline.sources import ListReport, SourceError, read_sources
from pipeline.sources.spill import PIECE_BYTES, SHARES, Spill

A, B, C = "dQw4w9WgXcQ", "-_dash_id-0", "kJQP7kiw5Fk"


def line(video: str, *clips: tuple) -> str:
    intervals = [{"start": s, "end": e, "text": t, "CLAP_SIM": c} for s, e, t, c in clips]
    return json.dumps({video: {"intervals": intervals}})


def read(path: Path | str, **keys) -> tuple[dict[str, dict], ListReport]:
    reports: list[ListReport] = []
    source = AutoRecapSource(type="autorecap", path=str(path), **keys)
    tables = list(read_sources([source], Plan(), reports=reports))
    rows = [row for table in tables for row in table.to_pylist()]
    assert len({row["source_key"] for row in rows}) == len(rows)
    return {row["source_key"]: row for row in rows}, reports[0]


def spans(row: dict) -> list[tuple]:
    return [(clip["start_ms"], clip["end_ms"], clip["caption"]) for clip in row["clips"]]


def test_a_file_as_it_is_published(tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_text(
        "[\n"
        + line(A, (12.0, 21.5, "Wind blows", 0.47), (30, 34.5, "A dog barks", 0.3))
        + ",\n"
        + line(B, ("1.5", "4.25", "Rain", None))
        + "\n]\n"
    )
    rows, report = read(path)
    first = rows[A]
    assert (first["kind"], first["location"]) == ("url", f"https://www.youtube.com/watch?v={A}")
    assert spans(first) == [(12_000, 21_500, "Wind blows"), (30_000, 34_500, "A dog barks")]
    assert [clip["clap_score"] for clip in first["clips"]] == pytest.approx([0.47, 0.3])
    assert first["caption_model"] == first["clap_model"] == "AutoReCap-XL@published"
    assert rows[B]["clips"] == [{"start_ms": 1500, "end_ms": 4250, "caption": "Rain", "clap_score": None}]
    assert (report.lines, report.sources, report.clips, report.broken_lines) == (4, 2, 3, 0)


def test_an_id_that_comes_again_is_one_source(tmp_path: Path):
    path = tmp_path / "list.json"
    others = [line(f"{n:011d}", (0, 5, "x", 0.5)) for n in range(4096)]
    path.write_text(
        "\n".join(
            [
                line(A, (20, 25, "second", 0.5)),
                *others,
                line(f"https://youtu.be/{A}", (1, 6, "first", 0.5), (20, 25, "again", 0.9)),
            ]
        )
    )
    rows, report = read(path)
    assert spans(rows[A]) == [(1000, 6000, "first"), (20_000, 25_000, "second")]
    assert report.left_out == {"duplicate": 1}
    assert report.sources == len(others) + 1


def test_broken_lines_are_told_by_number_and_end_nothing(tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_text(
        "\n".join(
            [
                line(A, (0, 5, "x", 0.5)),
                '{"cut off',
                '{"not an id": {"intervals": []}}',
                f'{{"{B}": {{"intervals": 3}}}}',
                "[1, 2]",
                f'{{"{C}": {{"intervals": [{{"start": 1, "end": 6, "text": "half \\ud83d", "CLAP_SIM": NaN}}]}}}}',
                "null",
            ]
        )
    )
    rows, report = read(path)
    assert set(rows) == {A, C}
    assert spans(rows[C]) == [(1000, 6000, "half ?")]
    assert rows[C]["clips"][0]["clap_score"] is None
    assert report.broken_lines == 5
    assert [text.split(":")[0] for text in report.first_broken] == [f"line {n}" for n in (2, 3, 4, 5, 7)]
    assert "broken lines: 5 of 7" in "\n".join(report.text())


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ((None, 5, "x", 0.5), "bad_time"),
        ((1, "soon", "x", 0.5), "bad_time"),
        ((True, 5, "x", 0.5), "bad_time"),
        ((5, 5, "x", 0.5), "reversed"),
        ((9, 5, "x", 0.5), "reversed"),
        ((-0.5, 5, "x", 0.5), "negative"),
        ((1e9, 2e9, "x", 0.5), "too_far"),
        ((1, 6, "x", 0.39), "below_min_clap"),
        ((1, 6, "x", None), "no_clap"),
        ((1, 4.9, "x", 0.5), "too_short"),
        ((1, 700, "x", 0.5), "too_long"),
    ],
)
def test_every_clip_that_is_left_out_has_a_reason(tmp_path: Path, clip: tuple, reason: str):
    path = tmp_path / "list.json"
    path.write_text(line(A, clip) + "\n" + line(B, (1, 5, "kept: both bounds are inclusive", 0.4)))
    rows, report = read(path, min_clap=0.4, min_len_s=4)
    assert set(rows) == {B}
    assert report.left_out == {reason: 1}
    assert report.empty_sources == 1


def test_no_number_is_a_bad_time(tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_text(f'{{"{A}": {{"intervals": [{{"start": NaN, "end": 2}}, {{"start": 0, "end": Infinity}}, {{}}]}}}}')
    with pytest.raises(SourceError, match="bad_time 3"):
        read(path)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("keep", [(0, 25_000)]),
        ("split", [(0, 10_000), (10_000, 20_000), (20_000, 25_000)]),
        ("drop", []),
    ],
)
def test_clips_longer_than_the_plan_allows(tmp_path: Path, over: str, expected: list):
    path = tmp_path / "list.json"
    path.write_text(line(A, (0, 25, "a joined clip", 0.5)) + "\n" + line(B, (2, 5, "x", 0.5), (4, 8, "overlaps", 0.5)))
    rows, report = read(path, over_clip_max=over)
    assert len(rows[B]["clips"]) == 2
    assert [span[:2] for span in spans(rows[A])] == expected if expected else A not in rows
    assert report.left_out == ({} if expected else {"too_long": 1})


@pytest.mark.parametrize("how", ["gz", "gz in pieces", "zst", "memory"])
def test_compressed_and_far_away(tmp_path: Path, how: str):
    data = "".join(line(f"{n:011d}", (0, 5, "caption " * 20, 0.5)) + "\n" for n in range(9000)).encode()
    assert len(data) > 2 << 20  # more than a block
    path: Path | str = tmp_path / f"list.json.{how[:3].strip()}"
    if how == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(data)
    elif how == "gz":
        Path(path).write_bytes(gzip.compress(data))
    elif how == "gz in pieces":
        Path(path).write_bytes(gzip.compress(data[:100_001]) + gzip.compress(data[100_001:]))
    else:
        path = "memory://lists/autorecap.json"
        fsspec.filesystem("memory").pipe_file("/lists/autorecap.json", data)
    rows, report = read(path)
    assert (len(rows), report.broken_lines) == (9000, 0)


def test_files_that_cannot_be_read_say_why(tmp_path: Path):
    with pytest.raises(SourceError, match="is not there"):
        read(tmp_path / "none.json")
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(b"x" * 100_000)[:60])
    with pytest.raises(SourceError, match="cannot be read"):
        read(cut)
    pretty = tmp_path / "pretty.json"
    pretty.write_text(json.dumps({A: {"intervals": [{"start": 0, "end": 5}]}}, indent=2))
    with pytest.raises(SourceError, match="broken lines"):
        read(pretty)


def test_shares_bring_together_what_is_far_apart(tmp_path: Path):
    filler = "x" * 1000
    count = 2 * SHARES * PIECE_BYTES // len(filler)
    with Spill(tmp_path) as spill:
        for number in range(count):
            key = f"key{number % (count // 2)}"
            spill.add(key, [key, number, filler])
        assert list(tmp_path.iterdir()) == []  # the file has no name: a killed process leaves nothing
        groups = list(spill.groups())
    keys = [{key for key, _, _ in group} for group in groups]
    assert sum(map(len, keys)) == len(set().union(*keys)) == count // 2
    assert all(numbers == sorted(numbers) for numbers in ([n for _, n, _ in group] for group in groups))
