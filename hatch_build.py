"""Compiles the modules written in Cython, where there is a compiler; without one they are left out.

The Python half of each does the same, so an installation never fails for want of a compiler; it is
only slower, and says so (`ecindex doctor`, the worker's first log line).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("streams/flow/plain_orders.pyx", "streams/worker/record_columns.pyx")


class CompileHook(BuildHookInterface):  # type: ignore[misc]
    """Builds in place, so that an editable installation finds the modules too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile before the wheel is put together."""
        if self.target_name != "wheel":
            return
        built = [path for module in MODULES if (path := _compile(Path(self.root), module))]
        if built:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"] += [str(path) for path in built]


def _compile(root: Path, module: str) -> Path | None:
    from Cython.Build import cythonize  # noqa: PLC0415 - a build requirement
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    source = root / module
    name = module.removesuffix(".pyx").replace("/", ".")
    scratch = root / "build" / "cython"
    extensions = cythonize(
        [Extension(name, [str(source)], extra_compile_args=["-O3"])],
        build_dir=str(scratch),
        quiet=True,
    )
    for extension in extensions:
        extension.optional = True  # setuptools then says on stderr what is missing, and goes on
    command = build_ext(Distribution({"ext_modules": extensions}))
    command.build_lib, command.build_temp = str(scratch / "lib"), str(scratch / "temp")
    command.ensure_finalized()
    made = Path(command.get_ext_fullpath(name))
    made.unlink(missing_ok=True)
    command.run()
    if not made.exists():
        sys.stderr.write(f"{name} is not compiled: its Python half is used\n")
        return None
    target = source.with_name(made.name)
    # Replaced, not written over: a process that runs from the old file would crash in it.
    fresh = target.with_suffix(".new")
    fresh.write_bytes(made.read_bytes())
    fresh.replace(target)
    return target.relative_to(root)
