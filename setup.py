"""Builds the one extension module; all metadata is in pyproject.toml.

Environment switches: FASTLSTM_DEBUG=1 (no optimisation, symbols), FASTLSTM_SANITIZE=1 (ASan and UBSan).
"""

import glob
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

compile_args = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
compile_args += ["-Wall", "-Wextra"]
link_args = ["-Wl,-s"] if sys.platform == "linux" else []
if os.name == "nt":
    compile_args = ["/std:c11", "/O2"]
if os.environ.get("FASTLSTM_DEBUG"):
    compile_args += ["-O0", "-g"]
    link_args = []
if os.environ.get("FASTLSTM_SANITIZE"):
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += ["-O1", "-g", *sanitizers]
    link_args = sanitizers


class BuildOnAllProcessors(build_ext):
    """setuptools compiles the files of an extension one after the other; here are many, and some take long."""

    def build_extension(self, extension):
        compile_file, started = self.compiler._compile, []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.compiler._compile = lambda *arguments: started.append(pool.submit(compile_file, *arguments))
            link = self.compiler.link_shared_object

            def link_when_done(*arguments, **options):
                for file in started:
                    file.result()
                return link(*arguments, **options)

            self.compiler.link_shared_object = link_when_done
            super().build_extension(extension)


setup(
    cmdclass={"build_ext": BuildOnAllProcessors},
    ext_modules=cythonize(
        [
            Extension(
                "fastlstm._core",
                ["fastlstm/_core.pyx", *sorted(glob.glob("csrc/*.c"))],
                include_dirs=["csrc", numpy.get_include()],
                depends=sorted(glob.glob("csrc/*.h") + glob.glob("csrc/*.inc")),
                define_macros=[
                    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                    ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
                    ("FLSTM_FLAGS", f'"{" ".join(compile_args)}"'),
                ],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
        ]
    )
)
