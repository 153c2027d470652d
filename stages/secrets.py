"""What must never be seen in a log, an error or a row: the proxy's password, the cookies' values.

    mask = Mask.of(proxy="http://me:hush@proxy:8080", cookies_file="cookies.txt")
    mask("cannot connect to http://me:hush@proxy:8080")        # "cannot connect to http://***@proxy:8080"

Faults are masked where yt-dlp's exceptions become faults (stages/ytdlp_faults.py), and so is what it tells its logger;
the run's own log is masked once more as it is written (pipeline/runlog.py).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
#: Shorter values (`1`, `en`, `true`) are no secrets, and hiding them would make any text unreadable.
MIN_LENGTH = 6


class Mask:
    """Call it with a text. Without secrets it gives the text back."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret may hold another one.
        self.secrets = tuple(sorted({text for text in secrets if text}, key=lambda text: (-len(text), text)))
        self._pattern = re.compile("|".join(map(re.escape, self.secrets))) if self.secrets else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def __or__(self, other: Mask) -> Mask:
        return Mask([*self.secrets, *other.secrets])

    @classmethod
    def of(cls, *, proxy: str | None = None, cookies_file: str | None = None) -> Mask:
        """The secrets of one session. A cookie file that cannot be read has none."""
        return cls([*_of_proxy(proxy or ""), *_of_cookies(cookies_file)])


def _of_proxy(proxy: str) -> Iterable[str]:
    """The user and password in every form in which a message might hold them."""
    user_info, at, _ = urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")
    if not at:
        return
    user, _, password = user_info.partition(":")
    for name, secret in ((user, password), (unquote(user), unquote(password))):
        yield f"{name}:{secret}"
        yield base64.b64encode(f"{name}:{secret}".encode()).decode()
        yield secret
        yield quote(secret, safe="")
        if len(name) >= MIN_LENGTH:
            yield name


def _of_cookies(path: str | None) -> Iterable[str]:
    """The values of a Netscape cookie file: its seventh column."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if path else []
    except OSError:
        return
    for line in lines:
        columns = line.split("\t")
        if len(columns) >= 7 and len(value := columns[6].strip()) >= MIN_LENGTH:
            yield value
            yield quote(value, safe="")
