"""What sites let us do, for an operator: a line for each session that pauses, and a file with all that is known.

    with SitesTold(log.folder, display.say, snapshot): ...     # every minute while a verb runs

    youtube.com: guest quarantined (blocked) until 14:32; home open; 1,203 requests: blocked 3, http_429 2, ok 1,198

Lines come only while somebody pauses (and once when that is over), to the terminal and to driver.log. `sites.json`
beside driver.log has every site; `autorecap status RUN --sites` shows the newest.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from corpus.store import Store

log = logging.getLogger(__name__)

TELL_EVERY_S = 60.0
FILE = "sites.json"

Sites = Mapping[str, Mapping[str, Any]]


class SitesTold:
    """A thread that asks the governor (`snapshot`) and tells. A governor that does not answer is asked again later."""

    def __init__(
        self, folder: Path, say: Callable[[str], None], snapshot: Callable[[], Sites], every_s: float = TELL_EVERY_S
    ) -> None:
        self._path = folder / FILE
        self._say = say
        self._snapshot = snapshot
        self._every_s = every_s
        self._pausing: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="sites", daemon=True)

    def __enter__(self) -> SitesTold:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=2.0)
        self.tell()

    def _go(self) -> None:
        while not self._over.wait(self._every_s):
            self.tell()

    def tell(self) -> None:
        """Once, now."""
        try:
            sites = self._snapshot()
        except Exception:  # noqa: BLE001  Ray that starts or ends, an actor that moves: the next minute will do
            return
        if not sites:
            return
        self._write(sites)
        pausing = {site for site, told in sites.items() if not told["open"]}
        for site in sorted(pausing | (self._pausing & set(sites))):
            line = site_line(site, sites[site])
            log.info("%s", line)
            self._say(line)
        self._pausing = pausing

    def _write(self, sites: Sites) -> None:
        with suppress(OSError):
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps({"time_s": round(time.time()), "sites": sites}, indent=1), encoding="utf-8")
            new.replace(self._path)


def site_line(site: str, told: Mapping[str, Any], now_s: float | None = None) -> str:
    """One site: who pauses, why and until when; who is open; what came of its requests."""
    now_s = time.time() if now_s is None else now_s
    paused, open_ = [], []
    for name, session in told["sessions"].items():
        if session["state"] == "open":
            open_.append(name)
            continue
        until = time.strftime("%H:%M", time.localtime(now_s + session["seconds_left"]))
        left = f" until {until}" if session["seconds_left"] else ""
        paused.append(f"{name} {session['state']} ({session['why']}){left}")
    who = [*paused, f"{', '.join(open_)} open"] if open_ else paused
    outcomes = ", ".join(f"{kind} {count:,}" for kind, count in told["outcomes"].items())
    return f"{site}: {'; '.join(who)}; {told['requests']:,} requests{': ' if outcomes else ''}{outcomes}"


def newest(store: Store) -> list[str]:
    """The lines of the newest `sites.json` of a run, busiest site first; one that says so where there is none."""
    files = sorted(path for path in store.list("logs") if path.endswith(f"/{FILE}"))
    if not files:
        return ["no start of this run has asked a site for a minute yet"]
    told = json.loads(store.read(files[-1]))
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["time_s"]))
    sites = sorted(told["sites"].items(), key=lambda item: -item[1]["requests"])
    return [f"sites at {when}:", *(f"  {site_line(site, about, told['time_s'])}" for site, about in sites)]
