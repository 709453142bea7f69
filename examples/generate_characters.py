"""Text from a character model, one character at a time: each is drawn from what the model says after all before it.

The model is any that ``fastlstm.load_model`` opens, that reads characters as ids (an Embedding comes first) or as
rows with a one in its character's place, and that ends in a softmax over the same characters:

    python examples/generate_characters.py model.keras --characters abcdefghijklmnopqrstuvwxyz --start th
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np

import fastlstm


def sharpened(chances: np.ndarray, temperature: float) -> np.ndarray:
    """Chances to draw by: themselves at a temperature of 1, all equal far above, the likeliest alone near 0."""
    with np.errstate(divide="ignore"):
        logs = np.log(chances.astype("float64")) / temperature
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


def generate(
    model: fastlstm.Model, characters: str, start: str, temperature: float, rng: np.random.Generator
) -> Iterator[str]:
    """Characters behind ``start``, without end.

    Parameters
    ----------
    model : fastlstm.Model
    characters : str
        In the order of their ids.
    start : str
        What the model has read before; at least one character.
    temperature : float
        Above 0; see :func:`sharpened`.
    rng : numpy.random.Generator
    """
    ids = {character: number for number, character in enumerate(characters)}
    one_hot = np.eye(len(characters), dtype="float32")
    reads_ids = len(model.input_shape) == 2
    stream = model.stream()  # keeps the state, so that a character costs one step however long the text is

    def read(number: int) -> np.ndarray:
        return stream.step(number if reads_ids else one_hot[number])

    for character in start:
        chances = read(ids[character])
    while True:
        number = rng.choice(len(characters), p=sharpened(chances, temperature))
        yield characters[number]
        chances = read(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file")
    parser.add_argument("--characters", required=True, help="all that the model knows, in the order of their ids")
    parser.add_argument("--start", required=True, help="what the text begins with")
    parser.add_argument("--end", default="", help="the character that ends a text, if there is one")
    parser.add_argument("--length", type=int, default=200, help="characters at most")
    parser.add_argument("--texts", type=int, default=1, help="how many texts")
    parser.add_argument("--temperature", type=float, default=0.7, help="low: likely text; high: unlikely text")
    parser.add_argument("--seed", type=int, help="the same seed draws the same text")
    given = parser.parse_args()
    if not 0 < given.temperature < float("inf"):
        parser.error(f"--temperature is {given.temperature}; expected a number above 0")
    if len(set(given.characters)) < len(given.characters):
        parser.error(f"--characters is {given.characters!r}; expected each character once")

    model = fastlstm.load_model(given.model)
    classes = model.output_shape[-1]
    if len(given.characters) != classes or not set(given.start) <= set(given.characters) or not given.start:
        parser.error(f"the model knows {classes} characters, given {len(given.characters)}; --start is made of them")
    rng = np.random.default_rng(given.seed)
    for _ in range(given.texts):
        text = generate(model, given.characters, given.start, given.temperature, rng)
        for _, character in zip(range(given.length), text, strict=False):
            if character == given.end:
                break
            sys.stdout.write(character)
            sys.stdout.flush()
        print()


if __name__ == "__main__":
    main()
