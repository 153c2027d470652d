"""The threads that ask sites and read files' headers for a plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pipeline.config import Plan
from pipeline.plan_source import PlannedSource, Rules, plan_source
from pipeline.sources import SourceEntry
from stages.governor import LOCAL, Asked
from stages.turns import SiteShut
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_plugins import PluginError, use_plugins


class PlanError(Exception):
    """The plan cannot be made; one sentence for the user."""


class Askers:
    """Each thread has its own yt-dlp object, made when it meets its first URL; they share the governor.

    `governor`: a cluster's; None = the one of this process.
    """

    def __init__(self, plan: Plan, options: YtdlpOptions, governor: Asked | None = None) -> None:
        self._rules = Rules.of(plan)
        self._languages = plan.languages
        self._options = options
        self._governor = governor or LOCAL
        self._pool = ThreadPoolExecutor(plan.workers, thread_name_prefix="plan")
        self._own = threading.local()
        self._clients: list[YtdlpClient] = []

    def __enter__(self) -> Askers:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        # After a fault or a signal nobody waits for sites: threads in flight end by their own time limits.
        self._pool.shutdown(wait=exc_info[0] is None, cancel_futures=True)
        if exc_info[0] is None:
            for client in self._clients:
                client.close()

    def ask(self, entries: Sequence[SourceEntry], on_answer: Callable[[PlannedSource], None]) -> list[PlannedSource]:
        """Every entry's outcome, in the order of the entries; `on_answer` is told of each as it comes.

        Raises PlanError, also for a site that lets nobody in: its sources are not marked, the part is not planned.
        """
        if any(entry.kind == "url" for entry in entries):
            self._check_options()
        asked: list[Future[PlannedSource]] = [
            self._pool.submit(plan_source, entry, self._rules, self._client) for entry in entries
        ]
        try:
            for answer in as_completed(asked):
                on_answer(answer.result())
        except SiteShut as error:
            raise PlanError(f"{error}; parts that are planned stay, go on later with the same command") from error
        return [answer.result() for answer in asked]

    def _check_options(self) -> None:
        """Refuse in a sentence what would otherwise fail in every thread."""
        for session in self._options.all_sessions():
            if session.cookies_file and not Path(session.cookies_file).is_file():
                raise PlanError(f"ytdlp: the cookies_file {session.cookies_file} is not there")
        try:
            use_plugins(self._options.plugin_dirs)
        except PluginError as error:
            raise PlanError(str(error)) from error

    def _client(self) -> YtdlpClient:
        client: YtdlpClient | None = getattr(self._own, "client", None)
        if client is None:
            client = YtdlpClient(self._options, languages=self._languages, governor=self._governor)
            self._own.client = client
            self._clients.append(client)
        return client
