"""What a plan costs: facts by site, requests, days, disk, hours."""

from collections import Counter

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import plan_store
from corpus.schema import PLAN, SOURCES
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.config_sources import AutoRecapSource
from pipeline.estimate.costs import Assumptions, estimate
from pipeline.estimate.facts import HERE, OTHERS, SITES, PlanFacts, plan_facts, site_of
from pipeline.estimate.probe import ModelRate
from pipeline.estimate.shown import duration, estimate_lines, hours, size
from pipeline.sources.entry import SourceEntry, to_table


def recipe(requests_per_s=0.5, frame=False, **ytdlp):
    stages = [{"use": "fetch"}, {"use": "cut", "sample_rate_hz": 32_000}, *([{"use": "frame"}] if frame else [])]
    legs = {"fetch": {"stages": stages}}
    section = {"requests_per_s": requests_per_s, **ytdlp}
    return Recipe.model_validate({"name": "x", "run": "x", "legs": legs, "ytdlp": section})


def facts(sources=1000, seconds=240, timed=1000, clips=5000):
    found = PlanFacts(clips=clips, audio_ms=clips * 8000)
    for at in range(sources):
        found.add_source("example.org", "planned", 0, 0, seconds * 1000 if at < timed else None)
    return found


def test_requests_days_bytes_and_disk_of_a_site():
    costs = estimate(facts(), recipe(), [ModelRate("models", 10.0, "as stated")])
    (site,) = costs.sites
    assert site.requests == 1000
    assert site.days == pytest.approx(1000 / 0.5 / 86_400)
    assert site.bytes == 1000 * 240 * 16_000
    assert costs.disk_bytes == 5000 * 8 * 64_000 * 0.5 + 5000 * 8_000
    assert costs.models[0].hours == pytest.approx(5000 / 10 / 3600)


def test_a_job_longer_than_an_addresss_life_extracts_again():
    slow = estimate(facts(), recipe(requests_per_s=0.05)).sites[0]
    assert slow.requests == 2000
    kept = estimate(facts(), recipe(requests_per_s=0.05), assumed=Assumptions(address_life_s=1e6)).sites[0]
    assert kept.requests == 1000


def test_pictures_cost_a_request_a_source():
    assert estimate(facts(), recipe(frame=True)).sites[0].requests == 2000


def test_sources_without_a_length_are_as_long_as_the_others():
    assert estimate(facts(timed=250), recipe()).bytes == 1000 * 240 * 16_000


def test_where_no_source_says_its_length_the_size_is_not_known():
    costs = estimate(facts(timed=0), recipe())
    assert (costs.bytes, costs.size_unknown, costs.as_json()["size_unknown"]) == (0, True, True)
    (line,) = [line for line in estimate_lines(costs) if "site" in line]
    assert "how much to fetch is not known" in line
    assert "1,000 requests" in line
    assert not estimate(facts(), recipe()).size_unknown


def test_sources_of_a_list_that_gives_clips_are_extracted_when_they_are_fetched():
    published = recipe().model_copy(update={"sources": [AutoRecapSource(type="autorecap", path="x.jsonl")]})
    assert estimate(facts(timed=0), published).sites[0].requests == 2000
    assert estimate(facts(timed=600), published).sites[0].requests == 1400, "the others were asked when planned"
    assert estimate(facts(timed=0), recipe()).sites[0].requests == 1000


def test_a_sample_stands_for_all():
    small = facts(sources=10, timed=5, clips=40)
    assert (small.times(100).sources, small.times(100).clips, small.times(100).audio_ms) == (1000, 4000, 32_000_000)
    assert small.times(2.5).outcomes == Counter(planned=25)


def test_many_sites_are_told_in_few_lines():
    found = PlanFacts()
    for at in range(100):
        for _ in range(100 - at):
            found.add_source(f"site{at}.org", "planned", 1, 0, 1000)
    few = found.with_few_sites()
    assert len(few.sites) == SITES + 1
    assert few.sites[OTHERS].planned == sum(100 - at for at in range(SITES, 100))
    assert few.sites["site0.org"].planned == 100


def test_what_is_asked_of_whom():
    assert site_of("url", "https://www.youtube.com/watch?v=x") == "youtube.com"
    assert site_of("file", "/sounds/a.wav") == HERE
    assert site_of("url", "http://[broken") == OTHERS


def test_a_plan_on_disk(tmp_path):
    store = Store(str(tmp_path))
    write_plan(store, 3, 2)
    entries = [
        SourceEntry(source_key=f"synth00000-{at:05d}", kind="url", location="https://a.org/1") for at in range(3)
    ]
    store.replace(plan_store.inputs_path("00000"), plan_store.parquet_bytes(to_table(entries)))
    waiting = [SourceEntry(source_key="b", kind="url", location="https://b.org/1")]
    plan_store.write_inputs(store, "00001", to_table(waiting))
    found = plan_facts(store)
    assert found.outcomes == Counter(planned=3)
    assert (found.clips, found.audio_ms) == (6, 60_000)
    assert (found.sites["a.org"].planned, found.waiting) == (3, Counter({"b.org": 1}))
    (first, second) = estimate(found, recipe()).sites
    assert (first.plan_requests, second.plan_requests) == (0, 2)
    assert any("1 listed sources are not planned yet" in line for line in estimate_lines(estimate(found, recipe())))


def test_a_source_that_was_tried_again_counts_once(tmp_path):
    store = Store(str(tmp_path))
    entry = SourceEntry(source_key="k", kind="url", location="https://a.org/1")
    tried = {"source_key": "k", "source_id": "k", "transcript_kind": "none", "clips": 0, "attempt": 0}
    again = to_table([entry]).append_column("attempt", pa.array([1], pa.int16()))
    attempts = [
        (to_table([entry]), PLAN.empty_table(), {**tried, "outcome": "failed", "reason": "timeout"}),
        (again, PLAN.empty_table(), {**tried, "outcome": "planned", "duration_ms": 60_000}),
    ]
    for number, (listed, clips, source) in enumerate(attempts):
        plan_store.write_inputs(store, f"{number:05d}", listed)
        plan_store.write_part(store, f"{number:05d}", clips, pa.Table.from_pylist([source], schema=SOURCES))
    found = plan_facts(store)
    assert found.outcomes == Counter(planned=1)
    assert (found.sites["a.org"].sources, found.sites["a.org"].planned) == (1, 1)


def test_nothing_planned_is_told_without_a_fault():
    assert estimate_lines(estimate(PlanFacts(), recipe(), [ModelRate("models", None, "not probed: no such file")]))


def test_numbers_for_people():
    assert [size(n) for n in (12, 1500, 2.5e9, 7.2e15)] == ["12 B", "1.5 kB", "2.5 GB", "7.2 PB"]
    assert [hours(s) for s in (360, 3600 * 1234.4)] == ["0.1 h", "1,234 h"]
    assert [duration(s) for s in (5, 600, 36_000, 9e6)] == ["5 s", "10 min", "10.0 h", "104.2 days"]


def test_sessions_add_up():
    sessions = [{"name": "a", "requests_per_s": 0.25}, {"name": "b"}]
    assert estimate(facts(), recipe(sessions=sessions)).sites[0].requests_per_s == 0.75
