"""Who is at work on a run: one small file per driver, leg and share, refreshed while it works.

    with at_work(store, "fetch", Partition(2, 8)) as presence:
        ...
        presence.check()                 # OtherDriver when another driver has taken the place

    logs/drivers/fetch-2of8.json         host, process, since when, last sign of life

A second driver of the same leg, whose share overlaps, is told who is at work and stops. This spares work; it is not
what keeps a corpus sound: commits are put if absent, so two drivers that know nothing of each other (a network that
was cut in two, `--force`) end with the corpus of one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from corpus.store import Store
from pipeline.todo import Partition

log = logging.getLogger(__name__)

FOLDER = "logs/drivers"

#: A driver gives a sign of life so often, and is taken for dead after so long without one. Clocks of the machines of
#: a cluster must agree better than that. On its own machine a driver is dead as soon as its process is gone.
SIGN_EVERY_S = 10.0
DEAD_AFTER_S = 60.0


class OtherDriver(Exception):
    """Another driver is at work on this leg; the message says who, and what can be done."""


@dataclass(frozen=True)
class Driver:
    """A driver's file. `machine` and `process` tell a process of this machine from one that had its number before."""

    leg: str
    share: str
    host: str
    machine: str
    pid: int
    process: str
    started: str
    sign_s: float
    token: str

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.leg}-{self.share.replace('/', 'of')}.json"

    def is_dead(self) -> bool:
        if (self.host, self.machine) == (socket.gethostname(), _machine()):
            return _process(self.pid) != self.process
        return time.time() - self.sign_s > DEAD_AFTER_S

    def says(self) -> str:
        share = "" if self.share == str(Partition()) else f", share {self.share}"
        ago_s = max(time.time() - self.sign_s, 0.0)
        return f"host {self.host}, process {self.pid}{share}, since {self.started}, last sign {ago_s:.0f} s ago"


def drivers_at_work(store: Store) -> list[Driver]:
    """Every driver of the run that is not dead."""
    found = (_read(store, path) for path in store.list(FOLDER))
    return [driver for driver in found if driver is not None and not driver.is_dead()]


class Presence:
    """A driver's place, held until `leave`."""

    def __init__(self, store: Store, driver: Driver) -> None:
        self._store, self._driver = store, driver
        self._taken_by: Driver | None = None
        self._left = threading.Event()
        self._signs = threading.Thread(target=self._give_signs, name="signs-of-life", daemon=True)
        self._signs.start()

    def check(self) -> None:
        """OtherDriver when another driver has taken this place: this one was taken for dead, or forced aside."""
        if self._taken_by is not None:
            raise OtherDriver(
                f"{self._store.root}, leg {self._driver.leg}: another driver has taken over ({self._taken_by.says()}); "
                "this one stops, what it has committed stays"
            )

    def leave(self) -> None:
        self._left.set()
        self._signs.join(timeout=SIGN_EVERY_S)
        with suppress(OSError):  # a store that cannot be reached any more: the place is free when the signs are old
            there = _read(self._store, self._driver.path)
            if there is not None and there.token == self._driver.token:
                self._store.delete(self._driver.path)

    def _give_signs(self) -> None:
        while not self._left.wait(SIGN_EVERY_S) and self._taken_by is None:
            try:
                # A file that is gone was taken away by whoever forced this one aside, perhaps from another place.
                there = _read(self._store, self._driver.path) or next(_in_the_way(self._store, self._driver), None)
                if there is not None and there.token != self._driver.token:
                    self._taken_by = there
                else:
                    self._store.replace(self._driver.path, _to_bytes(replace(self._driver, sign_s=time.time())))
            except Exception as error:  # noqa: BLE001  a full disk or a store that is away for a while: the run judges
                log.warning("no sign of life could be written: %s", error)


@contextmanager
def at_work(store: Store, leg: str, share: Partition, *, force: bool = False) -> Iterator[Presence]:
    """Hold a leg's share for this driver. OtherDriver when a living one holds it, or one that overlaps.

    `force` takes the place of a living one, which stops at its next sign of life. That is refused where the store
    cannot say who was first: there two drivers must not meet.
    """
    driver = _this_driver(leg, share)
    keeps_first = store.keeps_first()
    if not keeps_first:
        log.warning("%s cannot put a file only if it is absent: run one driver at a time (docs/stores.md)", store.root)
    others = list(_in_the_way(store, driver))
    if others and not (force and keeps_first):
        raise OtherDriver(_refusal(store, others[0], keeps_first=keeps_first))
    for other in others:
        log.warning("leg %s: forced aside: %s", leg, other.says())
    store.delete(driver.path)
    first = store.put_if_absent(driver.path, _to_bytes(driver))
    for path in {other.path for other in others} - {driver.path}:  # later, so that each finds who has taken over
        store.delete(path)
    met = [] if force else list(_in_the_way(store, driver))
    if met or not first:
        if first:
            store.delete(driver.path)
        raise OtherDriver(_refusal(store, met[0] if met else driver, keeps_first=keeps_first))
    presence = Presence(store, driver)
    try:
        yield presence
    finally:
        presence.leave()


def _in_the_way(store: Store, driver: Driver) -> Iterator[Driver]:
    """Others at work on a share of the same leg that has a unit in common."""
    for other in drivers_at_work(store):
        if other.leg == driver.leg and other.token != driver.token and _overlap(other.share, driver.share):
            yield other


def _refusal(store: Store, other: Driver, *, keeps_first: bool) -> str:
    force = "; if it is dead for certain, --force" if keeps_first else ""
    return (
        f"{store.root}, leg {other.leg}: another driver is at work ({other.says()}). Wait for it, or stop it, or give "
        f"each driver its share with --partition i/n; a driver of another machine counts as dead "
        f"{DEAD_AFTER_S:.0f} s after its last sign{force}"
    )


def _overlap(one: str, other: str) -> bool:
    """Whether a unit may be of both shares: numbers modulo n and m meet unless they differ modulo their divisor."""
    a, b = Partition.parse(one), Partition.parse(other)
    divisor = math.gcd(a.of, b.of)
    return (a.number - b.number) % divisor == 0


def _this_driver(leg: str, share: Partition) -> Driver:
    return Driver(
        leg=leg,
        share=str(share),
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process=_process(os.getpid()),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        sign_s=time.time(),
        token=secrets.token_hex(8),
    )


def _machine() -> str:
    """One start of one machine; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _process(pid: int) -> str:
    """What tells a process from another of the same number: when it was started. Empty when there is none."""
    if not Path("/proc/self/stat").exists():
        with suppress(OSError):
            os.kill(pid, 0)
            return "there"
        return ""
    with suppress(OSError):
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if said[0] == "Z" else said[19]
    return ""


def _read(store: Store, path: str) -> Driver | None:
    """A driver's file; None where it is gone by now, or is none."""
    try:
        return Driver(**json.loads(store.read(path)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _to_bytes(driver: Driver) -> bytes:
    return (json.dumps(asdict(driver), indent=2, sort_keys=True) + "\n").encode()
