"""What a measurement was taken on: processor, caches, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import fastlstm


def describe(packages: tuple[str, ...] = ("numpy", "onnxruntime")) -> dict[str, Any]:
    """Processor, cache sizes, kernel, compiler and the versions of the packages measured."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            caches[f"L{level}"] = size
    config = fastlstm.show_config(print_it=False)
    versions = {"fastlstm": fastlstm.__version__, "python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "processor": model,
        "cores": info.count("processor\t"),
        "caches": caches,
        "system": platform.system(),
        "isa": config["isa"],
        "compiler": config["compiler"],
        "flags": config["flags"],
        "versions": versions,
    }


def heading(facts: dict[str, Any]) -> str:
    """The facts in two lines."""
    caches = " ".join(f"{k} {v}" for k, v in facts["caches"].items())
    versions = " ".join(f"{k} {v}" for k, v in facts["versions"].items())
    machine = f"{facts['processor']}, {facts['cores']} cores, {caches}"
    return f"{machine}; kernel {facts['isa']}, {facts['compiler']}\n{versions}"
