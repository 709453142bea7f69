"""An ONNX graph while it is drawn: nodes, constants, names, types; then the ModelProto."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.errors import FastLSTMError
from fastlstm.onnx.files import MAX_BYTES


class Graph:
    """Nodes that are added one after the other; tensors are known by their names.

    Attributes
    ----------
    prefix : str
        The layer that is being drawn: what it adds is named after it.
    """

    def __init__(self) -> None:
        self._onnx = onnx_package()
        self._helper = self._onnx.helper
        self.prefix = ""
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._uses: Counter[str] = Counter()

    # -- tensors ------------------------------------------------------------------------------------

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """What a caller gives."""
        tensor = self._named(name, np.dtype(dtype))
        self._inputs.append(self._helper.make_tensor_value_info(tensor, self._element(tensor), shape))
        return tensor

    def constant(self, array: ArrayLike, name: str) -> str:
        """What is part of the model, under the layer's name and this one."""
        values = np.asarray(array)
        tensor = self._named(f"{self.prefix}/{name}", values.dtype)
        self._constants[tensor] = values
        return tensor

    def integers(self, *values: int) -> str:
        """A list of integers, as operators take shapes and axes."""
        return self.constant(np.array(values, np.int64), "integers")

    def number(self, value: float, like: str) -> str:
        """One number in the type of a tensor."""
        return self.constant(np.array(value, self._dtypes[like]), "number")

    def output(self, tensor: str, name: str, shape: Sequence[int | str | None]) -> None:
        """What a caller gets: a tensor under a name of its own."""
        found = self._named(name, self._dtypes[tensor])
        self._nodes.append(self._helper.make_node("Identity", [tensor], [found]))
        self._outputs.append(self._helper.make_tensor_value_info(found, self._element(found), shape))

    def dtype(self, tensor: str) -> np.dtype[Any]:
        """The type of a tensor."""
        return self._dtypes[tensor]

    def _named(self, wish: str, dtype: np.dtype[Any]) -> str:
        """A name that no other tensor has, as near as can be to the one wished for."""
        name = wish
        while self._uses[name]:
            self._uses[wish] += 1
            name = f"{wish}_{self._uses[wish] - 1}"
        self._uses[name] = 1
        self._dtypes[name] = dtype
        return name

    def _element(self, tensor: str) -> int:
        return int(self._helper.np_dtype_to_tensor_dtype(self._dtypes[tensor]))

    # -- nodes --------------------------------------------------------------------------------------

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, which is returned; its type is that of the first input."""
        return self.add_several(op, inputs, (True,), **attributes)[0]

    def add_several(self, op: str, inputs: Sequence[str], wanted: Sequence[bool], **attributes: Any) -> list[str]:
        """A node with several outputs, of which those that are not wanted are "" and not computed."""
        dtype = self._dtypes[inputs[0]]
        outputs = [self._named(f"{self.prefix}/{op}", dtype) if want else "" for want in wanted]
        name = next(filter(None, outputs))
        self._nodes.append(self._helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs

    def cast(self, tensor: str, dtype: Any) -> str:
        """The tensor in another type, or itself."""
        if self._dtypes[tensor] == dtype:
            return tensor
        to = np.dtype(dtype)
        found = self.add("Cast", tensor, to=int(self._helper.np_dtype_to_tensor_dtype(to)))
        self._dtypes[found] = to
        return found

    def take(self, tensor: str, index: int, axis: int) -> str:
        """One place along an axis, which is then gone."""
        return self.add("Gather", tensor, self.constant(np.array(index, np.int64), "index"), axis=axis)

    def flip(self, tensor: str, axis: int) -> str:
        """The tensor with one axis turned round."""
        before_the_first = int(np.iinfo(np.int64).min)
        ends = [self.integers(n) for n in (-1, before_the_first, axis, -1)]
        return self.add("Slice", tensor, *ends)

    # -- the whole ----------------------------------------------------------------------------------

    def model(self, name: str, opset: int) -> Any:
        """The ModelProto, for the oldest readers that know the opset."""
        from fastlstm import __version__

        size = sum(array.nbytes for array in self._constants.values())
        if size > MAX_BYTES - 2**20:
            raise FastLSTMError(f"to_onnx: {name!r} has {size} bytes of weights; an ONNX file holds less than 2**31")
        tensors = [self._onnx.numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        return self._helper.make_model_gen_version(
            self._helper.make_graph(self._nodes, name, self._inputs, self._outputs, tensors),
            opset_imports=[self._helper.make_opsetid("", opset)],
            producer_name="fastlstm",
            producer_version=__version__,
        )


def onnx_package() -> Any:
    """The onnx package, which nothing else needs."""
    try:
        import onnx
    except ImportError as error:
        raise FastLSTMError("to_onnx needs the onnx package: pip install fastlstm[onnx]") from error
    return onnx
