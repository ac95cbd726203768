"""Draw the picture of the README: `graft classify` on a photo, as a terminal shows it.

python -m scripts.picture docs/classify.svg
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COMMAND = ["graft", "classify", "photos/coffee.png", "--top-k", "4"]


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        shutil.copy(Path(skimage.__file__).parent / "data" / "coffee.png", photos)
        done = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=True)
    console = Console(record=True, width=80, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text(f"$ {' '.join(COMMAND)}", "bold"))
    console.print(Text(done.stdout.rstrip()))
    picture = console.export_svg(title="graft", theme=MONOKAI)
    picture = re.sub(
        r"@font-face\s*{[^}]*}", "", picture
    )  # the reader's own fixed-width font, not one from the web
    target.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
