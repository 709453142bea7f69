"""Five hundred generated models compute what Keras computes, however they get here."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import generated
import numpy as np
import pytest
from drawing import Drawer, Kit

import fastlstm

# TensorFlow's own tensors provoke it in NumPy 2; Keras warns of masks that end, of old formats, of odd names.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

MODELS = {3: 48, 2: 24}  # of each layout: 504 in all
LAYOUTS = [*generated.LAYOUTS[3], generated.IN_CODE]


def check(kit, library, layout, first):
    found = list(generated.verdicts(kit, library, layout, MODELS[kit.generation], first))
    assert len(found) == MODELS[kit.generation]
    wrong = [f"seed {verdict.seed}: {verdict.problem}" for verdict in found if verdict.problem]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_models_of_keras_3(keras, layout):
    check(generated.keras_kit(keras), keras, layout, 100_000 * (1 + LAYOUTS.index(layout)))


@pytest.mark.parametrize("layout", generated.LAYOUTS[2])
def test_models_of_tf_keras(keras, layout):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf_keras = pytest.importorskip("tf_keras")
    first = 100_000 * (1 + len(LAYOUTS) + list(generated.LAYOUTS[2]).index(layout))
    check(generated.tf_keras_kit(tf_keras), tf_keras, layout, first)


def test_the_generator_draws_all_layers_that_fastlstm_has(keras):
    """Or nearly all: what reads pictures, and what models are made of themselves, it does not."""
    seen = set()

    class Watching:
        def __getattr__(self, name):
            seen.add(name)
            return getattr(fastlstm.layers, name)

    kit: Kit = generated.own_kit()._replace(layers=Watching())
    for seed in range(600):
        try:
            generated.drawn(kit, seed)
        except fastlstm.FastLSTMError:  # as Keras refuses some
            continue
    pictures = {name for name in fastlstm.layers.serialization.LAYERS if name.endswith("2D")}
    assert set(fastlstm.layers.serialization.LAYERS) - seen <= pictures | {"InputLayer", "Sequential", "Functional"}


# -- models written in code ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twins(keras):
    """Models of Keras with their inputs and outputs, and ours from the same lines of code."""
    kit = generated.operators(generated.keras_kit(keras))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(60):
            case = generated.case(kit, seed) if seed % 8 != 7 else None
            if case is not None:
                ours, _ = generated.drawn(generated.own_kit(), seed)
                ours.set_weights(case.model.get_weights())
                found.append((case, ours))
    assert len(found) > 40
    return found


def same(found, wanted):
    assert generated.form(found) == generated.form(wanted)
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in zip(generated.leaves(found), generated.leaves(wanted), strict=True)
    )


def test_configurations_go_both_ways(keras, twins):
    for case, ours in twins:
        written = json.loads(json.dumps(ours.get_config()))
        back = type(case.model).from_config(written)
        back.set_weights(ours.get_weights())
        assert generated.difference(ours(case.inputs), back(case.inputs, training=False)) < generated.BOUND
        theirs = json.loads(json.dumps(case.model.get_config()))
        again = type(ours).from_config(theirs)
        again.set_weights(ours.get_weights())
        assert same(again(case.inputs), ours(case.inputs))
        assert [layer.name for layer in again.layers] == [layer.name for layer in case.model.layers]


def test_copies_and_pickles_compute_the_same_bits(twins):
    for case, ours in twins:
        wanted = ours(case.inputs)
        for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert same(other(case.inputs), wanted)
            assert other.get_config() == ours.get_config()


def test_files_of_our_own_keep_the_bits(twins, tmp_path):
    for i, (case, ours) in enumerate(twins):
        ours.save(tmp_path / f"{i}.npz")
        assert same(fastlstm.load_model(tmp_path / f"{i}.npz")(case.inputs), ours(case.inputs))


def test_predict_takes_lists_dicts_iterators_and_memory_maps(twins, tmp_path):
    for i, (case, ours) in enumerate(twins):
        arrays = generated.leaves(case.inputs)
        wanted = ours(case.inputs)
        assert same(ours.predict(case.inputs), wanted)
        named = dict(zip(ours.input_names, arrays, strict=True))
        assert same(ours.predict(named), wanted)
        assert same(ours.predict(iter([case.inputs])), wanted)
        assert same(ours.predict([(case.inputs, None)].__iter__()), wanted)
        maps = []
        for k, array in enumerate(arrays):
            np.save(tmp_path / f"{i}-{k}.npy", array)
            maps.append(np.load(tmp_path / f"{i}-{k}.npy", mmap_mode="r"))
        nest = dict(zip(case.inputs, maps, strict=True)) if isinstance(case.inputs, dict) else maps
        assert same(ours.predict(nest if len(maps) > 1 or isinstance(nest, dict) else maps[0]), wanted)
        by_row = ours.predict(case.inputs, batch_size=2)
        assert generated.difference(by_row, wanted) < generated.BOUND


def test_predict_in_batches_equals_keras(twins):
    for case, ours in twins[:12]:
        many = [np.concatenate([array] * 5) for array in generated.leaves(case.inputs)]
        inputs = dict(zip(sorted(case.inputs), many, strict=True)) if isinstance(case.inputs, dict) else many
        inputs = many[0] if isinstance(case.inputs, np.ndarray) else inputs
        wanted = case.model(inputs, training=False)
        assert generated.difference(ours.predict(inputs, batch_size=4), wanted) < generated.BOUND


def test_summaries_read_as_in_keras(keras, twins, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    functional = [(case, ours) for case, ours in twins if isinstance(ours, fastlstm.Functional)]
    for case, _ in functional[:20]:
        ours = fastlstm.from_keras(case.model)
        expected, found = [], []
        case.model.summary(line_length=130, print_fn=expected.append)
        ours.summary(line_length=130, print_fn=found.append)
        assert found[0].rstrip() == expected[0].rstrip()


def test_layer_names_beyond_ascii(keras, tmp_path):
    """HDF5 keeps groups with such names in its newer format, which only the old layout has."""
    layers = [keras.layers.LSTM(3, name="größe"), keras.layers.Dense(1, name="名")]
    model = keras.Sequential([keras.Input((4, 2)), *layers])
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    model.save(tmp_path / "m.keras")
    assert generated.difference(fastlstm.load_model(tmp_path / "m.keras")(x), model(x)) < generated.BOUND
    model.save(tmp_path / "m.h5")
    with pytest.raises(fastlstm.ModelFileError, match="newer HDF5 format"):
        fastlstm.load_model(tmp_path / "m.h5")


def test_the_same_seed_draws_the_same_model(keras):
    kit = generated.operators(generated.keras_kit(keras))
    for seed in range(4):
        one, two = (generated.drawn(kit, seed)[0] for _ in range(2))
        assert [tuple(w.shape) for w in one.weights] == [tuple(w.shape) for w in two.weights]
    assert Drawer(kit, 3).double == Drawer(generated.own_kit(), 3).double
