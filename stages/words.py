"""The words that betray speech or music in a caption: lists of our own (the paper names only three of theirs).

Each entry is a whole word; every form is written out, because English stems mislead ("sing" is not "single",
"talkie" is not "talk"). `EXCEPTIONS` are phrases in which such a word is no speech and no music: they are taken out
of the caption before the lists are looked up.
"""

from __future__ import annotations

SPEECH_WORDS = frozenset(
    """
    talk talks talked talking talker talkers speak speaks spoke spoken speaking speaker speakers speech speeches
    say says said saying tell tells told telling converse converses conversed conversing conversation
    conversations chat chats chatted chatting chatter chatters chattering discuss discusses discussed discussing
    discussion discussions narrate narrates narrated narrating narration narrator narrators announce announces
    announced announcing announcement announcements announcer announcers commentate commentates commentating
    commentary commentator commentators recite recites recited reciting lecture lectures lecturing interview
    interviews interviewed interviewing dialogue dialog dialogues monologue voice voices voiced voiceover
    whisper whispers whispered whispering shout shouts shouted shouting yell yells yelled yelling scream screams
    screamed screaming murmur murmurs murmured murmuring mutter mutters muttered muttering preach preaches
    preaching preacher broadcast broadcasts broadcasting newscast newscaster podcast reporter presenter word
    words sentence sentences
    """.split()
)

MUSIC_WORDS = frozenset(
    """
    music musical musically musician musicians song songs sing sings sang sung singing singer singers vocal
    vocals vocalist vocalists choir choirs chorus chant chants chanted chanting hum hums hummed humming rap raps
    rapping rapper melody melodies melodic melodious tune tunes rhythm rhythms rhythmic harmony harmonies chord
    chords arpeggio arpeggios band bands orchestra orchestras orchestral symphony ensemble concert concerts
    jingle jingles lullaby guitar guitars guitarist piano pianos pianist keyboard synthesizer synthesizers synth
    synths organ violin violins viola cello cellos fiddle flute flutes clarinet clarinets oboe bassoon saxophone
    saxophones sax trumpet trumpets trombone trombones tuba cornet accordion harmonica harp harps banjo mandolin
    ukulele sitar lute drum drums drummer drumming drumbeat drumbeats percussion percussionist cymbal cymbals
    snare tambourine bongo bongos conga congas marimba xylophone vibraphone glockenspiel timpani bagpipe
    bagpipes didgeridoo theremin bass bassline beat beats beatbox beatboxing dj remix instrumental techno disco
    jazz blues reggae hiphop opera
    """.split()
)

#: Phrases in which such words are neither speech nor music. Lower-case regular expressions.
EXCEPTIONS = (
    r"\b(?:bird|birds|birdsong|songbird|songbirds|canary|robin|nightingale|cricket|crickets|cicada|cicadas|whale|whales|"
    r"frog|frogs)(?:\s+\w+){0,2}?\s+(?:sing|sings|sang|singing|song|songs|chorus|chatter|chatters|chattering|talking)\b",
    r"\b(?:sing|sings|singing)\s+(?:bird|birds|bowl)\b",
    r"\bkettle(?:\s+\w+){0,4}?\s+(?:singing|screaming|humming|hums|screams|sings)\b",
    r"\b(?:engine|engines|motor|motors|fan|fridge|refrigerator|machine|machinery|generator|transformer|computer|bee|bees|"
    r"insect|insects|wind)(?:\s+\w+){0,2}?\s+(?:hum|hums|hummed|humming|murmur|murmurs|screams|screaming|beat|beats)\b",
    r"\b(?:hum|humming|murmur)\s+of\s+(?:an?\s+|the\s+)?"
    r"(?:\w+\s+)?(?:engine|engines|motor|motors|fan|fridge|machine|machinery|bees|insects|traffic|stream|brook)\b",
    r"\bhumming\s?birds?\b",
    r"\b(?:parrot|parrots|monkey|monkeys|squirrel|squirrels|dolphin|dolphins)(?:\s+\w+){0,2}?\s+"
    r"(?:chatter|chatters|chattering|screams|screaming|scream)\b",
    r"\b(?:teeth|monkeys?)\s+chatter(?:s|ing)?\b",
    r"\b(?:rain|waves?|wind|wings?|hail|heart|hooves)(?:\s+\w+){0,2}?\s+(?:beat|beats|beating|drum|drums|drumming)\b",
    r"\bheart\s?beats?\b",
    r"\b(?:loud)?speakers?\s+(?:hum|hums|buzz|buzzes|crackle|crackles)\b",
    r"\boil\s+drums?\b",
    r"\bbrake\s+drums?\b",
    r"\brubber\s+bands?\b",
    r"\bcomputer\s+keyboards?\b",
    r"\b(?:typing|types|clicking|clacking)\s+(?:on|of)\s+(?:an?\s+|the\s+)?keyboards?\b",
    r"\bkeyboards?\s+(?:typing|clicking|clacking|clicks)\b",
)
