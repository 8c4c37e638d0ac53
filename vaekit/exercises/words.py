"""The mistakes the loss doctor knows, in words: `words.toml`, as the other files use it."""

import tomllib
from importlib.resources import files

_WORDS = tomllib.loads(files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))

CODES = tuple(_WORDS)  # in the order of `Diagnosis.faults`
FACTS = {code: words["fact"] for code, words in _WORDS.items()}
HINTS = {code: tuple(words["hints"]) for code, words in _WORDS.items()}
