#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of Documentation/Lecture.md in order, and keeps one page of what they print and draw.

    python3 Scripts/tour/run.py [--output runs/tour] [--section 5]

Every block of the page that is marked `sh` is run by bash in the output folder, with `attune` on the path. What a block prints
goes on the page under its section, with the time it took; pages that commands draw are shown below it. The first block that
fails ends the tour. --section N begins at a section, with the files of those before it.
"""
import argparse
import html
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LECTURE = os.path.join(ROOT, "Documentation", "Lecture.md")
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
pre { background: #f4f4f2; padding: .7rem 1rem; overflow-x: auto; font-size: 13px; line-height: 1.4 }
pre.said { background: #fff; border-left: 3px solid #bbb } .time { color: #777 }
iframe { width: 100%; height: 34rem; border: 1px solid #ccc }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } pre { background: #262626 }
  pre.said { background: #1b1b1b } iframe { background: #fff } }"""


def sections(text):
    """Of each section its title and its blocks of commands."""
    parts = re.split(r"^## ", text, flags=re.M)[1:]
    return [(part.split("\n", 1)[0], re.findall(r"^```sh\n(.*?)^```", part, flags=re.M | re.S)) for part in parts]


def pages(folder, since):
    """Pages that were written since a time, but the tour's own."""
    found = []
    for place, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(place, file)
            if file.endswith(".html") and path != os.path.join(folder, "tour.html") and os.path.getmtime(path) >= since:
                found.append(os.path.relpath(path, folder))
    return sorted(found)


def shown(output):
    """What a person would see at the end: of lines of progress the last."""
    lines = output.replace("\r", "\n").split("\n")
    kept = []
    for line in lines:
        progress = re.match(r"^(\w+)  \d+/\d+", line)
        if progress and kept and re.match(rf"^{progress[1]}  \d+/\d+", kept[-1]):
            kept[-1] = line
        elif line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=os.path.join(ROOT, "runs", "tour"))
    parser.add_argument("--attune", default=os.path.join(ROOT, ".build", "release", "attune"))
    parser.add_argument("--section", type=int, default=0, help="begin here, from 0")
    options = parser.parse_args()
    if not os.access(options.attune, os.X_OK):
        sys.exit(f"{options.attune} is not there: make build")
    folder = os.path.abspath(options.output)
    if options.section == 0 and os.path.exists(folder):
        shutil.rmtree(folder)
    os.makedirs(folder, exist_ok=True)
    environment = dict(os.environ, PATH=os.path.dirname(os.path.abspath(options.attune)) + ":" + os.environ["PATH"])
    body, began, failed = [], time.monotonic(), None
    for number, (title, blocks) in enumerate(sections(open(LECTURE).read())):
        if number < options.section or not blocks or failed:
            continue
        print(f"\n## {title}", flush=True)
        body.append(f"<h2>{html.escape(title)}</h2>")
        for block in blocks:
            print("\n" + block.rstrip() + "\n", flush=True)
            start, wall = time.monotonic(), time.time()
            ran = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            seconds, said = time.monotonic() - start, shown(ran.stdout)
            print(said + f"\n({seconds:.0f} s)", flush=True)
            body.append(f"<pre>{html.escape(block.rstrip())}</pre><pre class=said>{html.escape(said)}</pre>"
                        f"<p class=time>{seconds:.0f} s</p>")
            for page in pages(folder, wall):
                body.append(f'<p><a href="{html.escape(page)}">{html.escape(page)}</a></p>'
                            f'<iframe src="{html.escape(page)}" title="{html.escape(page)}" loading=lazy></iframe>')
            if ran.returncode:
                failed = f"section {number} failed with exit code {ran.returncode}"
                body.append(f"<p><b>{failed}</b></p>")
                break
    minutes = (time.monotonic() - began) / 60
    path = os.path.join(folder, "tour.html")
    with open(path, "w") as file:
        file.write("<!doctype html><html lang=en><meta charset=utf-8><title>Attune: the tour</title>"
                   '<meta name=viewport content="width=device-width, initial-scale=1">'
                   f"<style>{STYLE}</style><h1>The tour</h1><p>What the commands of Documentation/Lecture.md printed and drew, "
                   f"in {minutes:.0f} minutes.</p>{''.join(body)}</html>\n")
    print(f"\n{minutes:.1f} minutes\n{path}")
    if failed:
        sys.exit(failed)


if __name__ == "__main__":
    main()
