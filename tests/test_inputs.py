"""Whatever np.asarray takes is computed right and left as it was; anything else is refused by name."""

import copy
import pickle

import numpy as np
import pytest

import fastlstm
from fastlstm import FastLSTMError


@pytest.fixture
def layer(rng):
    layer = fastlstm.LSTM(10, return_sequences=True, name="first")
    layer.set_weights([rng.standard_normal(s) / 3 for s in ((4, 40), (10, 40), (40,))])
    return layer


def variants(x):
    """The same numbers in every layout and dtype that holds them."""
    wide = np.zeros((x.shape[0], 2 * x.shape[1], 3 * x.shape[2]), x.dtype)
    wide[:, ::2, ::3] = x
    raw = np.empty(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(x.dtype).reshape(x.shape) if x.nbytes else x
    misaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    padded = np.zeros((x.shape[0], x.shape[1], x.shape[2] + 3), x.dtype)
    padded[..., : x.shape[2]] = x
    yield "contiguous", x
    yield "fortran", np.asfortranarray(x)
    yield "strided", wide[:, ::2, ::3]
    yield "reversed twice", x[::-1, ::-1].copy()[::-1, ::-1]
    yield "rows apart", padded[..., : x.shape[2]]
    yield "read-only", read_only
    yield "misaligned", misaligned
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    yield "float64", x.astype(np.float64)
    yield "float16", x.astype(np.float16)
    yield "int64", x.astype(np.int64)
    yield "int8", x.astype(np.int8)
    yield "list", x.tolist()
    yield "memoryview", memoryview(x)
    yield "subclass", x.view(np.matrix) if x.ndim == 2 else np.ma.array(x)


def test_every_layout_and_dtype_gives_the_same_result_and_stays_as_it_was(layer, rng, isa):
    twin = fastlstm.LSTM(10, return_sequences=True, isa=isa)
    twin.set_weights(layer.get_weights())
    x = rng.integers(-5, 6, (3, 7, 4)).astype(np.float32)  # whole numbers: every dtype holds them
    wanted = twin(x)
    for name, same in variants(x):
        before = copy.deepcopy(same) if not isinstance(same, memoryview) else bytes(same)
        assert np.array_equal(twin(same), wanted), name
        after = same if not isinstance(same, memoryview) else bytes(same)
        assert np.array_equal(np.asarray(before), np.asarray(after)), name


def test_mask_and_state_come_in_any_layout_too(layer, rng):
    x = rng.standard_normal((3, 7, 4)).astype(np.float32)
    mask = rng.random((3, 7)) < 0.5
    state = [rng.integers(-3, 4, (3, 10)).astype(np.float32) for _ in range(2)]
    wanted = layer(x, initial_state=state, mask=mask)
    for other in (mask.astype(int), mask.astype(float), mask[:, :, None], np.asfortranarray(mask), mask.tolist()):
        assert np.array_equal(layer(x, initial_state=state, mask=other), wanted)
    for convert in (np.asfortranarray, lambda s: s.astype(np.float64), lambda s: s.astype(">f4"), np.ndarray.tolist):
        assert np.array_equal(layer(x, initial_state=tuple(convert(s) for s in state), mask=mask), wanted)


@pytest.mark.parametrize("shape", [(0, 5, 4), (2, 0, 4), (0, 0, 4), (1, 1, 4)])
def test_empty_and_single(layer, shape):
    for sequences in (True, False):
        layer.return_sequences, layer.return_state = sequences, True
        state = [np.full((shape[0], 10), v, np.float32) for v in (0.25, 0.5)]
        y, h, c = layer(np.zeros(shape), initial_state=state)
        assert y.shape == ((*shape[:2], 10) if sequences else (shape[0], 10))
        if shape[1] == 0:  # nothing ran: the states are those given, and there is no last output
            assert np.array_equal(h, state[0]) and np.array_equal(c, state[1]) and not y.any()


REFUSED = [
    ({"sequences": np.zeros((3, 4))}, r"sequences has shape \(3, 4\); expected \(batch, steps, 4\)"),
    ({"sequences": np.zeros((3, 7, 5))}, r"sequences has shape \(3, 7, 5\); expected \(batch, steps, 4\)"),
    ({"sequences": np.zeros((3, 7, 4), complex)}, "sequences has dtype complex128; expected numbers"),
    ({"sequences": np.zeros((3, 7, 4), object)}, "sequences has dtype object"),
    ({"sequences": np.full((3, 7, 4), "a")}, "sequences has dtype <U1"),
    ({"sequences": np.zeros((3, 7, 4), "datetime64[s]")}, "sequences has dtype datetime64"),
    ({"sequences": [[[1, 2], [3]]]}, "sequences is not an array"),
    ({"sequences": None}, "sequences has dtype object"),
    ({"mask": np.ones((3, 6))}, r"mask has shape \(3, 6\); expected \(3, 7\)"),
    ({"mask": np.ones((2, 7))}, r"mask has shape \(2, 7\); expected \(3, 7\)"),
    ({"mask": np.ones((3, 7, 4))}, r"mask has shape \(3, 7, 4\)"),
    ({"initial_state": np.zeros((3, 10))}, "initial_state is ndarray of 3; expected two arrays"),
    ({"initial_state": [np.zeros((3, 10))]}, "initial_state is list of 1"),
    ({"initial_state": 5}, "initial_state is int of 0"),
    ({"initial_state": [np.zeros((3, 10)), np.zeros((3, 9))]}, r"initial_state c has shape \(3, 9\); expected"),
    ({"initial_state": [np.zeros((2, 10)), np.zeros((2, 10))]}, r"initial_state h has shape \(2, 10\)"),
    ({"initial_state": [np.zeros((3, 10), complex), np.zeros((3, 10))]}, "initial_state h has dtype complex128"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_wrong_arguments_are_named_with_what_was_found_and_expected(layer, wrong, message):
    arguments = {"sequences": np.zeros((3, 7, 4)), **wrong}
    with pytest.raises(FastLSTMError, match=f"LSTM 'first': {message}"):
        layer(**arguments)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"units": 0}, "units is 0"), ({"units": -3}, "units is -3"), ({"units": 2.0}, "units is 2.0"),
        ({"units": True}, "units is True"), ({"units": 3, "activation": "tan"}, "unknown activation 'tan'"),
        ({"units": 3, "recurrent_activation": "glu"}, "recurrent_activation: activation 'glu'"),
        ({"units": 3, "dtype": "float16"}, "dtype is 'float16'"), ({"units": 3, "isa": "sse9"}, "isa='sse9'"),
        ({"units": 3, "kernel_initializer": "nothing"}, "kernel_initializer"),
        ({"units": 3, "bais": True}, r"unrecognized keyword arguments \['bais'\]"),
        ({"units": 3, "use_cudnn": "yes"}, "use_cudnn is 'yes'"), ({"units": 3, "name": 5}, "name is 5"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(wrong, message):
    with pytest.raises(FastLSTMError, match=message):
        fastlstm.LSTM(**wrong)


def test_an_impossible_isa_lists_those_that_run(monkeypatch):
    with pytest.raises(FastLSTMError, match=r"isa='neon' is not a kernel of this build; these run here: .*scalar"):
        fastlstm.LSTM(3, isa="neon")
    monkeypatch.setenv("FASTLSTM_ISA", "scalar")
    assert fastlstm.LSTM(3).isa == "scalar"
    monkeypatch.setenv("FASTLSTM_ISA", "mmx")
    with pytest.raises(FastLSTMError, match="FASTLSTM_ISA='mmx' is not a kernel"):
        fastlstm.LSTM(3)
    assert fastlstm.LSTM(3, isa="scalar").isa == "scalar"  # the argument goes first


def test_an_isa_that_the_processor_lacks_is_refused_with_those_that_run(monkeypatch):
    listed = [("avx512", False, True), ("avx2", True, True), ("scalar", True, False)]
    monkeypatch.setattr("fastlstm._core.kernels", lambda: listed)
    assert fastlstm.LSTM(3).isa == "avx2"
    with pytest.raises(FastLSTMError, match=r"isa='avx512' needs instructions .* lacks; these run here: avx2, scalar"):
        fastlstm.LSTM(3, isa="avx512")


def test_weights_are_refused_whole_or_taken_whole(layer, rng):
    before = layer.get_weights()
    good = [w + 1 for w in before]
    for wrong, message in (
        (good[:2], "got 2 arrays; expected 3"),
        ([good[0], good[1], good[2][:-1]], r"bias, is float32 of shape \(39,\); expected numbers of shape \(40,\)"),
        ([good[0][:3], *good[1:]], r"kernel, is float32 of shape \(3, 40\); expected numbers of shape \(4, 40\)"),
    ):
        with pytest.raises(FastLSTMError, match=message):
            layer.set_weights(wrong)
        assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        layer.kernel[0, 0] = 1.0
    layer.get_weights()[0][...] = 0  # copies: the layer keeps its own
    assert np.array_equal(layer.get_weights()[0], before[0])


def test_building_counting_and_naming():
    layer = fastlstm.LSTM(32)
    with pytest.raises(FastLSTMError, match="count_params needs weights"):
        layer.count_params()
    layer.build((None, None, 2308))
    assert layer.count_params() == 299648
    assert [w.shape for w in layer.get_weights()] == [(2308, 128), (32, 128), (128,)]
    bias = layer.bias
    assert (bias[32:64] == 1).all() and (np.delete(bias, slice(32, 64)) == 0).all()
    np.testing.assert_allclose(layer.recurrent_kernel @ layer.recurrent_kernel.T, np.eye(32), atol=1e-5)
    assert fastlstm.LSTM(3, use_bias=False, unit_forget_bias=False).weight_shapes((None, None, 2)).keys() == {
        "kernel", "recurrent_kernel",
    }  # fmt: skip
    for shape in ((None, 3), (None, None, None), (None, None, 0)):
        with pytest.raises(FastLSTMError, match="expected \\(batch, steps, features\\)"):
            fastlstm.LSTM(3).build(shape)
    assert fastlstm.LSTM(3).compute_output_shape((None, 5, 2)) == (None, 3)


def test_training_is_inert_unless_it_would_change_the_result(layer):
    x = np.ones((1, 2, 4))
    assert np.array_equal(layer(x, training=True), layer(x))
    dropping = fastlstm.LSTM(3, dropout=0.5)
    dropping(x)
    with pytest.raises(FastLSTMError, match="training=True would apply dropout"):
        dropping(x, training=True)


def test_layers_can_be_copied_and_pickled(layer, rng):
    x = rng.standard_normal((2, 5, 4))
    wanted = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(twin(x), wanted)


def test_refused_saved_options():
    config = fastlstm.LSTM(3).get_config()
    with pytest.raises(FastLSTMError, match="say how to run"):
        fastlstm.LSTM.from_config({**config, "isa": "scalar"})
    with pytest.raises(FastLSTMError, match="dtype is"):
        fastlstm.LSTM.from_config({**config, "dtype": {"class_name": "QuantizedDTypePolicy", "config": {}}})
