"""`make` on a fresh machine: what is missing is said, and what is broken is made anew."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    shutil.copy(root / "Makefile", tmp_path)
    return tmp_path


def made(clone: Path, python: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", ".venv/bin/pip", f"PYTHON={python}"],
        cwd=clone, capture_output=True, text=True, check=False,
    )  # fmt: skip


def as_on_debian(clone: Path) -> Path:
    """A Python as Debian has it without python3-venv: there is no ensurepip."""
    (clone / "missing").mkdir()
    (clone / "missing/ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')")
    python = clone / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={clone}/missing exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_python_without_venv_is_told_what_to_install(clone: Path) -> None:
    found = made(clone, as_on_debian(clone))
    assert found.returncode != 0
    assert "apt-get install python3-venv" in found.stderr
    assert not (clone / ".venv").exists()


def test_broken_venv_is_made_anew(clone: Path) -> None:
    """What `python3 -m venv` leaves without ensurepip: a python, and no pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    found = made(clone, sys.executable)
    assert found.returncode == 0, found.stderr
    assert "takes a minute" in found.stdout
    assert (clone / ".venv/bin/pip").exists()


def test_python_that_is_too_old_is_named(clone: Path) -> None:
    old = clone / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "Python 3.11 or newer" in made(clone, old).stderr
