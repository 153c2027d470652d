"""Labels become sentences: "a dog barking" + "running water" -> "a dog barks while water runs".

The recordings' labels are short noun phrases. Here they are turned into finite clauses, and the clauses of a
scene into one English sentence, so that the models learn to read and write captions, not tags.
"""

from __future__ import annotations

import random
import re

#: Words before the participle that make the subject plural.
PLURALS = {
    "birds", "bones", "bubbles", "castanets", "chickens", "children", "coins", "computers", "cows", "crickets",
    "dogs", "drums", "fingers", "fireballs", "footsteps", "frogs", "hands", "horns", "horses", "maracas", "men",
    "monkeys", "people", "rocks", "strings", "waves", "women", "wings", "bells",
    "chords", "beeps", "sticks", "bees", "leaves", "swords", "sparks", "tyres", "wheels", "arrows",
}  # fmt: skip
#: Stems that lost an e before -ing.
E_STEMS = {
    "acceler", "applaud" + "e", "bounc", "brak", "breath", "buzz" + "e", "chim", "clos", "collaps", "creat", "danc",
    "decelerat", "driv", "explod", "fir", "gargl", "giggl", "grind" + "e", "grumbl", "handl", "hous", "idl", "ignit",
    "jingl", "liv", "mak", "mov", "nois", "operat", "pierc", "plac", "puls", "rattl", "ris", "rumbl", "rustl",
    "scrap", "scrib", "shak", "shuffl", "sizzl", "slic", "smok", "snor", "sneez", "sooth", "splic", "squeez",
    "squeak" + "e", "strik", "tak", "tickl", "typ", "us", "vibrat", "wad", "warbl", "wav", "whistl", "whin", "writ",
    "crackl", "gobbl", "trickl", "sprinkl", "surg", "hoov", "rid", "slid", "glid", "approximat", "bubbl", "chok",
    "com", "giv", "hav", "tun", "wip", "rehears", "practic", "wheez", "tinkl", "bray" + "e", "cradl", "juggl", "plung",
}  # fmt: skip
#: Phrases that start with the participle, and what they say as a clause.
LEADING = {
    "running water": "water runs",
    "rippling water": "water ripples",
    "flowing water": "water flows",
    "breaking ice": "ice breaks",
    "bubbling lava": "lava bubbles",
    "digging": "someone digs",
    "morning birdsong": "birds sing",
}
NOT_VERBS = {"string", "something", "morning", "ring", "during", "spiralling", "king", "spring", "thing"}
#: Bare things, and what they do when they sound.
DOINGS = (
    (("drum", "cymbal", "hit", "kick", "tom", "snap", "conga", "timbale", "cowbell", "clap", "block"), "sound"),
    (("bell", "chime", "triangle"), "ring"),
    (("music", "beat", "loop", "techno", "piano", "strings", "chords", "chord"), "play"),
)


def clause(label: str) -> str:
    """A label as a finite clause: "a dog barking" -> "a dog barks"."""
    if label in LEADING:
        return LEADING[label]
    words = label.split()
    if words[0].endswith("ing") and words[0] not in NOT_VERBS and len(words) > 1:  # "chopping wood"
        return " ".join(["someone", third_person(words[0]), *words[1:]])
    for at, word in enumerate(words[1:], 1):
        before = words[at - 1]
        if word == "being" and at + 1 < len(words):
            return " ".join([*words[:at], "are" if plural(words[:at]) else "is", *words[at + 1 :]])
        if re.fullmatch(r"[a-z]{2,}ing", word) and word not in NOT_VERBS:
            if before in {"a", "an", "the", "and", "of", "electric", "in"}:  # "a sewing machine", "and stopping"
                continue
            verb = restore(word) if plural(words[:at]) else third_person(word)
            rest = [third_person(w) if w.endswith("ing") and words[at + 1] == "and" else w for w in words[at + 1 :]]
            return " ".join([*words[:at], verb, *rest])
    return bare(label)


def bare(label: str) -> str:
    """A label with no verb as a clause: "a bass drum" -> "a bass drum sounds"."""
    words = label.split()
    place = next((at for at, word in enumerate(words) if word in {"in", "on", "at"}), len(words))
    subject, rest = words[:place], words[place:]
    many = plural(subject)
    verb = next((verb if many else f"{verb}s" for keys, verb in DOINGS if set(subject) & set(keys)), None)
    return " ".join([*subject, verb or ("are heard" if many else "is heard"), *rest])


def plural(words: list[str]) -> bool:
    head = words[: words.index("of")] if "of" in words else words
    return bool(head) and head[-1] in PLURALS


def restore(participle: str) -> str:
    """The verb itself: "running" -> "run", "closing" -> "close"."""
    stem = participle[:-3]
    if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "losz":
        return stem[:-1]
    return stem + "e" if stem in E_STEMS else stem


def third_person(participle: str) -> str:
    verb = restore(participle)
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def caption(labels: tuple[str, ...], relation: str, rng: random.Random | None = None) -> str:
    """One sentence for a scene. With `rng` the form varies, as the text tower must read all of them."""
    finite = rng is None or rng.random() < 0.6
    parts = [clause(label) if finite else label for label in labels]
    if len(set(labels)) == 1:
        text = parts[0]
    elif relation == "then":
        text = f"{parts[0]}, then {parts[1]}"
    elif relation == "background":
        text = f"{parts[0]} {'while' if finite else 'with'} {parts[1]} in the background"
    else:
        text = f"{parts[0]} {'while' if finite or (rng and rng.random() < 0.5) else 'and'} {parts[1]}"
    if len(labels) > 2:
        text += f" and {parts[2]}"
    if rng is not None and rng.random() < 0.05:
        text = f"the sound of {text}" if not finite else text
    return text
