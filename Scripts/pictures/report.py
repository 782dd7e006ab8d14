#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A picture of a run's report for the README: the top of report.html as the browser draws it.

    python3 Scripts/pictures/report.py runs/quickstart-1

It needs Debian's chromium-headless-shell, which `make test` installs, and nothing of Python's but its own
library. The picture gets 256 colours: a page of text and lines needs no more, and is a third as large.
"""

import argparse
import pathlib
import sys

from browser import small_picture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="a run's folder, or a page")
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument(
        "--output", type=pathlib.Path, default=root / "Documentation" / "pictures" / "report.png")
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--height", type=int, default=1250)
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    page = arguments.run / "report.html" if arguments.run.is_dir() else arguments.run
    if not page.exists():
        sys.exit(f"{page}: there is no such page")
    picture = small_picture(
        page.resolve().as_uri(), arguments.width, arguments.height, arguments.dark)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(picture)
    print(f"{arguments.output}: {len(picture) / 1024:.0f} KiB")


main()
