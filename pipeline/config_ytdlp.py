"""The recipe's `ytdlp` section: how sites are reached, as whom, and how fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config_sources import Section
from stages.guard import networks
from stages.opt_outs import DEFAULT as OPT_OUTS
from stages.opt_outs import OptOut


class YtSession(Section):
    """One way to look to sites. Cookies and proxy are secrets: no log and no record of a run has them."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    cookies_file: str | None = None
    proxy: str | None = Field(default=None, repr=False)
    user_agent: str | None = None
    requests_per_s: float | None = Field(default=None, gt=0, le=10_000)


class YtDlp(Section):
    """How yt-dlp reaches sites. Without `sessions` the keys of a session here make the only one."""

    plugin_dirs: list[str] = Field(default_factory=list)
    cookies_file: str | None = None
    proxy: str | None = Field(default=None, repr=False)
    user_agent: str | None = None
    sessions: list[YtSession] = Field(default_factory=list, max_length=1000)
    timeout_s: float = Field(default=30.0, gt=0, le=3600)
    request_limit_s: float = Field(default=300.0, gt=0, le=86_400)
    retries: int = Field(default=3, ge=0, le=20)
    backoff_s: float = Field(default=2.0, ge=0, le=3600)
    backoff_max_s: float = Field(default=600.0, gt=0, le=86_400)
    requests_per_s: float = Field(default=1.0, gt=0, le=10_000)
    site_requests_per_s: float | None = Field(default=None, gt=0, le=10_000)
    cool_down_s: float = Field(default=60.0, gt=0, le=86_400)
    blocks_to_quarantine: int = Field(default=3, ge=1, le=1000)
    quarantine_s: float = Field(default=3600.0, gt=0, le=604_800)
    quarantine_max_s: float = Field(default=86_400.0, gt=0, le=604_800)
    max_wait_s: float = Field(default=21_600.0, ge=0, le=2_592_000)
    when_shut: Literal["stop", "fail"] = "stop"
    allow_private_addresses: list[str] = Field(default_factory=list)
    respect_opt_outs: list[OptOut] = Field(default_factory=lambda: list(OPT_OUTS))

    @field_validator("allow_private_addresses")
    @classmethod
    def _are_networks(cls, texts: list[str]) -> list[str]:
        networks(texts)
        return texts

    @field_validator("sessions")
    @classmethod
    def _have_names_of_their_own(cls, sessions: list[YtSession]) -> list[YtSession]:
        names = [session.name for session in sessions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two sessions are called {twice[0]!r}: pauses are kept by name")
        return sessions
