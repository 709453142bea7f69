"""What a functional model is drawn with: tensors that do not exist yet, and the calls that give them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from fastlstm.errors import FastLSTMError
from fastlstm.structure import flatten, map_shapes, map_structure

if TYPE_CHECKING:
    from fastlstm.layers.base import Layer, Shape

MOST_AXES = 64  # of a NumPy array
MOST_ELEMENTS = 2**31 - 1  # of a tensor: a file can ask for any size


class Tensor:
    """What a layer will give: ``keras.KerasTensor``.

    Arithmetic, comparison and indexing make further tensors, as ``keras.ops`` nodes.

    Attributes
    ----------
    shape : tuple of int or None
        Batch axis first; None where any size will do.
    dtype : str
    layer, node, index
        The layer that gives it, at which of its calls, as which of that call's outputs.
    """

    __slots__ = ("dtype", "index", "layer", "node", "shape")
    __array_ufunc__ = None  # NumPy's operators leave an array beside a tensor to those below
    __hash__ = object.__hash__

    def __init__(self, shape: Shape, dtype: str, layer: Layer, node: int, index: int) -> None:
        self.shape, self.dtype = shape, dtype
        self.layer, self.node, self.index = layer, node, index

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """The name of the layer that gives it."""
        return self.layer.name

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise FastLSTMError(f"{self!r} has no values yet: put it into a Model and run that")

    def __bool__(self) -> bool:
        raise FastLSTMError(f"{self!r} has no values yet and is neither true nor false")

    def __iter__(self) -> Any:
        raise FastLSTMError(f"{self!r} has no values yet to iterate over; index it instead")

    def __len__(self) -> int:
        raise FastLSTMError(f"{self!r} has no length yet; see its shape")

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape} of {self.layer.name!r}>"


def _operator(function: str, swapped: bool = False) -> Any:
    def apply(self: Tensor, *others: Any) -> Any:
        from fastlstm.layers.ops import Operation  # here: operations are layers, which stand on this module

        return Operation(function)(*((*others, self) if swapped else (self, *others)))

    return apply


for _symbol, _function in (
    ("add", "Add"), ("sub", "Subtract"), ("mul", "Multiply"), ("truediv", "TrueDivide"), ("pow", "Power"),
    ("floordiv", "FloorDivide"), ("mod", "Mod"), ("matmul", "Matmul"),
):  # fmt: skip
    setattr(Tensor, f"__{_symbol}__", _operator(_function))
    setattr(Tensor, f"__r{_symbol}__", _operator(_function, swapped=True))
for _symbol, _function in (
    ("neg", "Negative"), ("abs", "Absolute"), ("getitem", "GetItem"), ("eq", "Equal"), ("ne", "NotEqual"),
    ("lt", "Less"), ("le", "LessEqual"), ("gt", "Greater"), ("ge", "GreaterEqual"),
):  # fmt: skip
    setattr(Tensor, f"__{_symbol}__", _operator(_function))


class Node:
    """One call of a layer on tensors.

    Attributes
    ----------
    layer : Layer
    args, kwargs
        As the layer was called, with tensors at some leaves.
    outputs
        The tensor it gives, or a nest of them.
    leaves : list of Tensor
        The same in flat order.
    """

    def __init__(self, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any) -> None:
        self.layer = layer
        self.args, self.kwargs = map_structure(lambda leaf: leaf, (args, kwargs))  # the caller's lists may change
        number, count = len(layer._nodes), iter(range(2**31))

        def tensor(shape: Shape) -> Tensor:
            known = [n for n in shape if n is not None]
            if len(shape) > MOST_AXES or min(known, default=0) < 0 or prod(known) > MOST_ELEMENTS:
                found = shape if len(shape) <= MOST_AXES else f"of {len(shape)} axes"
                raise FastLSTMError(f"{layer.who}: its output would have the shape {found}, which cannot be computed")
            return Tensor(shape, layer.dtype, layer, number, next(count))

        try:
            self.outputs = map_shapes(tensor, shapes)
        except TypeError:  # a shape that was made as if of one tensor, and is none
            raise FastLSTMError(f"{layer.who}: is called on several tensors; expected one") from None
        self.leaves: list[Tensor] = flatten(self.outputs)
        layer._nodes.append(self)


def tensors_in(*structures: Any) -> list[Tensor]:
    """The tensors among the leaves."""
    return [leaf for leaf in flatten(structures) if isinstance(leaf, Tensor)]
