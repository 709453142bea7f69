"""LSTM cells of TensorFlow 1 as its own programs were written, with fastlstm's import in the place of TensorFlow's."""

from __future__ import annotations

import numpy as np

from fastlstm.tf1 import BasicLSTMCell, LSTMStateTuple, MultiRNNCell, static_rnn

# Seven sequences of two steps of two features, as TensorFlow 1 has them: a list of steps.
X0 = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, -1.0], [-1.0, 0.0], [-1.0, -1.0], [-1.0, -1.0]]
X1 = [[1.0, 0.0], [-1.0, 1.0], [0.0, -2.0], [2.0, 1.0], [1.0, -1.0], [2.0, 2.0], [1.0, 1.0]]
# The variables of a BasicLSTMCell(3): rows of the two features and of the state; columns i, j, f, o, a line for each.
KERNEL = [
    [
        -0.7780926560251067, -0.5046635426099395, -0.9535274015221922,
        -0.2608072382048192, -0.8496669121056164, 0.5503859569043268,
        0.4008742437156694, 0.6883732857008691, 0.3530286718752509,
        0.7870053308025369, 0.5722731388019711, 0.5427738513117539,
    ],
    [
        0.45464230847033815, -0.3199301160907462, -0.6049936872140034,
        -0.5611815111145084, -0.8413157462919327, -0.0264389569136545,
        0.4557161144961497, 0.9029159148926786, -0.9745936059304647,
        -0.1598902854661044, 0.5520502759925794, -0.07138371286711931,
    ],
    [
        0.8183591856791752, 0.9566939700302572, 0.06560508821217659,
        -0.6926521959999863, 0.6569302665049253, -0.6172628641240054,
        -0.17282460242695308, -0.9023744123999999, -0.8001428773575772,
        -0.6364596685642194, 0.7680512095182046, 0.437584535693502,
    ],
    [
        -0.48173630126208833, 0.16762523765061044, -0.3486186941327827,
        -0.4591820924992984, 0.12206884227021542, 0.8047607797841203,
        0.01613261153401302, -0.599504921331045, 0.48830833762819403,
        0.34376260023734573, -0.4868727347233228, -0.1383963550721128,
    ],
    [
        0.7777986275526183, 0.25280905351285, 0.6377473811556369,
        0.7035766835261823, -0.1638360788276072, -0.2130474628324026,
        -0.6142159939188325, 0.4016895043319626, -0.41354378826153204,
        -0.9670928470653584, -0.5300123465310442, 0.022342622333027196,
    ],
]
BIAS = [
    0.09469084074592349, -0.1665759881326936, 0.48609438349127077,
    -0.9675589733651144, -0.4015732563109471, -0.2924435625443822,
    0.5489589085371773, -0.9897823224724003, -0.7742846927365841,
    -0.41598151917618886, 0.0037870162625517345, -0.003453740177371545,
]

SIX_FEATURES = [[3.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
TWO_SEQUENCES = [
    [[1.0, 2.0, 3.0, 4.0, 3.0, 2.0], [1.0, 2.0, 1.0, 1.0, 1.0, 2.0], [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]],
    [[1.0, 2.0, 3.0, 4.0, 3.0, 2.0], [3.0, 2.0, 2.0, 1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0, 3.0, 2.0]],
]


def two_steps() -> tuple[list[np.ndarray], LSTMStateTuple]:
    """Both outputs and the last state of a cell without a forget bias."""
    cell = BasicLSTMCell(num_units=3, forget_bias=0)
    cell.set_weights([KERNEL, BIAS])  # or cell.load_checkpoint("model.ckpt-1000")
    return static_rnn(cell, [X0, X1], initial_state=cell.zero_state(7, "float32"), dtype="float32")


def default_forget_bias() -> tuple[np.ndarray, LSTMStateTuple, BasicLSTMCell]:
    """One step of a cell with new weights: 1 is added to the forget gate when it runs, and is in no variable."""
    cell = BasicLSTMCell(num_units=4)
    output, state = cell(SIX_FEATURES, cell.zero_state(1, "float32"))
    return output, state, cell


def by_hand(cell: BasicLSTMCell) -> np.ndarray:
    """What that step gives from a state of zeros, of which the forget gate keeps nothing."""
    kernel, bias = cell.get_weights()
    i, j, _, o = np.split(np.array(SIX_FEATURES) @ kernel[:6] + bias, 4, axis=1)
    opened = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    return opened(o) * np.tanh(opened(i) * np.tanh(j))


def stacked_cells() -> tuple[list[np.ndarray], tuple[LSTMStateTuple, ...], MultiRNNCell]:
    """Two cells on top of each other over three steps: outputs of the upper one, states of both."""
    cell = MultiRNNCell([BasicLSTMCell(num_units=n) for n in (4, 5)])
    steps = list(np.array(TWO_SEQUENCES, dtype="float32").swapaxes(0, 1))
    outputs, states = static_rnn(cell, steps, dtype="float32")
    return outputs, states, cell


def main() -> None:
    (first, second), state = two_steps()
    np.set_printoptions(precision=6, suppress=True)
    print(f"two steps of seven sequences, outputs:\n{first}\n{second}\nlast c:\n{state.c}")
    output, state, cell = default_forget_bias()
    print(f"one step, forget_bias {cell.forget_bias}: h {output[0]}, by hand {by_hand(cell)[0]}")
    outputs, states, _ = stacked_cells()
    print(f"stacked cells: {len(outputs)} outputs of shape {outputs[0].shape}, c of the lower {states[0].c.shape}")


if __name__ == "__main__":
    main()
