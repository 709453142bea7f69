"""What fastlstm.torch cannot take is refused by name, whatever is given; what NumPy and torch have beside is taken."""

from __future__ import annotations

import copy
import os
import pathlib

import numpy as np
import pytest
import torch_writing as w

from fastlstm import FastLSTMError, ModelFileError, UnsupportedLayerError
from fastlstm.torch import (
    LSTM,
    LSTMCell,
    PackedSequence,
    from_torch,
    load,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

X = np.zeros((5, 2, 3))


@pytest.fixture
def torch():
    """Live torch, where it is installed."""
    return pytest.importorskip("torch")


def refused(cases):
    """Each case is a call, and what its error says."""
    return pytest.mark.parametrize(("call", "message"), cases, ids=[message for _, message in cases])


# -- arrays -------------------------------------------------------------------------------------------


def test_tensors_of_any_kind_are_arrays(torch, rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, ours = rng.standard_normal((5, 2, 3)).astype(np.float32), LSTM(3, 4)
    halves = x.astype(bfloat16).astype(np.float32)
    for given, same in (
        (torch.tensor(x, requires_grad=True), x),
        (torch.tensor(x).bfloat16(), halves),
        (halves.astype(bfloat16), halves),
        (torch.tensor(x).half(), x.astype(np.float16)),
    ):
        assert np.array_equal(ours(given)[0], ours(same)[0])
        found, wanted = (pack_padded_sequence(part, [5, 2]).data for part in (given, same))
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    for given in (torch.empty(5, 2, 3, device="meta"), torch.Tensor):
        with pytest.raises(FastLSTMError, match="input is not an array"):
            ours(given)
    ours.load_state_dict({name: torch.tensor(array).bfloat16() for name, array in ours.state_dict().items()})
    ours.load_state_dict({name: array.astype(bfloat16) for name, array in ours.state_dict().items()})


def test_what_only_looks_like_a_tensor_is_left_alone(tmp_path):
    with open(tmp_path / "x", "w") as file:
        with pytest.raises(FastLSTMError, match="input has dtype object"):
            LSTM(3, 4)(file)  # which has a method detach as well
        file.write("still open")


# -- constructors ---------------------------------------------------------------------------------------


def test_numbers_of_numpy_are_numbers():
    ours = LSTM(np.int64(3), np.int32(4), bias=np.int64(1), dropout=np.float32(0.5), proj_size=np.int64(0))
    assert (ours.bias, ours.dropout, ours.proj_size) == (True, 0.5, 0) and repr(ours) == "LSTM(3, 4, dropout=0.5)"
    assert LSTM(3, 4, bidirectional=np.uint8(1), batch_first=np.bool_(True), reproducible=np.int64(1)).bidirectional
    assert not LSTMCell(3, 4, bias=np.int64(0)).bias


@refused([
    (lambda: LSTM(3, 4, num_layers=2**40), "num_layers is 1099511627776; expected at most 1000"),
    (lambda: LSTM(3, 4, proj_size=False), "proj_size is False"),
    (lambda: LSTM(3, 4, proj_size=0.0), "proj_size is 0.0"),
    (lambda: LSTM(3, 4, bias=np.int64(2)), "bias is .*2.*; expected True or False"),
    (lambda: LSTM(3, 4, dropout=np.float64("nan")), "dropout is .*nan"),
    (lambda: LSTM(3, 4, dropout="half"), "dropout is 'half'"),
    (lambda: LSTM(3, 4, reproducible="no"), "reproducible is 'no'; expected True or False"),
    (lambda: LSTMCell(3, 4, reproducible="no"), "LSTMCell .*reproducible is .no."),
])  # fmt: skip
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(FastLSTMError, match=message):
        call()


def test_states_are_read_alike_by_layers_and_cells(rng):
    cell, layer = LSTMCell(3, 4), LSTM(3, 4)
    x, states = rng.standard_normal((2, 3)), rng.standard_normal((2, 2, 4))
    for given in (tuple(states), list(states), states, iter(states)):
        assert np.array_equal(cell(x, given)[0], cell(x, tuple(states))[0])
    for module, given in ((cell, x), (layer, X)):
        for hx in (3, {}, (x,), "h", (None, None), (x, "c")):
            with pytest.raises(FastLSTMError, match=r"expected two arrays \(h_0, c_0\)|h_0 has|c_0 has"):
                module(given, hx)


def test_no_rows_have_no_lengths():
    output, (h, _) = LSTM(3, 4)(np.zeros((5, 0, 3)), lengths=[])
    assert output.shape == (5, 0, 4) and h.shape == (1, 0, 4)


# -- torch's methods ------------------------------------------------------------------------------------


def test_a_module_is_moved_to_where_it_is_and_nowhere_else(torch):
    ours, wide = LSTM(3, 4), LSTMCell(3, 4, dtype="float64")
    for same in (ours.to("cpu"), ours.cpu(), ours.float(), ours.to(torch.float32), ours.to("cpu", torch.float32, True),
                 ours.to(torch.device("cpu")), ours.to(dtype=np.float32), ours.to(torch.zeros(1)), ours.to(X[0, 0, :0]
                 .astype("f4")), ours.to(np.dtype("f4"))):  # fmt: skip
        assert same is ours
    assert wide.double() is wide is wide.to(torch.float64)
    for call, message in (
        (lambda: ours.to("cuda:0"), "LSTM: to: device is 'cuda:0'; fastlstm computes on 'cpu'"),
        (lambda: ours.to(torch.device("meta")), "device is 'meta'"),
        (lambda: ours.to(3), "device is '3'"),
        (ours.double, "computes in float32, which cannot be changed: make one with dtype='float64'"),
        (lambda: ours.to(torch.zeros(1).double()), "make one with dtype='float64'"),
        (wide.float, "LSTMCell: to: this module computes in float64"),
        (lambda: ours.to(torch.bfloat16), "dtype is 'bfloat16'"),
    ):
        with pytest.raises(FastLSTMError, match=message):
            call()


def test_forward_is_the_call_and_parameters_are_the_state_dicts(torch, rng):
    for ours, theirs in ((LSTM(3, 4, 2), torch.nn.LSTM(3, 4, 2)), (LSTMCell(3, 4), torch.nn.LSTMCell(3, 4))):
        x = rng.standard_normal((5, 3))
        assert np.array_equal(ours.forward(x)[0], ours(x)[0])
        for prefix in ("", "encoder"):
            named = dict(ours.named_parameters(prefix))
            assert list(named) == [name for name, _ in theirs.named_parameters(prefix)]
        assert all(a is b for a, b in zip(ours.parameters(), ours.state_dict().values(), strict=True))
        into = {"more": 1}
        assert ours.state_dict(destination=into, prefix="a.", keep_vars=True) is into
        assert list(into) == ["more", *theirs.state_dict(prefix="a.")]


@refused([
    (lambda m: m.state_dict(prefix=3), "prefix is 3; expected a str"),
    (lambda m: m.state_dict(destination=[]), "destination is list; expected a dict"),
    (lambda m: m.state_dict(keep_vars="no"), "keep_vars is 'no'"),
    (lambda m: m.load_state_dict({}, "encoder."), "strict is 'encoder.'; expected True or False"),
    (lambda m: m.load_state_dict({}, assign="no"), "assign is 'no'"),
    (lambda m: m.load_state_dict({}, prefix=None), "prefix is None; expected a str"),
    (lambda m: m.load_state_dict(dict), "got type; expected a mapping"),
    (lambda m: m.load_state_dict(None), "got NoneType; expected a mapping"),
    (lambda m: m.load_state_dict("x.pt", max_file_size=None), "max_file_size is None; expected a positive integer"),
    (lambda m: load("x.pt", max_file_size="2"), "load: max_file_size is '2'"),
    (lambda m: load(None), "load: path is None; expected a str, bytes or path-like"),
])  # fmt: skip
def test_wrong_calls_of_methods_are_named(call, message):
    with pytest.raises(FastLSTMError, match=message):
        call(LSTM(3, 4))


def test_state_dicts_are_loaded_by_torchs_signature(torch):
    ours, theirs = LSTM(3, 4), torch.nn.LSTM(3, 4)
    given = theirs.state_dict()
    assert ours.load_state_dict(given, True, True) == theirs.load_state_dict(given, True, True)
    del given["bias_hh_l0"]
    assert ours.load_state_dict(given, False) == theirs.load_state_dict(given, False)
    with pytest.raises(FastLSTMError, match="missing 'bias_hh_l0'"):
        ours.load_state_dict(given)


def test_a_copy_has_layers_of_its_own():
    ours = LSTM(3, 4)
    x, kept = np.ones((5, 3)), ours(np.ones((5, 3)))[0]
    twin = copy.copy(ours)
    twin.load_state_dict({name: np.zeros_like(array) for name, array in twin.state_dict().items()})
    assert not twin(x)[0].any() and np.array_equal(ours(x)[0], kept)


def test_a_subclass_has_attributes_of_its_own():
    class Scaled(LSTM):
        def __init__(self):
            self.weight_decay = 0.5
            super().__init__(3, 4)
            self.bias_scale, self.weight_hr_l0 = 2, 3

    ours = Scaled()
    assert (ours.weight_decay, ours.bias_scale, ours.weight_hr_l0) == (0.5, 2, 3)
    with pytest.raises(FastLSTMError, match="Scaled: bias_ih_l0 cannot be assigned"):
        ours.bias_ih_l0 = 3


# -- files ----------------------------------------------------------------------------------------------


def test_an_open_files_number_is_no_path(tmp_path):
    (tmp_path / "x").write_bytes(w.good()["zip"])
    number = os.open(tmp_path / "x", os.O_RDONLY)
    for read in (load, LSTM(2, 3).load_state_dict):
        with pytest.raises(FastLSTMError, match=r"path is|got int"):
            read(number)
    os.close(number)  # which nobody has closed
    assert load(os.fsencode(tmp_path / "x")).keys() == load(pathlib.Path(tmp_path / "x")).keys()
    with pytest.raises(ModelFileError, match=r"^'missing': "):
        load(b"missing")


@pytest.mark.parametrize("prefix", ["", "model.", "lstm_"])
def test_any_name_says_where_the_weights_are(tmp_path, prefix):
    """Of a mapping and of a file alike, without strict."""
    ours, given = LSTM(2, 3), w.arrays()
    del given["weight_ih_l0"]
    path = tmp_path / "x.safetensors"
    named = {prefix + name: array for name, array in given.items()}
    path.write_bytes(w.safetensors(w.entries(named), b"".join(w.raw(given).values())))
    for source in (path, named):
        result = ours.load_state_dict(source, strict=False, prefix=prefix)
        assert result == ([prefix + "weight_ih_l0"], []) and np.array_equal(ours.bias_hh_l0, given["bias_hh_l0"])
        with pytest.raises(FastLSTMError, match=f"missing '{prefix}weight_ih_l0'"):
            ours.load_state_dict(source, prefix=prefix)
    if prefix == "model.":
        assert ours.load_state_dict(path, strict=False).missing_keys == ["model.weight_ih_l0"]
    with pytest.raises(FastLSTMError, match=r"the file has no 'other\.weight_ih_l0'") as caught:
        ours.load_state_dict(path, strict=False, prefix="other.")
    assert type(caught.value) is FastLSTMError


# -- packing --------------------------------------------------------------------------------------------


def packed(dtype=np.float32):
    return pack_sequence([np.ones(3, dtype), np.ones(1, dtype)])


@refused([
    (lambda: pack_sequence(None), "pack_sequence: sequences is NoneType; expected arrays"),
    (lambda: pack_sequence(3), "sequences is int; expected arrays"),
    (lambda: pack_sequence([1, 2]), r"sequences\[0\] has shape \(\); expected \(1 step or more\)"),
    (lambda: pack_sequence([X, X[:0]]), r"sequences\[1\] has shape \(0, 2, 3\); expected \(1 step or more, 2, 3\)"),
    (lambda: pack_sequence([X[:1], X]), "^pack_sequence: lengths increase at row 1"),
    (lambda: pack_sequence([X], enforce_sorted="no"), "enforce_sorted is 'no'"),
    (lambda: pack_padded_sequence(X, [5, 0]), r"pack_padded_sequence: lengths\[1\] is 0; expected 1 to 5"),
    (lambda: pack_padded_sequence(X, [5, 4], batch_first="no"), "batch_first is 'no'; expected True or False"),
    (lambda: pack_padded_sequence(X, None), "pack_padded_sequence: lengths is object"),
    (lambda: pad_packed_sequence(packed(), batch_first="no"), "batch_first is 'no'"),
    (lambda: pad_packed_sequence(packed(), padding_value="a"), "padding_value is 'a'; .* that float32 can hold"),
    (lambda: pad_packed_sequence(packed(), padding_value=[1, 2]), r"padding_value is \[1, 2\]"),
    (lambda: pad_packed_sequence(packed(), padding_value=None), "padding_value is None"),
    (lambda: pad_packed_sequence(packed(), padding_value=1j), "padding_value is 1j"),
    (lambda: pad_packed_sequence(packed(), padding_value=1e300), r"padding_value is 1e\+300"),
    (lambda: pad_packed_sequence(packed(int), padding_value=float("nan")), "padding_value is nan; .* int64 can hold"),
    (lambda: pad_packed_sequence(packed(np.int8), padding_value=300), "padding_value is 300; .* int8 can hold"),
    (lambda: pad_packed_sequence(packed(), total_length=2**60), "total_length is 1152921504606846976: "),
    (lambda: pad_packed_sequence(PackedSequence(np.ones(7), np.array([2**63 - 1, 2**63 - 1, 9]))), "make .* steps"),
    (lambda: pad_packed_sequence(PackedSequence(np.ones(5), [3, 2], [1, 2, 0], [1, 2, 0])), "do not undo"),
])  # fmt: skip
def test_wrong_packing_is_named(call, message):
    with pytest.raises(FastLSTMError, match=message):
        call()


def test_padding_is_of_any_number_that_fits():
    for dtype, value, wanted in (
        (np.float32, float("nan"), np.nan), (np.float32, -np.inf, -np.inf), (np.float16, np.int64(7), 7),
        (int, 0.5, 0), (np.uint8, np.float32(255), 255), (bool, True, True), (np.float32, True, 1),
    ):  # fmt: skip
        rows, _ = pad_packed_sequence(packed(dtype), True, value)
        assert rows.dtype == dtype and np.array_equal(rows[1, 1:], np.full(2, wanted, dtype), equal_nan=True)


# -- modules of torch -----------------------------------------------------------------------------------


def test_what_is_no_module_of_torch_is_refused(torch):
    class Called(torch.nn.LSTM):
        def __call__(self, *args):
            return super().__call__(*args)[0]

    lacking = torch.nn.LSTM(3, 5)
    del lacking.weight_hh_l0
    inner = torch.nn.Sequential(torch.ao.nn.quantizable.LSTM(3, 5), torch.nn.LSTMCell(3, 5))
    for module, error, message in (
        (torch.nn.LSTM, FastLSTMError, "got the class LSTM; expected one of its instances"),
        (Called(3, 5), UnsupportedLayerError, "Called has a forward or __call__ of its own"),
        (inner[0], UnsupportedLayerError, r"quantizable.*LSTM is not torch.nn.LSTM or LSTMCell$"),
        (inner, UnsupportedLayerError, "LSTMCell: it has 1, each of which can be given"),
        (lacking, FastLSTMError, "'weight_hh_l0' has dtype object"),
    ):
        with pytest.raises(error, match=message):
            from_torch(module)
    with pytest.raises(FastLSTMError, match="reproducible is 'no'"):
        from_torch(torch.nn.LSTM(3, 5), reproducible="no")
