"""Puts what ``stepladder new`` makes a project of, as pyproject.toml names it, into the wheel; all else is in pyproject.toml."""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TEMPLATE = Path("stepladder", "template")  # as stepladder.installed has it


def project_files() -> list[str]:
    """Files of this folder that a project is made of, sorted."""
    patterns = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["stepladder"]["project"]
    return sorted({path.as_posix() for pattern in patterns for path in Path().glob(pattern) if path.is_file()})


class BuildWithProject(build_py):
    """The usual step, and those files; an editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / TEMPLATE
        shutil.rmtree(target, ignore_errors=True)
        for name in project_files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target / name)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *project_files()]  # a wheel is also built from a source archive


setup(cmdclass={"build_py": BuildWithProject})
