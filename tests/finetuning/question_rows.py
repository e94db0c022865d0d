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


def make_questions(contexts, seed, unanswerable=False, longest=3):
    """Rows of split, question, context and answers: which colour a thing has.

    Every context has words that differ from those of any other. The last question of a context has
    no answer where that is asked for.
    """
    draw = random.Random(seed)
    rows = []
    for number in range(contexts):
        things = draw.sample(THINGS, draw.randint(2, longest))
        colours = [draw.choice(COLOURS) for _ in things]
        marks = " ".join(NUMBERS[int(digit)] for digit in str(number))
        parts = [f"the {thing} is {colour}" for thing, colour in zip(things, colours, strict=True)]
        context = f"{marks} . {' , '.join(parts)} ."
        for thing, colour in zip(things, colours, strict=True):
            said = f"the {thing} is "
            answer = {"text": [colour], "answer_start": [context.index(said) + len(said)]}
            rows.append((f"the {thing} ?", context, json.dumps(answer)))
        if unanswerable:
            other = next(thing for thing in THINGS if thing not in things)
            rows.append((f"the {other} ?", context, "[]"))
    frame = pandas.DataFrame(rows, columns=["question", "context", "answers"], dtype=object)
    frame.insert(0, "split", "train")
    return frame


def open_questions(folder, max_length=48, stride=8):
    """The encoder of a base model's folder."""
    return open_encoder(folder, COLUMNS, Training(max_length=max_length, stride=stride))
