"""The governor of a cluster: one named actor (stages/governor.py inside), whoever needs it first makes it.

    governor = ClusterGovernor()            # plain data: goes to workers with their services
    turn = governor.ask(rules, "youtube.com")

It is detached: it outlives the driver that made it, so that two drivers share a site's ceiling and a quarantine is not
forgotten between two starts; it ends with its Ray. It takes no CPU and holds no recipe and no secrets: the rules come
with each question, names and numbers only. Where it dies, Ray starts it anew (elsewhere, if its node is gone), and
whoever finds none makes another: what it knew of pauses is lost, and it is learned anew at the recipe's pace. A
question waits ANSWER_S at most and is put again for GIVE_UP_S; then GovernorLost ends the unit, which is done later.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from pipeline.meter import SiteMeter
from pipeline.metrics import RayMetrics
from stages.gate import Rules
from stages.governor import LOCAL, Governor, Turn

log = logging.getLogger(__name__)

NAMESPACE = "autorecap"
#: With the version of what it is asked: a cluster may still hold one of older code.
NAME = "governor-1"
#: How long an answer may take, and how long to go on asking.
ANSWER_S = 20.0
GIVE_UP_S = 120.0


class GovernorLost(Exception):
    """No governor answers: Ray itself is in trouble."""


class ClusterGovernor:
    """Stands for the actor in this process; no connection is made before the first question."""

    def __init__(self) -> None:
        self._actor: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_actor": None}

    def ask(
        self, rules: Rules, site: str, session: str | None = None, kept: Turn | None = None, leads_to: str = ""
    ) -> Turn:
        turn: Turn = self._answer("ask", rules, site, session, kept, leads_to)
        return turn

    def report(self, rules: Rules, turn: Turn, kind: str, source: str = "", retry_after_s: float | None = None) -> None:
        """Told, not waited for: the next question of this worker comes behind it."""
        if self._actor is None:
            self._actor = found_or_made()
        self._actor.report.remote(rules, turn, kind, source, retry_after_s)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """What the governor has heard; nothing where nobody has asked for a turn yet. Never makes one."""
        import ray

        try:
            actor = ray.get_actor(NAME, namespace=NAMESPACE)
        except ValueError:
            return {}
        told: dict[str, dict[str, Any]] = ray.get(actor.snapshot.remote(), timeout=ANSWER_S)
        return told

    def _answer(self, method: str, *asked: Any) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError

        give_up_s = time.monotonic() + GIVE_UP_S
        while True:
            try:
                if self._actor is None:
                    self._actor = found_or_made()
                return ray.get(getattr(self._actor, method).remote(*asked), timeout=ANSWER_S)
            except (RayActorError, GetTimeoutError, ValueError) as error:
                self._actor = None
                if time.monotonic() > give_up_s:
                    raise GovernorLost(f"no governor answers for {GIVE_UP_S:g} s: {type(error).__name__}") from error
                log.warning("the governor does not answer (%s): asking again", type(error).__name__)
                time.sleep(0.2)


class ToldGovernor(Governor):
    """What the actor holds: a governor that tells Prometheus what it hears."""

    def __init__(self) -> None:
        super().__init__()
        SiteMeter(RayMetrics("cluster"), self.snapshot).start()


def found_or_made() -> Any:
    """The cluster's governor. ValueError where two make one at the same moment: ask again."""
    import ray

    made = ray.remote(ToldGovernor).options(
        name=NAME,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=1,  # in order: a report comes before the question behind it
    )
    return made.remote()


def cluster_governor() -> ClusterGovernor | None:
    """The cluster's, in a process that belongs to one; None elsewhere: asking must not start a Ray."""
    ray = sys.modules.get("ray")
    return ClusterGovernor() if ray is not None and ray.is_initialized() else None


def snapshot_here() -> dict[str, dict[str, Any]]:
    """What is known of sites: by the cluster's governor, or by this process where there is no cluster."""
    governor = cluster_governor()
    return LOCAL.snapshot() if governor is None else governor.snapshot()
