"""An installation works with a compiler and without one."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILED = ("streams/flow/plain_orders", "streams/worker/record_columns")


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["cc", "/bin/false"])
def test_a_wheel_is_built_with_a_compiler_and_without(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip("no compiler here")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "build", "*.so", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = ["uv", "build", "--wheel", "--out-dir", str(tmp_path / "dist"), str(source)]
    argv = ["env", f"CC={compiler}", *build]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    found = [any(n.startswith(name) and n.endswith(".so") for n in names) for name in COMPILED]
    assert found == [compiler == "cc"] * 2
    assert ("none-any" in wheel.name) is (compiler != "cc")
    assert "streams/default_config/methodology.toml" in names
    examples = {name for name in names if name.startswith("streams/default_config/examples/")}
    assert {name.removeprefix("streams/default_config/") for name in examples} == {
        str(path.relative_to(ROOT / "config")) for path in (ROOT / "config/examples").rglob("*.*")
    }
