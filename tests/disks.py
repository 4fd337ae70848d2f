"""Small disks to fill."""

import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def tmpfs(folder, size):
    """A small file system of its own; needs root."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"cannot mount a small file system: {error}")
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
