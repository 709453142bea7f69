"""From a new process to the first prediction: seconds and megabytes above ``import numpy``, medians of new processes.

``python bench/cold_start.py [MODEL]``; without a model the packaged one, a Keras 3 file of one LSTM.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from importlib.resources import as_file, files

from machine import describe, heading

PROCESSES = 15
SCRIPT = """
import sys, time
import numpy as np
def used():  # what is in memory now; the peak of getrusage would begin with the parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1024
before, start = used(), time.perf_counter()
import fastlstm
imported = time.perf_counter()
model = fastlstm.load_model(sys.argv[1])
loaded = time.perf_counter()
shapes = [(1, *(size or 10 for size in layer.batch_shape[1:])) for layer in model.program.entries]
inputs = [np.zeros(shape, "float32") for shape in shapes]
model.predict(inputs[0] if len(inputs) == 1 else inputs, verbose=0)
end = time.perf_counter()
print(imported - start, loaded - imported, end - loaded, end - start, used() - before)
"""


def main() -> None:
    with as_file(files("fastlstm") / "data" / "sunspots.keras") as packaged:
        path = sys.argv[1] if len(sys.argv) > 1 else str(packaged)
        rows = []
        for _ in range(PROCESSES):
            found = subprocess.run(
                [sys.executable, "-P", "-c", SCRIPT, path], capture_output=True, text=True, check=True
            )
            rows.append([float(word) for word in found.stdout.split()])
    imported, loaded, ran, whole, memory = (statistics.median(column) for column in zip(*rows, strict=True))
    print(heading(describe(("numpy",))))
    print(f"import {imported:.3f} s, load {loaded:.3f} s, first prediction {ran:.3f} s")
    print(f"together {whole:.3f} s and {memory:.1f} MB above import numpy; median of {PROCESSES} processes")


if __name__ == "__main__":
    main()
