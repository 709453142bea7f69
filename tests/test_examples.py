"""The examples run, and give the figures of the worked examples."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import fastlstm
from fastlstm import Input, Sequential
from fastlstm.layers import LSTM, Activation, Dense, Embedding

FOLDER = Path(__file__).parents[1] / "examples"
MODELS = Path(os.environ.get("FASTLSTM_MODELS", Path(__file__).parents[2] / "shared" / "models"))
CASES = {c["name"]: c for c in json.loads((Path(__file__).parent / "worked_examples.json").read_text())["cases"]}
PRINTED = 6e-8  # half a unit of the seventh or eighth printed digit, and float32's own rounding
LETTERS = "01abcdefghijklmnopqrstuvwxyz"  # of the model that makes up names: start, end, letters


def example(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(name, *arguments):
    """What an example prints as a script."""
    command = [sys.executable, FOLDER / f"{name}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_names_every_example():
    page = (FOLDER / "README.md").read_text()
    programs = [file.name for file in FOLDER.iterdir() if file.suffix in (".py", ".c")]
    assert [name for name in programs if f"`{name}`" not in page] == []


def test_one_unit_one_step():
    case, own = CASES["one_unit_one_step"], example("one_unit_one_step")
    assert [[[own.X]]] == case["x"]
    assert [own.KERNEL, own.RECURRENT_KERNEL, own.BIAS] == [case[k] for k in ("kernel", "recurrent_kernel", "bias")]
    for found, wanted in zip(own.by_layer(), ("expected_sequences", "expected_h", "expected_c"), strict=True):
        np.testing.assert_allclose(found, case[wanted], atol=PRINTED)
    for found, wanted in zip(own.by_hand(), ("expected_h", "expected_c"), strict=True):
        np.testing.assert_allclose(found, case[wanted][0][0], atol=PRINTED)
    assert "the layer: h 0.61249435, c 0.7310586" in printed("one_unit_one_step")


def test_next_word_softmax():
    case, own = CASES["next_word_softmax"], example("next_word_softmax")
    assert [own.WORDS] == case["x"]
    assert own.LSTM_WEIGHTS == [case["kernel"], case["recurrent_kernel"], case["bias"]]
    assert own.DENSE_WEIGHTS == [case["dense_kernel"], case["dense_bias"]]
    model = own.build()
    np.testing.assert_allclose(model.predict([own.WORDS], verbose=0), case["expected_softmax"], atol=2 * PRINTED)
    np.testing.assert_allclose(own.by_hand(model), case["expected_softmax"], atol=2 * PRINTED)
    assert model.count_params() == case["expected_param_count"]["total"]
    assert "the likeliest next word is 4" in printed("next_word_softmax")


def test_parameter_count():
    case, own = CASES["parameter_count"], example("parameter_count")
    for count in case["counts"]:
        sizes, total, with_head = own.counted(count["features"], count["units"])
        assert sum(sizes) == total == count["total"] == own.expected(count["features"], count["units"])
        assert sizes == [count["W"], count["U"], count["b"]] if "W" in count else with_head == count["with_dense_1"]
    assert own.any_number_of_steps() == [(1, 1), (1, 1)]
    assert "together 299648 = 299648; with a Dense(1) behind it 299681" in printed("parameter_count")


def test_stacked_cells_4_5(keras):
    case, own = CASES["stacked_cells_4_5"], example("stacked_cells_4_5")
    assert own.X.tolist() == case["x"]
    layer = own.build()
    found, weights = layer(own.X), layer.get_weights()
    assert list(found.shape) == case["shapes"]["output"]
    theirs = keras.layers.RNN(
        keras.layers.StackedRNNCells([keras.layers.LSTMCell(n) for n in case["units"]]), return_sequences=True
    )
    theirs.build(own.X.shape)
    theirs.set_weights(weights)
    np.testing.assert_allclose(found, theirs(own.X), atol=1e-6)
    np.testing.assert_allclose(own.one_after_the_other(weights), found, atol=1e-6)
    assert "outputs (2, 3, 5); states (2, 4) (2, 4)" in printed("stacked_cells_4_5")


# -- text, one character at a time --------------------------------------------------------------------


@pytest.fixture(params=["ids", "one-hot"])
def model(request):
    """A small character model that has been trained on nothing, but has its likes and dislikes."""
    first = [Input((None,), dtype="int32"), Embedding(5, 3)] if request.param == "ids" else [Input((None, 5))]
    model = Sequential([*first, LSTM(8, return_sequences=True), LSTM(6), Dense(5), Activation("softmax")])
    rng = np.random.default_rng(7)
    model.set_weights([2 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def chances_after(model, ids):
    """What the whole model says after a whole text."""
    return model(np.array([ids]) if len(model.input_shape) == 2 else np.eye(5, dtype="float32")[None, ids])[0]


@pytest.mark.parametrize("temperature", [0.3, 1, 2.5])
def test_text_is_what_the_whole_model_gives_after_each_character(model, temperature):
    own, letters = example("generate_characters"), "abcde"
    text = islice(own.generate(model, letters, "ca", temperature, np.random.default_rng(5)), 40)
    rng, ids = np.random.default_rng(5), [2, 0]
    for character in text:
        ids.append(rng.choice(5, p=own.sharpened(chances_after(model, ids), temperature)))
        assert character == letters[ids[-1]]


def test_temperatures_sharpen_and_flatten(rng):
    own = example("generate_characters")
    chances = np.array([0.5, 0.3, 0.2, 0], np.float32)
    np.testing.assert_allclose(own.sharpened(chances, 1), chances, rtol=1e-6)
    np.testing.assert_allclose(own.sharpened(chances, 0.5), [25 / 38, 9 / 38, 4 / 38, 0], rtol=1e-6)
    np.testing.assert_allclose(own.sharpened(chances, 1e-3), [1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(own.sharpened(chances, 1e6), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-5)


def test_the_script_writes_text_and_stops_where_it_should(model, tmp_path):
    model.save(tmp_path / "model.npz")
    arguments = [str(tmp_path / "model.npz"), "--characters", "abcde", "--start", "a", "--seed", "3"]
    text = printed("generate_characters", *arguments, "--length", "30")
    assert len(text) == 31 and set(text[:-1]) <= set("abcde") and text == printed(
        "generate_characters", *arguments, "--length", "30"
    )
    ended = printed("generate_characters", *arguments, "--end", text[4], "--texts", "2").splitlines()
    assert len(ended) == 2 and ended[0] == text[: text.index(text[4])]


def test_the_script_refuses_characters_that_the_model_does_not_have(model, tmp_path):
    model.save(tmp_path / "model.npz")
    for characters, start in (("abcd", "a"), ("abcde", "f"), ("abcde", "")):
        arguments = [str(tmp_path / "model.npz"), "--characters", characters, "--start", start]
        with pytest.raises(AssertionError, match="the model knows 5 characters"):
            printed("generate_characters", *arguments)
    arguments = [str(tmp_path / "model.npz"), "--start", "a", "--characters"]
    for wrong in ("0", "-1", "nan", "inf"):
        with pytest.raises(AssertionError, match=r"--temperature is .*; expected a number above 0"):
            printed("generate_characters", *arguments, "abcde", f"--temperature={wrong}")
    with pytest.raises(AssertionError, match="--characters is 'abcda'; expected each character once"):
        printed("generate_characters", *arguments, "abcda")


NAMES = MODELS / "H4znow__dino_name_generator__lstm_model.keras"


@pytest.mark.skipif(not NAMES.is_file(), reason="no folder of models (FASTLSTM_MODELS)")
def test_a_published_model_makes_up_names_of_dinosaurs():
    arguments = [str(NAMES), "--characters", LETTERS, "--start", "0", "--end", "1", "--seed", "1"]
    names = printed("generate_characters", *arguments, "--texts", "40", "--length", "26").split()
    assert len(set(names)) > 30 and all(name.isalpha() for name in names)
    assert sum(name.endswith(("saurus", "raptor", "ops", "titan", "don", "nyx")) for name in names) > 15
    model = fastlstm.load_model(NAMES)
    own = example("generate_characters")
    text = islice(own.generate(model, LETTERS, "0" * 20, 0.7, np.random.default_rng(2)), 6)
    rng, ids = np.random.default_rng(2), [0] * 20
    for character in text:  # the model was trained on windows of 26, but any number of steps will do
        ids.append(rng.choice(28, p=own.sharpened(model(np.array([ids]))[0], 0.7)))
        assert character == LETTERS[ids[-1]]
