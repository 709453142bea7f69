"""fastlstm.torch computes, packs, loads and refuses as torch.nn does; torch itself is not imported by it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch_cases
from conftest import SEED
from reference import rounding_bound

from fastlstm import FastLSTMError
from fastlstm.torch import (
    LSTM,
    LSTMCell,
    PackedSequence,
    from_torch,
    pack_padded_sequence,
    pad_packed_sequence,
)

RECORDED = torch_cases.recorded()
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch says so


@pytest.fixture(scope="session")
def torch():
    """Live torch, where it is installed, on one thread: for small calls its pool spins longer than it works."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


def module_of(case, **options):
    ours = LSTM(**case.options, dtype=str(case.x.dtype), **options)
    ours.load_state_dict(case.weights)
    return ours


def run(ours, case):
    """Output, padded where lengths differ, h_n and c_n, by way of packed data where the case is of that form."""
    if case.form != "unsorted":
        output, (h, c) = ours(case.x, case.states, lengths=case.lengths)
        return output, h, c
    packed = pack_padded_sequence(case.x, case.lengths, ours.batch_first, enforce_sorted=False)
    output, (h, c) = ours(packed, case.states)
    return pad_packed_sequence(output, ours.batch_first)[0], h, c


def assert_near(found, exact, plain, case):
    for ours, wanted, loose in zip(found, exact, plain, strict=True):
        assert ours.shape == wanted.shape and ours.dtype == case.x.dtype
        error = np.abs(ours - wanted)
        assert (error <= rounding_bound(wanted, loose, case.steps)).all(), f"{error.max(initial=0)}: {case}"


# -- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(20))
def test_drawn_calls_give_what_torch_gives(torch, block):
    for number in range(25):
        case = torch_cases.drawn(np.random.default_rng([SEED, block, number]))
        exact, plain = torch_cases.by_torch(case, "float64"), torch_cases.by_torch(case, str(case.x.dtype))
        assert_near(run(module_of(case), case), exact, plain, case)


def test_recorded_calls_cover_every_option():
    assert len(RECORDED) >= 80 and len(torch_cases.recorded_cells()) == 10
    for name in ("bias", "batch_first", "bidirectional"):
        assert {case.options[name] for case, *_ in RECORDED} == {False, True}
    assert {case.form for case, *_ in RECORDED} == set(torch_cases.FORMS)
    assert {case.layers for case, *_ in RECORDED} == {1, 2, 3}
    assert {case.options["proj_size"] > 0 for case, *_ in RECORDED} == {False, True}
    assert {str(case.x.dtype) for case, *_ in RECORDED} == {"float32", "float64"}


def test_recorded_calls_give_what_torch_gave(isa):
    for case, exact, said, _ in RECORDED:
        plain = [wanted.astype(case.x.dtype) for wanted in exact]
        ours = module_of(case, isa=isa)
        assert_near(run(ours, case), exact, plain, case)
        assert repr(ours) == said
    for x, h, c, *weights, h_1, c_1 in torch_cases.recorded_cells():
        cell = LSTMCell(x.shape[1], h.shape[1], dtype="float64", isa=isa)
        cell.load_state_dict(dict(zip(cell.state_dict(), weights, strict=True)))
        for found, wanted in zip(cell(x, (h, c)), (h_1, c_1), strict=True):
            assert (np.abs(found - wanted) <= rounding_bound(wanted, wanted, 1)).all()


@pytest.mark.parametrize("block", range(100, 110))
def test_drawn_cells_give_what_torch_gives(torch, block):
    for number in range(10):
        check_cell(torch, np.random.default_rng([SEED, block, number]))


def check_cell(torch, rng):
    dtype, bias = str(rng.choice(["float32", "float64"])), bool(rng.random() < 0.7)
    inputs, hidden = (int(n) for n in rng.integers(1, 40, 2))
    lead = () if rng.random() < 0.3 else (int(rng.integers(1, 10)),)
    theirs = torch.nn.LSTMCell(inputs, hidden, bias, dtype=getattr(torch, dtype))
    ours = LSTMCell(inputs, hidden, bias, dtype=theirs.weight_ih.dtype)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    x, h, c = (rng.uniform(-2, 2, (*lead, n)).astype(dtype) for n in (inputs, hidden, hidden))
    given = (h, c) if rng.random() < 0.7 else None
    found = ours(x, given)
    tensors = None if given is None else tuple(map(torch.tensor, given))
    with torch.no_grad():
        plain = [part.numpy() for part in theirs(torch.tensor(x), tensors)]
        doubles = None if tensors is None else tuple(part.double() for part in tensors)
        exact = [part.numpy() for part in theirs.double()(torch.tensor(x).double(), doubles)]
    for mine, wanted, loose in zip(found, exact, plain, strict=True):
        assert mine.shape == wanted.shape and mine.dtype == dtype
        assert (np.abs(mine - wanted) <= rounding_bound(wanted, loose, 1)).all()


def test_tensors_packed_by_torch_and_tensors_with_gradients_are_taken(torch, rng):
    theirs = torch.nn.LSTM(3, 5, 2, bidirectional=True)
    ours = from_torch(theirs)
    x = torch.tensor(rng.standard_normal((6, 4, 3)), dtype=torch.float32, requires_grad=True)
    states = [torch.randn(4, 4, 5, requires_grad=True) for _ in range(2)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([2, 6, 1, 4]), enforce_sorted=False)
    for given in (packed, PackedSequence(*packed), x):
        output, (h, c) = ours(given, states)
        with torch.no_grad():
            wanted, (h_n, c_n) = theirs(packed if given is not x else x, states)
        assert isinstance(output, PackedSequence) == (given is not x)
        pairs = [(output.data, wanted.data), (h, h_n), (c, c_n)] if given is not x else [(output, wanted)]
        for mine, other in pairs:
            exact = other.numpy().astype(float)
            assert (np.abs(mine - exact) <= 2 * rounding_bound(exact, other.numpy(), 12)).all()


def test_lengths_give_what_the_rows_give_alone(rng):
    ours = LSTM(3, 5, 2, batch_first=True, bidirectional=True, proj_size=2, reproducible=True)
    x, lengths = rng.standard_normal((4, 7, 3)), [7, 0, 3, 1]
    states = rng.standard_normal((4, 4, 2)), rng.standard_normal((4, 4, 5))
    output, (h, c) = ours(x, states, lengths=lengths)
    for row, length in enumerate(lengths):
        assert not output[row, length:].any()
        alone, (h_n, c_n) = ours(x[row, :length], [state[:, row] for state in states])
        assert np.array_equal(output[row, :length], alone)
        assert np.array_equal(h[:, row], h_n) and np.array_equal(c[:, row], c_n)


def test_no_rows_and_no_steps_are_shapes_like_others():
    ours = LSTM(3, 5, proj_size=2, bidirectional=True)
    output, (h, c) = ours(np.zeros((4, 0, 3)))
    assert (output.shape, h.shape, c.shape) == ((4, 0, 4), (2, 0, 2), (2, 0, 5))
    states = np.ones((2, 6, 2)), np.ones((2, 6, 5))
    output, (h, c) = ours(np.zeros((0, 6, 3)), states)
    assert output.shape == (0, 6, 4)
    assert np.array_equal(h, states[0]) and np.array_equal(c, states[1])


def test_our_own_options_are_handed_on(rng):
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    ours = LSTM(3, 32, reproducible=True, threads=1)
    narrow = LSTM(3, 32, precision="int8")
    narrow.load_state_dict(ours.state_dict())
    assert 0 < np.abs(narrow(x)[0] - ours(x)[0]).max() < 0.1
    assert LSTMCell(3, 4, precision="bfloat16").cell.precision == "bfloat16"
    assert [layer.name for layer in LSTM(3, 4, 2).layers] == ["l0", "l1"]
    with pytest.raises(FastLSTMError, match="isa='none'"):
        LSTM(3, 4, isa="none")


# -- what torch has beside -------------------------------------------------------------------------------


def test_nothing_is_trained():
    ours = LSTM(3, 4, 2, dropout=0.5)
    assert ours.train() is ours.eval() is ours.train(False) is ours
    assert not ours.training and ours.flatten_parameters() is None
    x = np.ones((50, 2, 3))
    assert np.array_equal(ours.train()(x)[0], ours.eval()(x)[0])


def test_torch_is_not_imported():
    code = "import sys, fastlstm.torch as t; t.LSTM(3, 4)([[1, 2, 3]]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 0


# -- wrong arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "input_size is 0; expected a positive integer"),
        ({"input_size": 2.0}, "input_size is 2.0"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_layers": -1}, "num_layers is -1"),
        ({"bias": "no"}, "bias is 'no'; expected True or False"),
        ({"batch_first": None}, "batch_first is None"),
        ({"dropout": 1.5}, "dropout is 1.5; expected a number from 0 to 1"),
        ({"dropout": True}, "dropout is True"),
        ({"bidirectional": 2}, "bidirectional is 2"),
        ({"proj_size": 4}, "proj_size is 4; expected less than hidden_size, 4"),
        ({"proj_size": -1}, "proj_size is -1"),
        ({"device": "cuda:0"}, "device is 'cuda:0'; fastlstm computes on 'cpu'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"dtype": 3}, "dtype is 3"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(FastLSTMError, match=message):
        LSTM(**{"input_size": 3, "hidden_size": 4, **options})


@pytest.mark.parametrize("dtype", [None, "float32", "float", np.float32, np.dtype("f4"), "torch.float32"])
def test_dtypes_have_many_names(dtype):
    assert LSTM(3, 4, dtype=dtype, device="cpu").dtype == "float32"
    assert LSTM(3, 4, dtype="double").weight_ih_l0.dtype == np.float64


def test_dtypes_and_devices_of_torch_are_taken(torch):
    assert LSTM(3, 4, device=torch.device("cpu"), dtype=torch.double).dtype == "float64"
    with pytest.raises(FastLSTMError, match="device is 'meta'"):
        LSTM(3, 4, device=torch.device("meta"))
    with pytest.raises(FastLSTMError, match="dtype is 'bfloat16'"):
        LSTM(3, 4, dtype=torch.bfloat16)


X = np.zeros((5, 2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(np.zeros((5, 2, 4))), r"shape \(5, 2, 4\); expected \(steps, batch, 3\) or \(steps, 3\)"),
        (lambda m: m(np.zeros(3)), r"input has shape \(3,\)"),
        (lambda m: m("words"), "input has dtype"),
        (lambda m: m(object()), "input has dtype object"),
        (lambda m: m([[1, 2], [3]]), "input is not an array"),
        (lambda m: m(X, np.zeros((1, 2, 4))), r"expected two arrays \(h_0, c_0\)"),
        (lambda m: m(X, 3), "hx is int"),
        (lambda m: m(X, (np.zeros((1, 1, 4)), np.zeros((1, 2, 4)))), r"h_0 has shape \(1, 1, 4\); .* \(1, 2, 4\)"),
        (lambda m: m(X, (np.zeros((1, 2, 4)), np.zeros((2, 4)))), r"c_0 has shape \(2, 4\); expected \(1, 2, 4\)"),
        (lambda m: m(X[:, 0], (np.zeros((1, 1, 4)), np.zeros((1, 4)))), r"h_0 has shape .* expected \(1, 4\)"),
        (lambda m: m(X, lengths=[5]), r"lengths is int64 of shape \(1,\); expected integers of shape \(2,\)"),
        (lambda m: m(X, lengths=[5, 6]), "lengths.* 6; expected 0 to 5"),
        (lambda m: m(X, lengths=[-1, 5]), "lengths.* -1.*; expected 0 to 5"),
        (lambda m: m(X[:, 0], lengths=[5]), "lengths is for a batch"),
        (lambda m: m(pack_padded_sequence(X, [5, 4]), lengths=[5, 4]), "beside a packed input"),
        (lambda m: m(pack_padded_sequence(X[..., :2], [5, 4])), r"expected \(entries, 3\)"),
        (lambda m: m(pack_padded_sequence(X, [5, 4]), (np.zeros((1, 4)),) * 2), r"h_0 has shape \(1, 4\)"),
        (lambda m: m(PackedSequence(np.zeros((3, 3)), [[3]])), "batch_sizes"),
    ],
)  # fmt: skip
def test_wrong_calls_are_named(call, message):
    with pytest.raises(FastLSTMError, match=message):
        call(LSTM(3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(np.zeros((2, 4))), r"input has shape \(2, 4\); expected \(batch, 3\) or \(3,\)"),
        (lambda m: m(np.zeros((1, 2, 3))), "input has shape"),
        (lambda m: m(np.zeros(3), np.zeros(4)), "expected two arrays"),
        (lambda m: m(np.zeros((2, 3)), (np.zeros((2, 4)), np.zeros(4))), r"c_0 has shape \(4,\); expected \(2, 4\)"),
    ],
)
def test_wrong_calls_of_a_cell_are_named(call, message):
    with pytest.raises(FastLSTMError, match=message):
        call(LSTMCell(3, 4))
