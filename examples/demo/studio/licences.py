"""media/LICENSES.md: for every rendered file, which recordings are in it, where from and under which licence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from examples.demo.studio.sounds import LICENCES

_HOLDERS = {
    "scratch": "Copyright 2011 Massachusetts Institute of Technology (Scratch 1.4's media library)",
    "minetest-data": "Copyright 2010-2017 the authors of Minetest Game's sounds, among them Perttu Ahola "
    "(celeron55), BlockMen, PilzAdam, sofar, CGEffex, bennstir, rivernile7, HazMatt, BarkersPinhead. "
    "mtg/mods/default and others: CC-BY-SA-3.0; mtg/mods/doors: CC-BY-3.0; mtg/mods/tnt and the glass doors: CC0",
    "minetest-mod-homedecor": "Copyright 2012-2020 Vanessa Ezekowitz (homedecor modpack for Minetest)",
    "sonic-pi-samples": "freesound.org uploads in the public domain, chosen by Samuel Aaron for Sonic Pi",
    "fluidr3mono-gm-soundfont": "Copyright 2000-2002, 2008 Frank Wen; mono version copyright 2014-2017 Michael "
    "Cowgill. The licence's text stands at the end",
    "asterisk-core-sounds-en-wav": "Copyright 2003-2010 Allison Smith (recorded by Allison Smith, "
    "financed by Digium, Inc.)",
}

_HEAD = """\
# Licences of the demo's media

Written by examples/demo/build_media.py.

Every file in `files/` and in `../folder/` was rendered by this project from recordings of the Debian packages
below and from sentences of our own. A rendered file is an adaptation of them and is licensed, as a whole, under
[CC-BY-SA-4.0](https://creativecommons.org/licenses/by-sa/4.0/) (CC-BY-SA-3.0 allows a later version).
Changes made: cut, scaled in loudness, repeated, faded, laid over each other, resampled, encoded.
The captions and `truth.jsonl` are under the same licence.

The narration was spoken by espeak-ng 1.51 (a program under GPL-3; what it speaks is the text's), from sentences
written for this demo, except for the recorded prompts of a real person (asterisk-core-sounds-en-wav).
`silent_film`, `corrupt__24` and `zerolen__25` hold no sound: a test picture, random bytes, no bytes.

## Packages

| Debian package | licence of its recordings | whose |
|---|---|---|
"""

_MIT = """\

## The soundfont's licence (MIT)

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation
the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of
the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS
IN THE SOFTWARE.
"""


def licences(truth: Iterable[Mapping[str, Any]]) -> str:
    """The whole file, from the truth's lines."""
    used = {(line["source_id"], line["package"], line["file"]) for line in truth if "package" in line}
    packages = "".join(
        f"| {name} | {LICENCES[name]} | {_HOLDERS[name]} |\n" for name in sorted({name for _, name, _ in used})
    )
    rows = "".join(f"| {source} | {package} | `{file}` |\n" for source, package, file in sorted(used))
    table = "\n## Recordings, file by file\n\n| in source | from package | path in the package |\n|---|---|---|\n"
    return _HEAD + packages + table + rows + _MIT
