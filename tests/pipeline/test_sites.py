"""What an operator reads at 3 a.m.: lines while somebody pauses, and the newest file of a run."""

from __future__ import annotations

import json
from pathlib import Path

from corpus.store import Store
from pipeline.sites import SitesTold, newest, site_line
from pipeline.worker import UnitTally
from stages.gate import Rules
from stages.governor import Governor
from stages.turns import SiteShut

RULES = Rules(sessions=(("guest", 100.0), ("home", 100.0)), quarantine_s=3600, blocks_to_quarantine=1)


def busy() -> Governor:
    governor = Governor()
    for kind, session in (("ok", "home"), ("ok", "home"), ("blocked", "guest")):
        governor.report(RULES, governor.ask(RULES, "videos.example", session), kind, "x")
    governor.report(RULES, governor.ask(RULES, "calm.example"), "ok", "y")
    return governor


def test_lines_name_who_pauses_why_and_until_when():
    line = site_line("videos.example", busy().snapshot()["videos.example"])
    assert line.startswith("videos.example: guest quarantined (blocked) until ")
    assert line.endswith("; home open; 3 requests: blocked 1, ok 2")


def test_only_pauses_are_told_and_their_end_once(tmp_path: Path):
    governor, said = busy(), list[str]()
    told = SitesTold(tmp_path, said.append, governor.snapshot)
    told.tell()
    told.tell()
    assert [line.partition(":")[0] for line in said] == ["videos.example"] * 2
    open_again = SitesTold(tmp_path, said.append, lambda: snapshots.pop(0))
    snapshots = [
        governor.snapshot(),
        *[{"videos.example": {**governor.snapshot()["videos.example"], "open": True}}] * 2,
    ]
    said.clear()
    for _ in range(3):
        open_again.tell()
    assert len(said) == 2


def test_the_newest_file_is_read_busiest_site_first(tmp_path: Path):
    store = Store(str(tmp_path))
    assert newest(store) == ["no start of this run has asked a site for a minute yet"]
    folder = tmp_path / "logs" / "2026-11-21T10-00-00-run"
    folder.mkdir(parents=True)
    SitesTold(folder, lambda line: None, busy().snapshot).tell()
    assert set(json.loads((folder / "sites.json").read_text())["sites"]) == {"videos.example", "calm.example"}
    lines = newest(store)
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["videos.example", "calm.example"]


def test_a_governor_that_does_not_answer_is_no_trouble(tmp_path: Path):
    def broken() -> dict[str, dict[str, object]]:
        raise ConnectionError

    with SitesTold(tmp_path, print, broken, every_s=0.01) as told:
        told.tell()
    assert list(tmp_path.iterdir()) == []


def test_a_shut_site_stops_the_leg_with_its_reason_and_not_after_ten_units():
    tally = UnitTally("00000-00000")
    tally.fail("stage fetch", SiteShut("videos.example has let nobody in for 21600 s"))
    assert tally.stop == "videos.example has let nobody in for 21600 s"
    assert tally.error is not None
