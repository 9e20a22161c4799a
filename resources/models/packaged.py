"""Weights that a package of the registry of Python packages ships: files of an installed distribution, by their hash."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from resources.models.checkpoints import ModelUnavailableError
from resources.models.registry import Package, registry

__all__ = ["Package", "is_packaged", "package_file", "packaged", "verified_file"]


def packaged(role: str, model: str) -> Package | None:
    """The package that ships a model, as the registry says; None where none does.

    Raises ModelUnavailableError where it is not installed.
    """
    known = registry().find(role, model)
    package = known[1].package if known else None
    if package:
        package_file(package)
    return package


def is_packaged(role: str, model: str) -> bool:
    """Whether a package ships a model and is installed."""
    try:
        return packaged(role, model) is not None
    except ModelUnavailableError:
        return False


def package_file(package: Package) -> Path:
    """Where its file lies. Raises ModelUnavailableError where it is not installed, or without the file."""
    try:
        path = Path(str(distribution(package.name).locate_file(package.file)))
    except PackageNotFoundError as error:
        raise ModelUnavailableError(
            f"The package {package.name} is not installed: pip install {package.name}"
        ) from error
    if not path.is_file():
        raise ModelUnavailableError(f"{path} is missing: install {package.name} again")
    return path


@lru_cache(maxsize=8)
def verified_file(package: Package) -> Path:
    """The same, once its bytes were compared with what the registry says. Raises ModelUnavailableError."""
    path = package_file(package)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise ModelUnavailableError(
            f"{path} is another file than {package.name} was when it was tried (SHA-256 {found[:12]}…, not "
            f"{package.sha256[:12]}…): install {package.name}=={package.version}"
        )
    return path
