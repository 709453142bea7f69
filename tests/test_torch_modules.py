"""Weights, state dicts and live modules go between fastlstm.torch and torch; packing is torch's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch_cases
from conftest import SEED
from reference import rounding_bound

from fastlstm import FastLSTMError, UnsupportedLayerError
from fastlstm.torch import (
    LSTM,
    LSTMCell,
    PackedSequence,
    from_torch,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch says so


@pytest.fixture
def torch():
    """Live torch, where it is installed."""
    return pytest.importorskip("torch")


# -- packing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", range(200, 210))
def test_packing_is_torchs(torch, block):
    for number in range(10):
        check_packing(torch.nn.utils.rnn, torch.tensor, np.random.default_rng([SEED, block, number]))


def check_packing(rnn, as_tensor, rng):
    first, ordered = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    batch, steps = (int(n) for n in rng.integers(1, 9, 2))
    lengths = rng.integers(1, steps + 1, batch)
    lengths = np.sort(lengths)[::-1].copy() if ordered else lengths
    rest = tuple(rng.integers(1, 4, int(rng.integers(0, 3))))
    x = rng.integers(0, 99, ((batch, steps) if first else (steps, batch)) + rest)
    ours = pack_padded_sequence(x, lengths, first, ordered)
    theirs = rnn.pack_padded_sequence(as_tensor(x), as_tensor(lengths), first, ordered)
    assert_packed(ours, theirs)
    total = steps + int(rng.integers(0, 3))
    for packed in (ours, PackedSequence(*theirs), theirs):
        padded, counts = pad_packed_sequence(packed, first, 7, total)
        wanted, their_counts = rnn.pad_packed_sequence(theirs, first, 7, total)
        assert np.array_equal(padded, wanted.numpy()) and padded.dtype == x.dtype
        assert np.array_equal(counts, their_counts.numpy())
    rows = [(x[i] if first else x[:, i])[:n] for i, n in enumerate(lengths)]
    assert_packed(pack_sequence(rows, ordered), rnn.pack_sequence(list(map(as_tensor, rows)), ordered))


def assert_packed(ours, theirs):
    for name in PackedSequence._fields:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None), name
        assert mine is None or (np.array_equal(mine, other.numpy()) and mine.dtype == other.numpy().dtype), name


def test_recorded_packing_is_torchs():
    packed = [record for record in torch_cases.recorded() if record.packing]
    assert len(packed) > 30
    for case, _, _, wanted in packed:
        found = pack_padded_sequence(case.x, case.lengths, case.options["batch_first"], case.form == "sorted")
        assert [None if part is None else part.tolist() for part in found[1:]] == wanted
        rows, lengths = pad_packed_sequence(found, batch_first=True)
        assert np.array_equal(lengths, case.lengths)
        x = case.x if case.options["batch_first"] else case.x.swapaxes(0, 1)
        assert all(np.array_equal(row[:n], x[i, :n]) and not row[n:].any() for i, (row, n) in enumerate(
            zip(rows, lengths, strict=True)))  # fmt: skip


WRONG_PACKING = {
    "increase": lambda: pack_padded_sequence(np.zeros((4, 2)), [1, 2]),
    "lengths": lambda: pack_padded_sequence(np.zeros((4, 2)), [4, 5]),
    "expected 1 to 4": lambda: pack_padded_sequence(np.zeros((4, 2)), [4, 0]),
    "expected integers": lambda: pack_padded_sequence(np.zeros((4, 2)), [4.0, 1.0]),
    "two axes": lambda: pack_padded_sequence(np.zeros(4), [4]),
    "something in them": lambda: pack_padded_sequence(np.zeros((4, 0)), []),
    "is empty": lambda: pack_sequence([]),
    r"sequences\[1\] has shape": lambda: pack_sequence([np.zeros((2, 3)), np.zeros((1, 4))]),
    "total_length is 2": lambda: pad_packed_sequence(pack_sequence([np.zeros(3)]), total_length=2),
    "total_length is 'x'": lambda: pad_packed_sequence(pack_sequence([np.zeros(3)]), total_length="x"),
    "expected a PackedSequence": lambda: pad_packed_sequence(np.zeros(3)),
    "make 4 steps": lambda: pad_packed_sequence(PackedSequence(np.zeros(3), [2, 2])),
    "do not increase": lambda: pad_packed_sequence(PackedSequence(np.zeros(3), [1, 2])),
    "numbers 0 to 1": lambda: pad_packed_sequence(PackedSequence(np.zeros(3), [2, 1], [0, 0])),
    "not an array|dtype": lambda: pack_sequence(["words"]),
}


@pytest.mark.parametrize("message", WRONG_PACKING)
def test_what_cannot_be_packed_is_refused(message):
    with pytest.raises(FastLSTMError, match=message):
        WRONG_PACKING[message]()


# -- weights --------------------------------------------------------------------------------------------


def test_weights_are_drawn_within_torchs_bounds_and_stay():
    ours = LSTM(10, 400, bidirectional=True)
    arrays = ours.state_dict()
    assert list(arrays)[:5] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse"]
    for array in arrays.values():
        assert 0.95 * 400**-0.5 < np.abs(array).max() <= np.float32(400**-0.5) and abs(array.mean()) < 0.01
    assert all(np.array_equal(array, getattr(ours, name)) for name, array in arrays.items())
    assert not np.array_equal(LSTM(10, 400).weight_ih_l0, ours.weight_ih_l0)


def test_weights_are_read_only(rng):
    ours = LSTM(3, 4)
    with pytest.raises(ValueError, match="read-only"):
        ours.weight_ih_l0[0] = 0
    with pytest.raises(FastLSTMError, match="use load_state_dict"):
        ours.weight_ih_l0 = np.zeros((16, 3))
    with pytest.raises(AttributeError, match="weight_hr_l0"):
        ours.weight_hr_l0  # noqa: B018
    given = {name: rng.standard_normal(array.shape).astype(np.float32) for name, array in ours.state_dict().items()}
    ours.load_state_dict(given)
    kept = ours.weight_ih_l0.copy()
    given["weight_ih_l0"][:] = 0
    assert np.array_equal(ours.weight_ih_l0, kept)


@pytest.mark.parametrize("make", [lambda: LSTM(3, 4, 2, proj_size=2), lambda: LSTMCell(3, 4)], ids=["layers", "cell"])
def test_copies_and_pickles_compute_the_same(make, rng):
    ours = make()
    x = rng.standard_normal((5, 3))
    wanted = ours(x)[0]
    for twin in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours))):
        assert np.array_equal(twin(x)[0], wanted)
        assert repr(twin) == repr(ours)
    other = make()
    assert other.load_state_dict(ours.state_dict(prefix="a.b."), prefix="a.b.") == ([], [])
    assert np.array_equal(other(x)[0], wanted)


def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing():
    ours = LSTM(3, 4)
    good = ours.state_dict()
    lacking = {name: array for name, array in good.items() if name != "bias_hh_l0"}
    wrong = {**good, "weight_hh_l0": np.zeros((16, 3))}
    for given, message in (
        (lacking, "missing 'bias_hh_l0'"),
        ({**good, "more": np.zeros(1)}, "unexpected 'more'"),
        (wrong, r"'weight_hh_l0' has shape \(16, 3\), expected \(16, 4\)"),
        ({"lstm." + name: array for name, array in good.items()}, "missing.*there are 'lstm.weight_ih_l0'"),
        ({**good, "bias_hh_l0": "words"}, "'bias_hh_l0' has dtype"),
        ([1], "expected a mapping"),
    ):
        with pytest.raises(FastLSTMError, match=message):
            ours.load_state_dict(given)
    with pytest.raises(FastLSTMError, match="has shape"):
        ours.load_state_dict(wrong, strict=False)
    assert all(array is ours.state_dict()[name] for name, array in good.items())
    result = ours.load_state_dict({**lacking, "more": "anything", "bias_ih_l0": np.ones(16)}, strict=False)
    assert result.missing_keys == ["bias_hh_l0"] and result.unexpected_keys == ["more"]
    assert np.array_equal(ours.bias_hh_l0, good["bias_hh_l0"]) and (ours.bias_ih_l0 == 1).all()


def test_state_dicts_go_to_torch_and_back(torch):
    theirs = torch.nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2)
    ours = LSTM(3, 5, 2, bidirectional=True, proj_size=2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.tensor(array.copy()) for name, array in ours.state_dict().items()})
    assert all(np.array_equal(array, theirs.state_dict()[name].numpy()) for name, array in ours.state_dict().items())
    whole = torch.nn.ModuleDict({"lstm": theirs, "head": torch.nn.Linear(4, 1)})
    other = LSTM(3, 5, 2, bidirectional=True, proj_size=2)
    other.load_state_dict(whole.state_dict(), prefix="lstm.")
    assert np.array_equal(other.weight_hr_l1_reverse, ours.weight_hr_l1_reverse)


# -- modules of torch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_a_live_module_is_taken_over(torch, dtype, rng):
    theirs = torch.nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True, proj_size=2, dtype=getattr(torch, dtype))
    ours = from_torch(theirs, reproducible=True)
    assert ours.dtype == ("float64" if dtype == "float64" else "float32")
    assert repr(ours) == repr(theirs)
    wide = theirs.to(getattr(torch, ours.dtype))
    x = rng.standard_normal((4, 6, 3)).astype(ours.dtype)
    with torch.no_grad():
        wanted = wide(torch.tensor(x))[0].numpy()
    assert (np.abs(ours(x)[0] - wanted) <= 2 * rounding_bound(wanted, wanted, 12)).all()
    cell = from_torch(torch.nn.LSTMCell(3, 5, bias=False))
    assert type(cell) is LSTMCell and not cell.bias


def test_weights_that_torch_computes_are_taken_over(torch, rng):
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.LSTM(3, 5), "weight_hh_l0")
    ours = from_torch(theirs)
    assert np.allclose(ours.weight_hh_l0, theirs.weight_hh_l0.detach().numpy(), rtol=0, atol=0)


def test_other_modules_are_refused_by_name(torch):
    class Own(torch.nn.LSTM):
        def forward(self, *args):
            return super().forward(*args)

    class Derived(torch.nn.LSTM):
        pass

    assert type(from_torch(Derived(3, 5))) is LSTM
    hooked = torch.nn.LSTM(3, 5)
    hooked.register_forward_hook(lambda *args: None)
    for module, message in (
        (torch.nn.GRU(3, 5), "torch.nn.modules.rnn.GRU is not"),
        (torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LSTM(3, 5)), "it has 1, each of which"),
        (Own(3, 5), "Own has a forward or __call__ of its own"),
        (hooked, "hooks"),
    ):
        with pytest.raises(UnsupportedLayerError, match=message):
            from_torch(module)
    with pytest.raises(FastLSTMError, match=r"got int; expected a torch.nn.LSTM"):
        from_torch(3)


def test_representations_are_torchs(torch):
    for number in range(40):
        options = torch_cases.drawn(np.random.default_rng([SEED, 300, number])).options
        options["dropout"] = 0.25 if options["num_layers"] > 1 else 0.0
        assert repr(LSTM(**options)) == repr(torch.nn.LSTM(**options))
