"""What needs Java: the Penn Treebank tokenizer, METEOR 1.5, SPICE 1.0, as the package pycocoevalcap carries them.

Nothing is downloaded. SPICE needs two files that the package does not carry (its own code would fetch them unasked, so
SPICE's program is started here and not through that code); `missing` says which and where they go.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captioner.metrics.ngrams import Tokens
from captioner.metrics.tokens import PUNCTUATION

PROGRAMS = {"ptb": "the Penn Treebank tokenizer", "meteor": "METEOR", "spice": "SPICE"}
_CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_INSTALL = "pip install 'autorecap[metrics]'"


class JavaError(Exception):
    """A Java program that cannot be run, or has failed; the message says which and why."""


def missing(program: str) -> str | None:
    """What keeps one of PROGRAMS from running, and what to do; None when nothing does."""
    if shutil.which("java") is None:
        return "there is no `java` on the path: install a Java runtime (8 to 17)"
    package = _package()
    if package is None:
        return f"the package pycocoevalcap is not installed: {_INSTALL}"
    jar = _jar(package, program)
    if not jar.is_file():
        return f"{jar} is not there: {_INSTALL}"
    lost = [name for name in _CORENLP if not (jar.parent / "lib" / name).is_file()] if program == "spice" else []
    if lost:
        return (
            f"{' and '.join(lost)} are not in {jar.parent / 'lib'}: take them from Stanford's "
            "stanford-corenlp-full-2015-12-09.zip (CoreNLP 3.6.0); nothing is downloaded unasked"
        )
    return None


def ptb_tokens(captions: Sequence[str]) -> list[list[str]]:
    """Tokens as coco-caption's: Stanford's tokenizer in lower case, punctuation dropped. JavaError."""
    lines = "".join(" ".join(caption.split()) + "\n" for caption in captions)
    command = ["-cp", str(_ready("ptb")), "edu.stanford.nlp.process.PTBTokenizer"]
    out = _run([*command, "-preserveLines", "-lowerCase", "-encoding", "UTF-8"], lines.encode())
    rows = out.decode().split("\n")[: len(captions)]
    if len(rows) != len(captions):
        raise JavaError(f"the Penn Treebank tokenizer gave {len(rows)} lines for {len(captions)} captions")
    return [[word for word in row.split() if word not in PUNCTUATION] for row in rows]


def meteor(
    candidates: Sequence[Sequence[Tokens]], references: Sequence[Sequence[Tokens]]
) -> list[tuple[float, np.ndarray]]:
    """METEOR 1.5 (English, its default parameters, -norm) of several sets of candidates, each of all the clips.

    For each set its corpus's score, and (clips,) of each clip. The corpus's is made of the clips' counts and is not
    their mean. One start of the program (some ten seconds) serves all sets. JavaError.
    """
    _ready("meteor")
    from pycocoevalcap.meteor.meteor import Meteor

    theirs = {k: [_meteor_text(tokens) for tokens in some] for k, some in enumerate(references)}
    try:
        program = Meteor()
        spoken = [{k: [_meteor_text(tokens)] for k, tokens in enumerate(some)} for some in candidates]
        scores = [program.compute_score(theirs, some) for some in spoken]
    except (ValueError, OSError) as error:  # what is read when the program has died is no number
        raise JavaError(f"METEOR's program has failed ({error})") from error
    return [(float(corpus), np.asarray(clips, dtype=np.float64)) for corpus, clips in scores]


def spice(candidates: Sequence[Sequence[Tokens]], references: Sequence[Sequence[Tokens]]) -> list[np.ndarray]:
    """SPICE's F-measure of scene graphs, (clips,) for each set of candidates; the corpus's is their mean. JavaError.

    A clip's score depends on nothing but its own texts, so all sets go through one start of the program. Its cache of
    parses is not used: that is the part which newer Java refuses.
    """
    jar = _ready("spice")
    refs = [[" ".join(tokens) for tokens in some] for some in references]
    tests = [" ".join(tokens) for some in candidates for tokens in some]
    asked = [{"image_id": k, "test": text, "refs": refs[k % len(refs)]} for k, text in enumerate(tests)]
    with tempfile.TemporaryDirectory() as folder:
        inside, outside = Path(folder) / "in.json", Path(folder) / "out.json"
        inside.write_text(json.dumps(asked))
        _run(["-Xmx8G", "-jar", str(jar), str(inside), "-out", str(outside), "-subset", "-silent"])
        try:
            found = {item["image_id"]: item["scores"]["All"]["f"] for item in json.loads(outside.read_text())}
            scores = np.nan_to_num(np.array([found[k] for k in range(len(tests))], dtype=np.float64))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JavaError(f"SPICE's program has written no scores ({error})") from error
    return list(scores.reshape(len(candidates), len(refs)))


def _meteor_text(tokens: Tokens) -> str:
    """Bars part the fields of a request, and the program takes no empty field: a lone dot matches nothing."""
    return " ".join(tokens).replace("|", " ").strip() or "."


def _ready(program: str) -> Path:
    reason, package = missing(program), _package()
    if reason is not None or package is None:
        raise JavaError(f"{PROGRAMS[program]}: {reason}")
    return _jar(package, program)


def _jar(package: Path, program: str) -> Path:
    jars = {
        "ptb": "tokenizer/stanford-corenlp-3.4.1.jar",
        "meteor": "meteor/meteor-1.5.jar",
        "spice": "spice/spice-1.0.jar",
    }
    return package / jars[program]


def _package() -> Path | None:
    """pycocoevalcap's folder, found without running any of its code."""
    found = importlib.util.find_spec("pycocoevalcap")
    places = list(found.submodule_search_locations or []) if found else []
    return Path(places[0]) if places else None


def _run(arguments: Sequence[str], said: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["java", *arguments], input=said, capture_output=True, check=False)
    except OSError as error:
        raise JavaError(f"java cannot be run: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise JavaError(f"java ended with code {done.returncode}: {lines[0] if lines else 'no message'}")
    return done.stdout
