"""The verbs about what has failed: `status --failures`, which groups it and says what to do, and `retry`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus import units
from corpus.store import Store
from pipeline.advice import advice, is_transient
from pipeline.failures import count_reasons, failed_clips, failed_sources
from pipeline.retry import Retried, RetryError, retry
from pipeline.runfolder import legs_of, open_store, read_record
from pipeline.shown import one_line
from pipeline.verbs import say

#: Examples of each reason, and how much of a text is shown.
_EXAMPLES = 3
_SHOWN_CHARS = 160

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def failures_verb(run: str, *, as_json: bool) -> int:
    store = open_store(run)
    read_record(store)
    told = failures(store)
    if as_json:
        say(json.dumps({"run": store.root, **told, "retry": _command(run, told)}, indent=2, ensure_ascii=False))
        return 0
    for lines in (_lines("sources", told["sources"]), *(_lines(f"leg {leg}", of) for leg, of in told["legs"].items())):
        for line in lines:
            say(line)
    command = _command(run, told)
    say(f"next: {command}" if command else "nothing has failed")
    return 0


def failures(store: Store) -> dict[str, Any]:
    """`sources`, and `legs` by name: reason -> count, transient, advice, examples."""
    started = legs_of(store)
    root = next(iter(started), None)
    return {
        "sources": _groups(failed_sources(store), _source_example),
        "legs": {
            leg: _groups(rows, lambda row: _clip_example(store, root, row))
            for leg, rows in failed_clips(store, started).items()
        },
    }


def _groups(rows: pa.Table, example: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for reason, count in count_reasons([rows]).items():
        some = rows.filter(pc.equal(rows.column("reason"), reason)).slice(0, _EXAMPLES).to_pylist()
        found[reason] = {
            "count": count,
            "transient": is_transient(reason),
            "advice": advice(reason),
            "examples": [example(row) for row in some],
        }
    return found


def _source_example(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source_id": row["source_id"],
        "url": one_line(row["url"] or row["source_key"], _SHOWN_CHARS),
        "detail": one_line(row["detail"], _SHOWN_CHARS),
        "attempt": row["attempt"],
    }


def _clip_example(store: Store, root: str | None, row: Mapping[str, Any]) -> dict[str, Any]:
    assert root is not None
    of_unit = units.read_parquet(store, units.root_path(row["unit_id"]), columns=["clip_id", "url"])
    at = pc.index(of_unit.column("clip_id"), row["clip_id"]).as_py()
    return {
        "clip_id": row["clip_id"],
        "unit_id": row["unit_id"],
        "stage": row["stage"],
        "url": one_line(of_unit.column("url")[at].as_py(), _SHOWN_CHARS) or None,
        "detail": one_line(row["detail"], _SHOWN_CHARS),
        "attempt": row["attempt"],
    }


def _lines(where: str, reasons: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not reasons:
        return []
    lines = [f"{where}: {sum(group['count'] for group in reasons.values())} failed"]
    for reason, group in reasons.items():
        kind = "transient" if group["transient"] else "permanent"
        lines.append(f"  {one_line(reason):<18}{group['count']:>9}  {kind:<11}{group['advice']}")
        for example in group["examples"]:
            name = example.get("clip_id") or example["source_id"]
            about = "  ".join(part for part in (name, example["url"], example["detail"]) if part)
            lines.append(f"  {'':<18}{'':>9}  {about}")
    return lines


def _command(run: str, told: Mapping[str, Any]) -> str | None:
    """The retry to type: of what may be different another day; of all there is where nothing is."""
    groups = [told["sources"], *told["legs"].values()]
    reasons = list(dict.fromkeys(reason for group in groups for reason, what in group.items() if what["transient"]))
    if not reasons and not any(groups):
        return None
    return shlex.join(["autorecap", "retry", run, "--reason", ",".join(reasons) or "all"])


def retry_verb(
    run: str,
    *,
    reasons: str,
    legs: Sequence[str],
    stage: str | None,
    source_level: bool,
    clips: bool,
    older_than: str | None,
    dry_run: bool,
) -> int:
    told = retry(
        run,
        reasons=[word.strip() for word in reasons.split(",") if word.strip()],
        legs=legs,
        stage=stage,
        clips=clips or not source_level,
        sources=source_level or not clips,
        older_than_s=None if older_than is None else age_s(older_than),
        dry_run=dry_run,
    )
    if told.nothing:
        say("nothing to try again: see autorecap status RUN --failures")
        return 0
    for line in _told_lines(told, dry_run):
        say(line)
    if not dry_run:
        first = "autorecap plan CONFIG && " if told.parts else ""
        say(f"next: {first}autorecap run CONFIG    (the recipe of this run)")
    return 0


def _told_lines(told: Retried, dry_run: bool) -> list[str]:
    will = "would be tried again" if dry_run else "will be tried again"
    lines = []
    if told.sources:
        where = f", listed in part {', '.join(told.parts)}" if told.parts else ""
        lines.append(f"sources: {sum(told.sources.values())} {will}{where} ({_counts(told.sources)})")
    for leg, reasons in told.clips.items():
        if reasons:
            lines.append(
                f"leg {leg}: {sum(reasons.values())} clips of {told.units[leg]} units {will} ({_counts(reasons)})"
            )
    return lines


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{one_line(reason)} {count}" for reason, count in reasons.items())


def age_s(text: str) -> float:
    """`90m`, `12h`, `1d`, `2w` in seconds. RetryError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", text.strip())
    if not found:
        raise RetryError(f"--older-than {text}: write a number with s, m, h, d or w, e.g. 12h or 1d")
    return float(found[1]) * _SECONDS[found[2]]
