"""Questions about colours that tiny models can learn, and their windows."""

import json
import random

import pandas

from finetuning.config import Columns, Training
from finetuning.question_encoding import open_encoder

COLUMNS = Columns()
COLOURS = ["red", "green", "blue"]
THINGS = ["film", "plot", "cast", "music", "story", "book"]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def make_questions(contexts, seed, silent=0):
    """Rows of split, question, context and answers: the colour that a context names.

    Contexts differ, and each is asked about twice. Of every `silent` contexts the last names no
    colour, and its questions have no answer.
    """
    draw = random.Random(seed)
    rows = []
    for number in range(contexts):
        marks = " ".join(NUMBERS[int(digit)] for digit in f"{seed}{number}")
        thing, colour = draw.choice(THINGS), draw.choice(COLOURS)
        answered = not silent or number % silent < silent - 1
        said = f"it was {colour} and very fine" if answered else "it was not very fine"
        context = f"{marks} . the {thing} , {said} ."
        found = {"text": [colour], "answer_start": [context.index(colour)]} if answered else []
        rows += [(f"{word} {thing} ?", context, json.dumps(found)) for word in ("the", "is this")]
    frame = pandas.DataFrame(rows, columns=["question", "context", "answers"], dtype=object)
    frame.insert(0, "split", "train")
    return frame


def open_questions(folder, max_length=48, stride=8):
    """The encoder of a base model's folder."""
    return open_encoder(folder, COLUMNS, Training(max_length=max_length, stride=stride))
