"""What the demo's sources are: scripts, metadata, formats, captions, and how the site misbehaves for some.

Titles and descriptions are what an uploader would write; the captioner reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from examples.demo.studio.mix import Gap, Music, Say, Step

S = "scratch:"
M = "minetest-data:"
H = "minetest-mod-homedecor:"
P = "sonic-pi-samples:"
F = "fluidr3mono-gm-soundfont:"


@dataclass(frozen=True)
class Format:
    """One file of a source. `kbps` 0 = lossless. With `video` a small test picture goes along."""

    format_id: str
    ext: str
    acodec: str
    kbps: int = 0
    rate_hz: int = 44_100
    video: bool = False


MP4 = Format("18", "mp4", "aac", 32, video=True)
M4A = Format("140", "m4a", "aac", 56)
WEBM = Format("251", "webm", "opus", 64, rate_hz=48_000)
MP3 = Format("mp3", "mp3", "mp3", 64)
OGG = Format("ogg", "ogg", "vorbis", 64)
OPUS = Format("opus", "opus", "opus", 56, rate_hz=48_000)
FLAC = Format("flac", "flac", "flac", rate_hz=22_050)
WAV = Format("wav", "wav", "pcm_s16le", rate_hz=22_050)
PHONE = Format("wav8k", "wav", "pcm_s16le", rate_hz=8_000)
SILENT = Format("160", "mp4", "none", video=True)


@dataclass(frozen=True)
class Track:
    """A caption track: `form` is a name of studio/captions.py."""

    form: str  # vtt, rich_vtt, srt, rolling_json3, rolling_vtt
    language: str = "en"
    automatic: bool = False
    translated: bool = False


@dataclass(frozen=True)
class Scene:
    """One source. `stems` (instead of `script`) gives each channel of a 5.1 recording its own script."""

    id: str
    title: str
    description: str
    tags: tuple[str, ...]
    formats: tuple[Format, ...]
    script: tuple[Step, ...] = ()
    stems: tuple[tuple[Step, ...], ...] = ()
    tracks: tuple[Track, ...] = ()
    uploader: str = "Field Notes"
    voice: str = "en-gb"
    states_duration: bool = True
    behaviour: dict[str, Any] = field(default_factory=dict)  # of its media: see server.py
    garbage: str = ""  # "random" or "empty": the file's bytes, instead of sound


TALKING = (
    Scene(
        "duckpond_01",
        "Morning at the duck pond",
        "Ducks, geese and a lot of splashing at the village pond, recorded before breakfast.",
        ("ducks", "pond", "nature"),
        (MP4, M4A, WEBM),
        tracks=(Track("vtt"), Track("rolling_json3", automatic=True)),
        script=(
            Gap(3.5, (f"{F}Bird", f"{S}Bird"), bed=f"{M}env_sounds_water.1"),
            Say("Good morning from the duck pond."),
            Say("It is early, and the water is still calm."),
            Gap(8.0, (f"{S}Duck",), bed=f"{M}env_sounds_water.2"),
            Say("Those were the two mallards that live under the bridge."),
            Gap(6.0, (f"{S}Goose", f"{S}Goose", f"{S}Plunge")),
            Say("The goose does not like visitors at all."),
            Gap(12.5, (f"{M}default_water_footstep.1", f"{M}default_water_footstep.2"), pause_s=(0.1, 0.3)),
            Say("I walked through the shallow end in rubber boots."),
            Gap(4.5, (f"{P}misc_crow",)),
            Say("And that crow has been watching us all the time."),
            Gap(7.0, (f"{S}Ripples", f"{S}Bubbles")),
            Say("See you tomorrow."),
            Gap(2.5, (f"{S}Duck",)),
        ),
    ),
    Scene(
        "farmyard_02",
        "A walk around the farmyard",
        "We visit the rooster, the horses, the cats and the dog of a small farm.",
        ("farm", "animals"),
        (MP4, M4A),
        uploader="Hill Farm",
        voice="en-us",
        tracks=(Track("srt"),),
        script=(
            Say("Welcome to our farm, where the day starts early."),
            Gap(5.0, (f"{S}Rooster",)),
            Say("Nobody needs an alarm clock here."),
            Gap(9.0, (f"{S}Horse", f"{S}HorseGallop")),
            Say("The grey mare runs down to the gate when she hears us."),
            Gap(6.0, (f"{S}Dog1", f"{S}Dog2"), pause_s=(0.1, 0.5)),
            Say("The dog keeps an eye on everybody."),
            Gap(5.5, (f"{S}Cat", f"{S}Meow", f"{S}Kitten")),
            Say("Her kittens were born three weeks ago."),
            Say("They are hungry all the time."),
            Gap(4.0, (f"{M}doors_fencegate_open", f"{M}doors_fencegate_close", f"{H}homedecor_gate_open_close")),
            Say("Please close the gate behind you."),
            Gap(
                11.0,
                (f"{M}default_gravel_footstep.1", f"{M}default_gravel_footstep.2", f"{M}default_gravel_footstep.3"),
                pause_s=(0.2, 0.35),
            ),
            Say("That was our yard. Come back soon."),
        ),
    ),
    Scene(
        "kitchen-day",
        "One day in my kitchen: taps, toast and typing",
        "No music, no editing. Everyday household sounds from breakfast to the evening.",
        ("kitchen", "household", "daily life"),
        (MP4, M4A, WEBM),
        uploader="Plain Living",
        tracks=(Track("rolling_json3", automatic=True),),
        script=(
            Say("This is my kitchen on an ordinary Monday, and nothing special is going to happen."),
            Gap(7.0, (f"{H}homedecor_faucet", f"{S}WaterRunning"), pause_s=(0.1, 0.2)),
            Say("First I fill the kettle and wait for the toast to be done."),
            Gap(2.6, (f"{H}toaster",)),
            Say("There it is."),
            Gap(5.0, (f"{S}Slurp", f"{S}WaterDrop")),
            Say("Then I sit down at the small table by the window and answer my letters."),
            Gap(10.5, (f"{S}Typing",), pause_s=(0.05, 0.3)),
            Say("Somebody is at the door, as usual when I have just started."),
            Gap(6.0, (f"{H}homedecor_doorbell", f"{H}homedecor_door_open", f"{H}homedecor_door_close")),
            Say("It was only the neighbour who wanted her sewing machine back."),
            Gap(5.5, (f"{S}SewingMachine",), pause_s=(0.1, 0.4)),
            Say("At the end of the day I take out the trash and have a long shower."),
            Gap(13.0, (f"{H}homedecor_trash_all", f"{H}homedecor_shower", f"{H}homedecor_toilet_flush")),
        ),
    ),
    Scene(
        "workshop_04",
        "From the forest to the mine - tools at work",
        "Chopping, digging, hammering and a ride on the mine cart. Sound on!",
        ("tools", "wood", "mining"),
        (MP4, WEBM),
        uploader="Hands and Tools",
        voice="en-us",
        tracks=(Track("rolling_vtt", automatic=True),),
        script=(
            Gap(4.0, (f"{M}default_dig_choppy.1", f"{M}default_dig_choppy.2", f"{M}default_dig_choppy.3")),
            Say("We begin with an axe and a very dry log that has been lying here since the winter."),
            Gap(7.5, (f"{M}fire_flint_and_steel", f"{M}fire_flint_and_steel", f"{M}fire_fire.1"), pause_s=(0.3, 0.6)),
            Say("A fire keeps us warm while we get the pickaxe ready for the harder part."),
            Gap(9.0, (f"{M}default_dig_cracky.1", f"{M}default_dig_cracky.2", f"{M}default_dig_cracky.3")),
            Say("Stone takes patience."),
            Gap(
                6.0,
                (f"{M}carts_cart_moving.1", f"{M}carts_cart_moving.2", f"{M}carts_cart_moving.3"),
                pause_s=(0.0, 0.05),
            ),
            Say("The cart brings everything down to the furnace, where the real work is done."),
            Gap(12.0, (f"{M}default_furnace_active",), pause_s=(0.0, 0.1)),
            Say("Be careful with the next one and stand well back."),
            Gap(7.0, (f"{M}tnt_ignite", f"{M}tnt_explode"), pause_s=(0.05, 0.1)),
            Say("And that is how the tunnel was opened."),
            Gap(3.0, (f"{M}default_dug_metal.1", f"{M}default_dug_metal.2")),
        ),
    ),
    Scene(
        "music_hall5",
        "Backstage at the old music hall",
        "A tour of an empty theatre with a little music and the sounds behind the curtain.",
        ("theatre", "tour"),
        (MP4, M4A, WEBM),
        uploader="City Archive",
        tracks=(Track("vtt"),),
        script=(
            Say("Let me show you the old music hall."),
            Gap(6.5, (f"{S}DoorCreak", f"{S}DoorClose"), pause_s=(0.1, 0.3)),
            Say("The stage door has needed oil for years."),
            Music(9.5, (f"{S}Medieval1",)),
            Say("The orchestra still rehearses here on Fridays."),
            Gap(8.0, (f"{S}Footsteps-1", f"{S}Footsteps-2")),
            Say("These stairs lead up to the bell."),
            Gap(9.0, (f"{S}BellToll",), pause_s=(0.2, 0.4)),
            Say("It was rung before every performance."),
            Gap(6.0, (f"{F}Applause",), pause_s=(0.0, 0.1)),
            Say("Now the hall is empty and quiet."),
            Gap(4.0, ()),  # nothing but the room: a clip that is filtered as silent
            Say("Except for the gong, of course."),
            Gap(5.0, (f"{S}Gong",)),
            Music(5.0, (f"{S}Xylo3",)),
        ),
    ),
    Scene(
        "nachtwald_6",
        "Nacht im Wald / A night in the forest",
        "Eine Nacht im Wald mit Eulen, Wölfen und Grillen. With English subtitles.",
        ("Wald", "forest", "night"),
        (MP4, M4A, WEBM),
        uploader="Waldfunk",
        voice="de",
        tracks=(Track("vtt", language="de"), Track("vtt", language="en", translated=True)),
        script=(
            Say("Es ist kurz nach Mitternacht.", translation="It is just after midnight."),
            Gap(8.0, (f"{S}Crickets",), pause_s=(0.0, 0.1)),
            Say("Die Grillen hören nie auf.", translation="The crickets never stop."),
            Gap(6.0, (f"{S}Owl",), pause_s=(0.4, 0.8)),
            Say("Ganz nah sitzt eine Eule.", translation="An owl is sitting very close."),
            Gap(9.0, (f"{S}WolfHowl",), pause_s=(0.2, 0.5)),
            Say("Und das war hoffentlich weit weg.", translation="And that was far away, I hope."),
            Gap(11.5, (f"{M}fire_small", f"{M}fire_fire.2"), pause_s=(0.0, 0.05)),
            Say("Wir bleiben lieber am Feuer.", translation="We had better stay by the fire."),
            Gap(
                5.0,
                (f"{M}default_snow_footstep.1", f"{M}default_snow_footstep.2", f"{M}default_snow_footstep.5"),
                pause_s=(0.2, 0.4),
            ),
            Say("Jemand geht durch den Schnee.", translation="Somebody is walking through the snow."),
            Gap(3.0, (f"{S}Owl",)),
        ),
    ),
    Scene(
        "phonebooth7",
        "The last phone booth in town",
        "Dialling, waiting, ringing: an hour in a public telephone booth.",
        ("telephone", "city"),
        (MP4, M4A, WEBM),
        uploader="City Archive",
        tracks=(Track("vtt"),),
        script=(
            Gap(5.0, (f"{H}insert_coin",)),
            Say("All circuits are busy now.", prompt="all-circuits-busy-now"),
            Gap(8.0, (f"{F}Telephone",), pause_s=(0.2, 0.6)),
            Say("Please hold while we try to connect you.", prompt="pls-hold-while-try"),
            Gap(9.0, (f"{S}CarPassing",)),
            Say("Your call cannot be completed as dialed.", prompt="cannot-complete-as-dialed"),
            Say("Please check the number and dial again.", prompt="check-number-dial-again"),
            Gap(9.0, (f"{S}MotorcyclePassing",)),
            Say(
                "The number you have dialed is not in service. Please check the number and try again.",
                prompt="ss-noservice",
            ),
            Gap(4.0, (f"{S}FingerSnap", f"{S}Rattle")),
            Say("Nobody is available to take your call at the moment.", prompt="vm-nobodyavail"),
            Gap(6.0, (f"{P}perc_door", f"{M}doors_glass_door_open", f"{M}doors_glass_door_close")),
        ),
    ),
    Scene(
        "holdmusic_8",
        "Please hold: what really happens while you wait",
        "A household answers the phone. Things break, somebody laughs, water runs.",
        ("comedy", "household"),
        (MP4,),  # no audio-only format: the video has to do
        uploader="Plain Living",
        tracks=(Track("rich_vtt"),),
        script=(
            Say("Weasels have eaten our phone system.", prompt="tt-weasels"),
            Gap(5.0, (f"{M}default_break_glass.1", f"{M}default_break_glass.2", f"{M}default_break_glass.3")),
            Say(
                "All representatives of the household are currently assisting other telemarketers. "
                "Please hold and your call will be answered in the order it was received.",
                prompt="tt-allbusy",
            ),
            Gap(6.0, (f"{S}Laugh-female", f"{S}Laugh-male1"), pause_s=(0.2, 0.4)),
            Say("They have been carried away by monkeys.", prompt="tt-monkeysintro"),
            Gap(8.0, (f"{P}loop_3d_printer",)),
            Say(
                "Your call is now first in line and will be answered by the next available representative.",
                prompt="queue-youarenext",
            ),
            Gap(7.0, (f"{S}BabyCry",), pause_s=(0.2, 0.5)),
            Say("Something is terribly wrong.", prompt="tt-somethingwrong"),
            Gap(5.0, (f"{S}Sneeze-female", f"{S}Cough-male", f"{S}Sneeze-male", f"{S}Cough-female")),
            Say("I'm sorry, I did not understand your response.", prompt="vm-sorry"),
        ),
    ),
    Scene(
        "nonstop_t09",
        "I talk without a single pause",
        "Every second of this video has captions.",
        ("talk",),
        (M4A,),
        uploader="Quick Talker",
        tracks=(Track("vtt"),),
        script=(
            Say("There is nothing to hear in this video except my own voice."),
            Say("I go from one sentence to the next and leave no time for anything else."),
            Say("Whoever looks for sounds between the words will have to look elsewhere."),
        ),
    ),
)

PLAIN = (
    Scene(
        "brookside10",
        "Mountain brook, one microphone",
        "Flowing water, no wind, no people.",
        ("water", "ambience"),
        (WAV,),
        (Gap(24.0, (f"{M}env_sounds_water.3", f"{M}env_sounds_water.4"), pause_s=(0.0, 0.0)),),
    ),
    Scene(
        "campfire_11",
        "Camp fire burning down",
        "A crackling fire, recorded for falling asleep.",
        ("fire", "ambience"),
        (OGG,),
        (Gap(35.0, (f"{M}fire_large", f"{M}fire_small", f"{M}fire_fire.3"), pause_s=(0.0, 0.0)),),
    ),
    Scene(
        "seashore_12",
        "Waves and sea lions",
        "At the shore below the cliffs.",
        ("sea", "animals"),
        (MP3,),
        (Gap(15.0, (f"{F}Sea Shore",), pause_s=(0.0, 0.1)), Gap(13.0, (f"{S}SeaLion",), bed=f"{F}Sea Shore")),
    ),
    Scene(
        "barnyard_13",
        "Barnyard animals, close up",
        "A rooster, a horse, a goose and two dogs.",
        ("animals", "farm"),
        (FLAC,),
        (Gap(18.0, (f"{S}Rooster", f"{S}Horse", f"{S}Goose", f"{S}Dog1", f"{S}Dog2"), pause_s=(0.3, 0.8)),),
    ),
    # nobody says how long it is: a grid of windows reaches beyond its end
    Scene(
        "owls_wolves",
        "Night recorder 3: owls and wolves",
        "Left running in the woods until the battery was empty.",
        ("night", "wildlife"),
        (OPUS,),
        (Gap(21.0, (f"{S}Owl", f"{S}WolfHowl"), bed=f"{S}Crickets"),),
        states_duration=False,
    ),
    Scene(
        "doorstudies",
        "Door and footstep studies",
        "Wooden, steel and creaking doors; steps on wood and metal.",
        ("foley", "doors"),
        (MP3,),
        (
            Gap(
                9.0,
                (
                    f"{M}doors_door_open",
                    f"{M}doors_door_close",
                    f"{M}doors_steel_door_open",
                    f"{M}doors_steel_door_close",
                ),
            ),
            Gap(8.5, (f"{M}default_wood_footstep.1", f"{M}default_wood_footstep.2"), pause_s=(0.3, 0.5)),
            Gap(8.5, (f"{S}DoorCreak", f"{P}perc_door")),
        ),
    ),
    Scene(
        "surround_51",
        "Swamp in 5.1",
        "Six channels: water in front, birds behind, bubbling mud below.",
        ("surround", "ambience"),
        (Format("258", "m4a", "aac", 192, rate_hz=44_100),),
        stems=(
            (Gap(10.0, (f"{M}env_sounds_water.1",), pause_s=(0.0, 0.0)),),
            (Gap(10.0, (f"{M}env_sounds_water.2",), pause_s=(0.0, 0.0)),),
            (Gap(10.0, (f"{M}default_water_footstep.3",)),),
            (Gap(10.0, (f"{M}env_sounds_lava.1",), pause_s=(0.0, 0.0)),),
            (Gap(10.0, (f"{F}Bird",)),),
            (Gap(10.0, (f"{P}misc_crow",), pause_s=(0.8, 1.6)),),
        ),
    ),
    Scene(
        "telephone_8",
        "Ringing telephone, recorded off the line",
        "8 kHz telephone quality. Somebody answers in the end.",
        ("telephone",),
        (PHONE,),
        (  # no transcript says that the second window is speech: it has to be heard
            Gap(10.0, (f"{F}Telephone",), pause_s=(0.3, 0.6)),
            Say(
                "The number you have dialed is not in service. Please check the number and try again.",
                prompt="ss-noservice",
            ),
            Say("Please check the number and dial again.", prompt="check-number-dial-again"),
        ),
    ),
    Scene(
        "silent_film",
        "Silent test picture",
        "There is no sound in this video.",
        ("test",),
        (SILENT,),
        (Gap(6.0, (f"{S}Pop",)),),
    ),
)


def _short(source_id: str, title: str, sounds: tuple[str, ...], behaviour: dict[str, Any], garbage: str = "") -> Scene:
    formats = (MP4,) if garbage else (M4A,)
    script = (Gap(8.0, sounds),)
    about = "A short recording."
    return Scene(source_id, title, about, ("short",), formats, script, behaviour=behaviour, garbage=garbage)


#: Good recordings behind a site that misbehaves; the last two are broken files.
MISBEHAVING = (
    _short("ratelimit21", "Bubbles in a glass", (f"{S}Bubbles",), {"status": 429, "times": 2, "retry_after": 1}),
    _short("truncated22", "Footsteps on ice", (f"{M}default_ice_footstep.1",), {"truncate_at": 0.5}),
    _short("slowbody_23", "Church bell across the valley", (f"{S}BellToll",), {"seconds": 2.5}),
    _short("mediagone26", "Ducks on the canal", (f"{S}Duck",), {"status": 404}),
    _short("expired__27", "A rattle in the attic", (f"{S}Rattle",), {"status": 403, "times": 1}),
    _short("corrupt__24", "Upload went wrong", (f"{S}Pop",), {}, garbage="random"),
    _short("zerolen__25", "Upload never started", (f"{S}Pop",), {}, garbage="empty"),
)

#: Watch pages that answer with an error.
GONE = {"gone_404_xx": 404, "gone_410_xx": 410}

#: The local folder: name of the file -> scene. One has a sidecar.
FOLDER = (
    Scene(
        "kitchen_tap",
        "Tap running in an empty kitchen",
        "Recorded with a pocket recorder.",
        ("water", "kitchen"),
        (OGG,),
        (Gap(12.0, (f"{H}homedecor_faucet",), pause_s=(0.1, 0.3)),),
    ),
    Scene("typing", "", "", (), (WAV,), (Gap(8.0, (f"{S}Typing",), pause_s=(0.1, 0.4)),)),
    Scene("crickets", "", "", (), (MP3,), (Gap(10.0, (f"{S}Crickets",), pause_s=(0.0, 0.0)),)),
)
