"""What this installation can run, and which instruction set is chosen: FASTLSTM_ISA is read here."""

from __future__ import annotations

import os
import platform
from typing import Any

from fastlstm import _core
from fastlstm.errors import FastLSTMError
from fastlstm.threads import get_num_threads


def runnable_isas(fused_only: bool = False) -> list[str]:
    """Names of the kernels that run on this processor, best first."""
    return [name for name, runs, fused in _core.kernels() if runs and (fused or not fused_only)]


def choose_isa(isa: str | None = None, reproducible: bool = False) -> str:
    """The kernel to use: ``isa``, else the environment's FASTLSTM_ISA, else the best that runs.

    Raises
    ------
    FastLSTMError
        The kernel named is unknown, cannot run here, or (reproducible) rounds twice per multiply-add.
    """
    source, wanted = ("isa", isa) if isa is not None else ("FASTLSTM_ISA", os.environ.get("FASTLSTM_ISA"))
    possible = runnable_isas(fused_only=reproducible)
    if not wanted:
        return possible[0]
    if wanted in possible:
        return wanted
    if wanted in runnable_isas():
        why = "does not round once per multiply-add, which reproducible=True needs"
    elif wanted in (name for name, _, _ in _core.kernels()):
        why = "needs instructions that this processor or operating system lacks"
    else:
        why = "is not a kernel of this build"
    raise FastLSTMError(f"{source}={wanted!r} {why}; these run here: {', '.join(possible)}")


def kernel_number(isa: str) -> int:
    """Position of a kernel in the C library's list."""
    return [name for name, _, _ in _core.kernels()].index(isa)


def show_config(print_it: bool = True) -> dict[str, Any]:
    """Version, instruction sets, threads, compiler and flags; the first lines of a bug report.

    Parameters
    ----------
    print_it : bool
        Print the facts one a line (default), or only return them.

    Returns
    -------
    dict
        Keys ``version, python, numpy, machine, isa, isas_built, isas_runnable, threads, compiler, flags``.
    """
    import numpy

    from fastlstm import __version__

    compiler, flags = _core.build_info()
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "isa": choose_isa(),
        "isas_built": [name for name, _, _ in _core.kernels()],
        "isas_runnable": runnable_isas(),
        "threads": get_num_threads(),
        "compiler": compiler,
        "flags": flags,
    }
    if print_it:
        for key, value in facts.items():
            print(f"{key:14} {' '.join(value) if isinstance(value, list) else value}")
    return facts
