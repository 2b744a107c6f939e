"""Digits drawn as files, for scripts that classify images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image


def share_right(script: Path, folder: Path) -> float:
    """Draw the test digits as PNG files and return the share that the script names rightly."""
    from edge_bench.data import open_images

    images = open_images({"kind": "digits"}).load("test")
    files = []
    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        files.append(folder / f"{number}-{label}.png")
        Image.fromarray(pixels[..., 0]).save(files[-1])
    ended = subprocess.run(
        [sys.executable, str(script), *map(str, files)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answers = [line.rpartition(": ") for line in ended.stdout.splitlines()]
    assert len(answers) == len(files)
    return sum(Path(name).stem.endswith(f"-{answer}") for name, _, answer in answers) / len(files)
