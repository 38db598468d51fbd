"""The demo handles, three on X and one on Bluesky: who they are, when they speak, what they say and how people answer.

Everything is invented; links lead to the reserved domain `.example`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from metrics.vocabulary.engagements import UNDO_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


# What people do on Bluesky that everybody can see.
RECORDED = frozenset(
    name for kind in ("favorites", "replies", "retweets", "quote_tweets") for name in (kind, UNDO_OF[kind])
)


@dataclass(frozen=True)
class Voice:
    """One handle's character.

    tweets_a_day: the mean on a working day; `weekend` times that on Saturdays and Sundays.
    hours: local hours at which it publishes, each as likely as the others.
    reach: impressions that an average share brings; `root` and `ratio` scale the fitted lives.
    media: shares of photo, gif and video, the rest is text; appetite: factors on the usual rates by type.
    texts: templates; {words} are filled in, a template with {link} carries a link, #words are its tags.
    did: its account on Bluesky; empty for handles of X.
    crowd: as many people as an average Tweet is shown to, about; coverage: the share of impressions that name somebody;
    named_for: for how much of the past, in seconds, its source still says who it was.
    sparks: how often in an hour somebody with a large audience discovers one of its Tweets.
    campaigns: tags that some of its Tweets carry beside their own.
    """

    username: str
    display_name: str
    colour: str
    time_zone: str
    tweets_a_day: float
    weekend: float
    hours: tuple[int, ...]
    reach: float
    root: float
    ratio: float
    media: tuple[float, float, float]
    appetite: Mapping[str, float]
    texts: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    did: str = ""
    crowd: int = 60_000
    coverage: float = 1.0
    named_for: float = 0.0
    sparks: float = 4.0
    campaigns: tuple[str, ...] = ()

    def tells(self, kind: str, promoted: bool) -> bool:
        """Whether the handle's platform tells this type of engagement: Bluesky only what leaves a record."""
        return not self.did or (kind in RECORDED and not promoted)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The handle's time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Post:
    """What a Tweet says: `link` is empty and `tags` is () where it has none."""

    text: str
    media: str
    link: str
    tags: tuple[str, ...]


def write(voice: Voice, rng: np.random.Generator) -> Post:
    """A new post in this voice."""
    template = voice.texts[rng.integers(len(voice.texts))]
    chosen = {name: options[rng.integers(len(options))] for name, options in voice.words.items()}
    link = f"https://{voice.username.split('.')[0]}.example/{rng.integers(16**5):05x}" if "{link}" in template else ""
    text = template.format(**chosen, link=link, number=int(rng.integers(2, 60)))
    tags = tuple(word[1:].rstrip(".,!?:") for word in text.split() if word.startswith("#"))
    photo, gif, video = voice.media
    media = rng.choice(["photo", "gif", "video", "none"], p=[photo, gif, video, 1 - photo - gif - video])
    return Post(text, str(media), link, tags)


def campaigns_of(voice: Voice, moment: float) -> tuple[str, ...]:
    """The campaign of a Tweet that is published at this moment: one in ten carries each of the handle's."""
    place = round(moment * 1000) // 7 % 10
    return voice.campaigns[place : place + 1]


NORTHWIND = Voice(
    username="northwind",
    display_name="Northwind Coffee",
    colour="#0b6e69",
    time_zone="Europe/Copenhagen",
    tweets_a_day=3.2,
    weekend=0.6,
    hours=(7, 8, 8, 9, 11, 12, 13, 15, 17, 19, 20),
    reach=80,
    root=0.08,
    ratio=0.3,
    media=(0.42, 0.08, 0.18),
    appetite={"url_clicks": 1.5, "media_clicks": 1.2},
    coverage=0.9,
    named_for=6 * 3600.0,
    campaigns=("rainydays", "earlybirds"),
    texts=(
        "New on the bar today: {origin}, roasted on {weekday}. Tastes of {note} and {note2} ☕️ {link}",
        "{origin} is back. {number} bags, then it is gone until next harvest. {link} #singleorigin",
        "Our roaster {person} explains in 45 seconds why your {method} tastes bitter (and how to fix it) 👇",
        "Rain outside, {method} inside. Tell us: what are you drinking right now?",
        "We tried {number} grind sizes for {method} so that you do not have to 🔬 {link} #coffeescience",
        "Good morning {city} ☀️ Doors are open, the first {number} cups are on us.",
        "“{quote}” – overheard at the {city} bar this morning 💛",
        "Price note: {origin} goes up by 4 kr. a bag from {weekday}. Farmers get all of it. Why: {link}",
        "A small change with a big effect: warm your cup first. That is the whole tip. #brewtip",
        "Vi åbner en ny kaffebar i {city}! Fri kaffe til de første {number} på {weekday} 🎉 #northwind",
        "Which one for the weekend box? 🅰️ {note} & {note2} 🅱️ {origin}",
        "Behind the scenes: cupping {number} samples from {origin} with {person} 🎥 #cupping",
        "{person} just won the {city} {method} throwdown!! 🏆🏆🏆 We are not crying, it is the steam.",
        "Thank you for {number}0,000 cups this season. Here is everything that we learned about milk, water, "
        "patience and the {method}, written down in one very long post by {person}, who has not "
        "slept: {link} "
        "#coffee #slowmorning",
        "Oat, dairy, or black? Wrong answers only.",
        "Subscription boxes ship tomorrow: {origin} for filter, a chocolatey blend for espresso. {link}",
    ),
    words={
        "origin": (
            "Ethiopia Guji",
            "Kenya Nyeri",
            "Colombia Huila",
            "Rwanda Nyamasheke",
            "El Salvador Pacas",
        ),
        "note": ("blackcurrant", "jasmine", "brown sugar", "ripe peach", "blood orange"),
        "note2": ("honey", "cocoa nibs", "bergamot", "hazelnut", "rhubarb"),
        "method": ("V60", "AeroPress", "moka pot", "French press", "espresso"),
        "person": ("Freja", "Søren", "Amara", "Jónas", "Mette"),
        "city": ("Aarhus", "København", "Malmö", "Odense", "Oslo"),
        "weekday": ("Tuesday", "Thursday", "Friday", "Saturday"),
        "quote": (
            "It tastes like a Sunday.",
            "I only came in for the wifi.",
            "My dog likes this place more than I do.",
        ),
    },
)

MONSOON = Voice(
    username="monsoonrail",
    display_name="Monsoon Rail – the slow, scenic trains of the Western Ghats and the Konkan coast 🌧️🚆",
    colour="#b3541e",
    time_zone="Asia/Kolkata",
    tweets_a_day=4.2,
    weekend=1.1,
    hours=(6, 7, 8, 9, 10, 13, 16, 18, 19, 20, 21),
    reach=7,
    root=0.012,
    ratio=0.05,
    # A small account: who saw what is known of all its Tweets.
    crowd=260,
    named_for=math.inf,
    sparks=0.35,
    campaigns=("rainydays", "chaionboard"),
    media=(0.5, 0.04, 0.2),
    appetite={"replies": 2.2, "hashtag_clicks": 2.0, "app_opens": 6.0, "app_install_attempts": 6.0},
    texts=(
        "The {train} left {station} {number} minutes ago. Window seats on the left, please 🌿 #monsoonrail",
        "Waterfall watch: {falls} is in full flow. Slow run between {station} and {station2} today 💦",
        "Book the {train} for next month: sleeper from ₹{number}9, chai included. {link}",
        "नमस्ते {station}! Platform {number} has fresh vada pav and a very sleepy station cat 🐈",
        "Service notice: the {train} runs {number} min late after heavy rain near {station}. We are sorry.",
        "One line, {number} tunnels, zero mobile signal. Bring a book. #slowtravel",
        "Thread: how {person} drives a 1,200-tonne train down the ghat without touching the main brake 🧵",
        "60 seconds in the cab of the {train}, from {station} to the {falls} viaduct. Sound on 🔊 #cabview",
        "Your photos of the week! Best one by {person}: dawn at {station} 🌅 #monsoonrail #westernghats",
        "Our app now shows the platform before the announcement does. Update: {link}",
        "Quiz! Which bridge is this? Hint: between {station} and {station2}. Winner gets a pass 🎟️",
        "On time today: 97 %. Yes, we checked twice.",
        "Happy retirement {person}, {number} years on the {train} and never one spilled cup of tea ❤️",
        "Because many asked: dogs travel free, parrots need a ticket, and the goat at {station} works here. "
        "The complete, lovingly maintained list of animals, musical instruments, bicycles, "
        "surfboards and wedding "
        "decorations that you may bring on board is here: {link} #monsoonrail",
    ),
    words={
        "train": ("Deccan Mist", "Konkan Kingfisher", "Sahyadri Night Mail", "Ghat Runner"),
        "station": ("Ratnagiri", "Madgaon", "Karwar", "Lonavala", "Karjat"),
        "station2": ("Chiplun", "Kudal", "Gokarna", "Khandala"),
        "falls": ("Dudhsagar", "Ranpat", "Jog", "Thoseghar"),
        "person": ("Asha", "Mr Kulkarni", "Farida", "Driver Naik", "Joseph"),
    },
)

HALFMOON = Voice(
    username="halfmoonfc",
    display_name="Half Moon FC",
    colour="#4338ca",
    time_zone="America/Chicago",
    tweets_a_day=3.6,
    weekend=1.9,
    hours=(9, 11, 12, 14, 16, 17, 18, 19, 19, 20, 20, 21, 22),
    reach=85,
    root=0.08,
    ratio=0.32,
    media=(0.3, 0.14, 0.36),
    appetite={"favorites": 1.4, "retweets": 1.3, "replies": 1.6, "url_clicks": 0.6, "user_follows": 1.5},
    texts=(
        "GOOOOAL! {person} from outside the box, {number}' ⚽️🔥 #MoonRise",
        "FULL TIME. Half Moon 2, {rival} 1. What a night, what a crowd 🌙 #MoonRise",
        "{person} did WHAT with the back heel? 😳 Watch until the end.",
        "Starting XI vs {rival}: {person} returns, {person2} on the bench. Kick-off at {number} past seven.",
        "Tickets for {rival} are {number}% gone. Do not text us at 6 pm asking for “just two”. {link}",
        "Training ground, 7 a.m., frost on the grass. {person} and {person2} still smiling ❄️",
        "Player of the month: {person} 👏 You voted, {number},000 of you.",
        "We have signed {person2} from {rival} until 2029! Welcome home 💜 {link} #MoonRise",
        "gm to everyone who sang for 90 minutes in the rain and has no voice left today",
        "Injury update: {person} is out for {number} days. Get well soon, captain.",
        "POV: you just found out that the away end in {rival} sells better tacos than ours 🌮",
        "Kids' camp opens today: {number} places, every one of them free for families on the east side. {link}",
        "Rate {person}'s first touch 1 to 10 👇",
        "A letter from our captain: “When I came here {number} months ago nobody knew how to find "
        "this ground on a "
        "map. Last night ten thousand of you stayed half an hour after the whistle, in a "
        "thunderstorm, to clap for "
        "{person2}. I will tell my grandchildren about that. Thank you, thank you, thank you.” 💜 #MoonRise",
    ),
    words={
        "person": ("Okafor", "Delgado", "Lindqvist", "Tran", "Whitfield"),
        "person2": ("Moreau", "Castillo", "Abebe", "“Big Mike” Kowalczyk"),
        "rival": ("Prairie United", "Lake City", "Gateway SC", "Iron Range"),
    },
)

ON_BLUESKY = replace(
    NORTHWIND,
    username="northwind.social.example",
    display_name="Northwind on Bluesky",
    colour="#3b5bdb",
    time_zone="America/New_York",
    reach=100,
    # Of those who are shown a post, whom nobody counts there, many say something.
    appetite={"favorites": 5.0, "replies": 8.0, "quote_tweets": 8.0},
    did="did:plc:northwind2coffee2example",
    coverage=1.0,
    named_for=0.0,
)
# Those whose present goes through the HTTP API, and those whose present is told by Jetstream.
VOICES = (NORTHWIND, MONSOON, HALFMOON)
BLUESKY_VOICES = (ON_BLUESKY,)
