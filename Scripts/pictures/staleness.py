#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table and the figure of Documentation/Staleness.md: distance from the optimum against staleness.

    python3 Scripts/pictures/staleness.py [FILE]

FILE holds what `attune exactness --staleness --json` prints; without it the program is asked, a minute
on two cores. The table goes to standard output.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess

LOW, HIGH = -6, 0.1  # of the vertical axis, powers of ten
WIDTH, HEIGHT = 380, 200
FORMS = {"importance_weights none": ("#06c", "none"), "importance_weights truncate": ("#0b6", "none"),
         "importance_weights mask": ("#c60", "none"), "clipped ratio": ("#a2a", "5 3")}


def steps(method):
    return [point.get("behind") for point in method["points"]]


def distances(methods):
    """At each staleness the largest of some methods."""
    return [max(point["distance"] for point in points)
            for points in zip(*(method["points"] for method in methods))]


def lines_of(methods):
    """What each panel shows: title and lines, each of (name, colour, dashes, distances)."""
    def chosen(**words):
        return [m for m in methods if all(m[key] == value for key, value in words.items())]
    exact = [m for m in chosen(family="matching") if m["name"] != "brain" and "Z of" not in m["variant"]]
    yield "distribution matching", [
        ("dpg, gdc++, fdpg with any divergence: the farthest", "#06c", "none", distances(exact)),
        ("brain", "#0b6", "none", distances(chosen(name="brain"))),
        ("gdc++, Z of two answers", "#c60", "none", distances(chosen(variant="Z of two answers")))]
    for name in ["rloo", "ppo"]:
        yield f"{name}, KL in the reward", [
            (form, *FORMS[form], distances(chosen(name=name, variant=form))) for form in FORMS]
    yield "grpo, and raft", [
        *((f"grpo, {form}", *FORMS[form], distances(chosen(name="grpo", variant=form))) for form in FORMS),
        ("raft, best of two", "#555", "none", distances(chosen(name="raft")))]


def panel(left, top, title, behind, lines):
    shown = [step for step in behind if step is not None]
    slots = shown + [shown[-1] + 2]  # what is never renewed stands apart

    def place(slot, distance):
        height = min(HIGH, max(LOW, math.log10(max(distance, 1e-99))))
        return (left + WIDTH * (slot + 0.5) / (slots[-1] + 1),
                top + HEIGHT * (HIGH - height) / (HIGH - LOW))
    out = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>',
           f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    for power in range(LOW, 1):
        y = place(0, 10 ** power)[1]
        dashes = ' stroke-dasharray="4 4"' if power == -3 else ""
        out.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
                   f'stroke="{"#999" if dashes else "#eee"}"{dashes}/><text x="{left - 6}" y="{y + 4:.1f}" '
                   f'text-anchor="end">{10.0 ** power:g}</text>')
    for slot, step in zip(slots, behind):
        x = place(slot, 1)[0]
        out.append(f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">'
                   f'{"never" if step is None else step}</text>')
    out.append(f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT + 32}" text-anchor="middle">'
               'optimiser steps that the proposal is behind; never: the start draws</text>')
    for number, (name, colour, dashes, values) in enumerate(lines):
        places = [place(slot, value) for slot, value in zip(slots, values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places[:-1])
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        at = top + HEIGHT + 52 + 16 * number
        out.append(f'<polyline points="{path}" {style}/>')
        out.append(f'<circle cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="4" fill="{colour}"/>')
        out.append(f'<polyline points="{left},{at - 4} {left + 24},{at - 4}" {style}/>'
                   f'<text x="{left + 30}" y="{at}">{name}</text>')
    return "\n".join(out)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=pathlib.Path, help="what the program printed")
    parser.add_argument(
        "--output", type=pathlib.Path, default=root / "Documentation" / "pictures" / "staleness.svg")
    options = parser.parse_args()
    if options.file:
        text = options.file.read_text()
    else:
        program = os.environ.get("ATTUNE", root / ".build" / "release" / "attune")
        text = subprocess.run([program, "exactness", "--staleness", "--json"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
    methods = json.loads(text)["methods"]
    behind = steps(methods[0])

    shown = [0, 1, 2, 4, 8, None]
    print("| method | | " + " | ".join("never renewed" if s is None else str(s) for s in shown) + " |")
    print("| --- | --- |" + " --- |" * len(shown))
    for method in methods:
        values = [p["distance"] for p in method["points"] if p.get("behind") in shown]
        cells = [f"{value:.2g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
                 for value in values]
        print(f"| `{method['name']}` | {method['variant']} | " + " | ".join(cells) + " |")

    panels = [panel(60 + 460 * (place % 2), 36 + 370 * (place // 2), f"Distance from π*: {title}",
                    behind, lines)
              for place, (title, lines) in enumerate(lines_of(methods))]
    options.output.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="920" height="760" font-family="sans-serif" '
        'font-size="12">\n<rect width="920" height="760" fill="white"/>\n' + "\n".join(panels)
        + "\n</svg>\n")


main()
