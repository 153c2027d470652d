"""Which extractor plugins yt-dlp loads: those of the folders the recipe names, and no others.

yt-dlp by itself runs plugin code from sys.path, the user's home and the system's folders. A run must not
depend on that: here the list of plugin folders is always set, to nothing by default. A folder holds
packages as yt-dlp wants them: `<folder>/<any name>/yt_dlp_plugins/extractor/<module>.py`. Plugins are code:
name only folders you trust.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path

_lock = threading.Lock()
_loaded: tuple[str, ...] | None = None


class PluginError(Exception):
    """The recipe names a folder of plugins that has none; the message says which."""


def use_plugins(folders: Sequence[str]) -> None:
    """Make exactly the plugins of these folders known to yt-dlp in this process. Cheap when nothing changes.

    Must come before the first YoutubeDL object. Raises PluginError for a folder without extractor plugins.
    """
    global _loaded
    wanted = tuple(str(Path(folder).resolve()) for folder in folders)
    with _lock:
        if wanted == _loaded:
            return
        _check(wanted)
        _load(wanted)
        _loaded = wanted


def _check(folders: Sequence[str]) -> None:
    for folder in folders:
        if not any(Path(folder).glob("*/yt_dlp_plugins/extractor/*.py")):
            raise PluginError(
                f"ytdlp.plugin_dirs: {folder} holds no plugins; they belong in "
                f"{folder}/<any name>/yt_dlp_plugins/extractor/<module>.py"
            )


def _load(folders: Sequence[str]) -> None:
    from yt_dlp import globals as ytdlp_globals
    from yt_dlp.plugins import load_all_plugins

    # Extractors of another recipe's folders, should this process have served one.
    for name in ytdlp_globals.plugin_ies.value:
        ytdlp_globals.extractors.value.pop(name, None)
    ytdlp_globals.plugin_ies.value = {}
    ytdlp_globals.plugin_dirs.value = list(folders)
    importlib.invalidate_caches()
    load_all_plugins()
    if folders and not ytdlp_globals.plugin_ies.value:
        raise PluginError(f"ytdlp.plugin_dirs: yt-dlp found no extractor in {', '.join(folders)}")
