# SPDX-License-Identifier: Apache-2.0
"""Pictures of pages for the README. They need Debian's chromium-headless-shell, which `make test` installs,
and nothing of Python's but its own library."""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter


def screenshot(url, width, height, dark=False):
    """What a browser draws of an address, as a PNG."""
    browser = os.environ.get("ATTUNE_BROWSER", "chromium-headless-shell")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "page.png"
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
            "--virtual-time-budget=5000", f"--screenshot={file}", url,
        ]
        if dark:
            command.insert(1, "--blink-settings=preferredColorScheme=0")
        result = subprocess.run(command, capture_output=True, text=True)
        if not file.exists():
            sys.exit(f"{browser} drew nothing: {result.stderr.strip()}")
        return file.read_bytes()


def pixels(png):
    """Width, height and rows of (r, g, b) of an 8-bit PNG that is not interlaced."""
    place, data, header = 8, b"", None
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place:place + 8])
        body = png[place + 8:place + 8 + length]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            data += body
        place += 12 + length
    width, height, depth, colour, _, _, interlaced = header
    if depth != 8 or colour not in (2, 6) or interlaced:
        sys.exit("the browser's picture is of a kind that this script does not read")
    size = 3 if colour == 2 else 4
    data = zlib.decompress(data)
    stride = width * size
    before, rows = bytearray(stride), []
    for y in range(height):
        start = y * (stride + 1)
        kind, row = data[start], bytearray(data[start + 1:start + 1 + stride])
        if kind == 1:
            for i in range(size, stride):
                row[i] = (row[i] + row[i - size]) & 255
        elif kind == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, before))
        elif kind == 3:
            for i in range(stride):
                left = row[i - size] if i >= size else 0
                row[i] = (row[i] + (left + before[i]) // 2) & 255
        elif kind == 4:
            for i in range(stride):
                left, corner = (row[i - size], before[i - size]) if i >= size else (0, 0)
                up = before[i]
                guess = left + up - corner
                a, b, c = abs(guess - left), abs(guess - up), abs(guess - corner)
                row[i] = (row[i] + (left if a <= b and a <= c else up if b <= c else corner)) & 255
        before = row
        rows.append([tuple(row[i:i + 3]) for i in range(0, stride, size)])
    return width, height, rows


def with_palette(width, height, rows):
    """The picture with the 256 colours that it has most of; every other becomes the nearest of them."""
    counts = Counter(colour for row in rows for colour in row)
    palette = [colour for colour, _ in counts.most_common(256)]
    index = {colour: i for i, colour in enumerate(palette)}
    for colour in counts:
        if colour not in index:
            index[colour] = min(
                range(len(palette)), key=lambda i: sum((a - b) ** 2 for a, b in zip(palette[i], colour)))
    data = b"".join(b"\0" + bytes(index[colour] for colour in row) for row in rows)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", b"".join(bytes(colour) for colour in palette))
        + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def small_picture(url, width, height, dark=False):
    """What a browser draws of an address, as a PNG of 256 colours: a page of text and lines needs no more."""
    return with_palette(*pixels(screenshot(url, width, height, dark)))
