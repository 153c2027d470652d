import json

from corpus.store import Store
from pipeline.rates import leg_rates


def line(second, leg="fetch", error=None, seconds=2.0):
    return json.dumps(
        {
            "time": f"2026-01-01T00:00:{second:06.3f}+00:00",
            "leg": leg,
            "unit": "u",
            "clips": 10,
            "error": error,
            "stages": [] if error else [{"stage": "cut", "clips_in": 10, "audio_ms": 100_000, "seconds": seconds}],
        }
    )


def test_the_last_start_of_each_leg_counts(tmp_path):
    store = Store(str(tmp_path))
    store.replace("logs/1-run/units.jsonl", "\n".join([line(0), line(50)]).encode())
    store.replace("logs/2-run/units.jsonl", "\n".join([line(0), line(5), line(10), line(3, "models")]).encode())
    rates = leg_rates(store)
    assert rates["fetch"].clips_per_s == 2.0
    assert rates["fetch"].as_json() == {
        "clips_per_s": 2.0,
        "audio_hours_per_hour": 20.0,
        "stages": {"cut": {"clips_per_busy_s": 5.0}},
    }
    assert rates["models"].clips_per_s is None


def test_lines_cut_short_and_units_that_failed_are_passed_over(tmp_path):
    store = Store(str(tmp_path))
    text = "\n".join([line(0), line(1, error="boom"), line(10), line(20)[:40]])
    store.replace("logs/1-run/units.jsonl", text.encode())
    assert leg_rates(store)["fetch"].clips_per_s == 1.0


def test_no_logs_no_rates(tmp_path):
    assert leg_rates(Store(str(tmp_path))) == {}
