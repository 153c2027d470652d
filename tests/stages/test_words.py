from pathlib import Path

import pytest
import yaml

from stages.words import Found, Lexicon, counts, normal, noun_forms, verb_forms

CAPTIONS = yaml.safe_load((Path(__file__).parents[1] / "data" / "captions.yaml").read_text(encoding="utf-8"))
LEXICON = Lexicon()


@pytest.mark.parametrize("caption", CAPTIONS["speech"])
def test_speech_is_found(caption):
    assert LEXICON.find(caption).speech


@pytest.mark.parametrize("caption", CAPTIONS["music"])
def test_music_is_found(caption):
    assert LEXICON.find(caption).music


@pytest.mark.parametrize("caption", CAPTIONS["neither"])
def test_what_only_sounds_like_such_words_is_kept(caption):
    assert LEXICON.find(caption) == Found()


@pytest.mark.parametrize(
    ("entry", "forms"),
    [
        ("talk", ["talk", "talks", "talking", "talked"]),
        ("chat+t", ["chat", "chats", "chatting", "chatted"]),
        ("speak/spoke/spoken", ["speak", "speaks", "speaking", "spoke", "spoken"]),
        ("narrate", ["narrate", "narrates", "narrating", "narrated"]),
        ("preach", ["preach", "preaches", "preaching", "preached"]),
        ("reply", ["reply", "replies", "replying", "replied"]),
        ("say/said", ["say", "says", "saying", "said"]),
        ("pray", ["pray", "prays", "praying", "prayed"]),
    ],
)
def test_verbs_have_their_forms(entry, forms):
    assert verb_forms(entry) == forms


@pytest.mark.parametrize(
    ("entry", "forms"),
    [
        ("voice", ["voice", "voices"]),
        ("melody", ["melody", "melodies"]),
        ("speech", ["speech", "speeches"]),
        ("sax", ["sax", "saxes"]),
        ("man/men", ["man", "men"]),
        ("essay", ["essay", "essays"]),
    ],
)
def test_nouns_have_their_plural(entry, forms):
    assert noun_forms(entry) == forms


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("A man’s VOICE‑over…", " a man voice over . "),
        ("Rock ’n’ roll, live!", " rock n roll , live . "),
        ("ｆｕｌｌ　ｗｉｄｔｈ", " full width "),
        ("Café\u200b crème", " cafe creme "),
        ("", "  "),
        ("¿?", " . "),
    ],
)
def test_text_is_brought_to_one_form(caption, text):
    assert normal(caption) == text


def test_the_first_word_is_named_as_it_is_written():
    assert LEXICON.find("A woman laughs, talks and then speaks") == Found(speech="talks")
    assert LEXICON.find("He hums a tune on the guitar") == Found(music="he hums")
    assert LEXICON.find("A voice sings") == Found(speech="voice", music="sings")


def test_an_exception_excuses_its_own_words_only():
    assert LEXICON.find("Birds singing and people talking") == Found(speech="talking")
    assert LEXICON.find("Birds and people singing") == Found(music="singing")
    assert LEXICON.find("A bird chirps. Singing is heard") == Found(music="singing")
    assert LEXICON.find("A woman singing and birds chirping") == Found(music="singing")


def test_a_talking_parrot_is_speech_unless_the_recipe_says_otherwise():
    assert LEXICON.find("A parrot is talking") == Found(speech="talking")
    lenient = Lexicon(talking_animals=True)
    assert lenient.find("A parrot is talking") == Found()
    assert lenient.find("A talking parrot and a talking man") == Found(speech="talking")


def test_own_words_and_exceptions_are_plain_phrases():
    own = Lexicon(["glitch art"], ["talking clock", "a.m. radio show"])
    assert own.find("Glitch-art noises").extra == "glitch art"
    assert own.find("the glitch article") == Found()
    assert own.find("A Talking Clock ticks") == Found()
    assert own.find("a talking clockwork").speech == "talking"


def test_a_long_caption_is_no_trouble():
    assert Lexicon().find("a bird is softly " * 20_000 + "humming") == Found()


def test_counts_are_those_of_the_lists():
    found = counts()
    assert found["speech words"] > found["speech entries"] > 50
    assert found["music words"] > found["music entries"] > 100
