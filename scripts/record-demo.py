#!/usr/bin/env python3
"""Records `holocron demo` in a terminal and writes it as an animated SVG, for the README.

    scripts/record-demo.py target/x86_64-unknown-linux-musl/dist/holocron docs/demo.svg

Lines appear when they appeared; only the time before the first one is cut. Without animation, or if the reader's system asks for
reduced motion, all lines are there at once. Needs nothing but Python and a pseudo-terminal.
"""

import html
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

COLUMNS = 104
FONT_SIZE, LINE_HEIGHT, CHAR_WIDTH = 13, 18, 7.83
PADDING, TITLE_HEIGHT = 16, 30
# Seconds: of the prompt before the first line, and of the last picture before the animation starts again.
LEAD, HOLD = 0.8, 12
TIMEOUT = 120
# The first pattern that is found in a line says its class.
CLASSES = [
    ("prompt", r"^\$ "),
    ("bad", r"SIGKILL to|sealed by mistake"),
    ("good", r"noticed after .* served again|^(lost|doubled) +0$|^stale reads +0 of|^failed calls +0 |^acknowledged"),
]
STYLE = """
text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328;white-space:pre}
.back{fill:#f6f8fa;stroke:#d1d9e0}.prompt{font-weight:700}.bad{fill:#b3261e}.good{fill:#116329}
.dot{fill:#d1d9e0}
@media (prefers-color-scheme:dark){text{fill:#d1d7e0}.back{fill:#151b23;stroke:#3d444d}.bad{fill:#ff938a}
.good{fill:#56d364}.dot{fill:#3d444d}}
@media (prefers-reduced-motion:no-preference){.line{animation:%.2fs step-end infinite}
%s}
"""


def record(binary):
    """Runs the demo. Returns its lines, each with the seconds since the start at which it was complete."""
    lines, pending = [], b""
    with tempfile.TemporaryDirectory(prefix="holocron-demo-") as scratch:
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "TMPDIR": scratch, "COLUMNS": str(COLUMNS)}
        controller, terminal = pty.openpty()
        os.environ.pop("RUST_LOG", None)
        begin = time.monotonic()
        demo = subprocess.Popen([binary, "demo"], stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
        os.close(terminal)
        while time.monotonic() < begin + TIMEOUT:
            if not select.select([controller], [], [], 1)[0]:
                continue
            try:
                read = os.read(controller, 4096)
            except OSError:  # Linux says so when the other end is closed.
                break
            now = time.monotonic() - begin
            *complete, pending = (pending + read).split(b"\n")
            lines += [(now, line.decode().rstrip("\r").replace(scratch, "/tmp")) for line in complete]
        os.close(controller)
        if demo.wait(TIMEOUT) != 0:
            sys.exit(f"the demo ended with {demo.returncode}: {lines}")
    return lines


def class_of(line):
    return next((name for name, pattern in CLASSES if re.search(pattern, line)), "")


def svg(lines):
    first = lines[0][0]
    shown = [(0.0, "$ holocron demo")] + [(at - first + LEAD, line) for at, line in lines]
    total = shown[-1][0] + HOLD
    width = round(max(len(line) for _, line in shown) * CHAR_WIDTH + 2 * PADDING)
    height = TITLE_HEIGHT + len(shown) * LINE_HEIGHT + PADDING
    # Lines that appear together share their keyframes.
    times = sorted({round(at, 2) for at, _ in shown if at > 0})
    frames = "\n".join(
        f"@keyframes k{n}{{0%{{opacity:0}}{100 * at / total:.2f}%{{opacity:1}}}}.t{n}{{animation-name:k{n}}}"
        for n, at in enumerate(times)
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>holocron demo: a host is killed under load, and no acknowledged command is lost</title>",
        f"<style>{STYLE % (FONT_SIZE, total, frames)}</style>",
        f'<rect class="back" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *(f'<circle class="dot" cx="{PADDING + 6 + 18 * n}" cy="{TITLE_HEIGHT / 2 + 2}" r="5"/>' for n in range(3)),
    ]
    for row, (at, line) in enumerate(shown):
        if not line:
            continue
        classes = [class_of(line)] if class_of(line) else []
        if at > 0:
            classes += ["line", f"t{times.index(round(at, 2))}"]
        y = TITLE_HEIGHT + (row + 1) * LINE_HEIGHT - 4
        out.append(f'<text class="{" ".join(classes)}" x="{PADDING}" y="{y}">{html.escape(line)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    binary, file = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
    lines = record(binary)
    while lines and not lines[-1][1].strip():
        lines.pop()
    file.write_text(svg(lines))
    print(f"{file}: {len(lines)} lines, {file.stat().st_size:,} bytes")


main()
