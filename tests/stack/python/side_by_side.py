"""Prints text files beside each other: side_by_side.py WIDTH TITLE FILE TITLE FILE. One below the other if WIDTH is too small."""

import sys
import unicodedata

width = int(sys.argv[1])
pairs = list(zip(sys.argv[2::2], sys.argv[3::2]))


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


blocks = []
for title, path in pairs:
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip() for line in file]
    while lines and not lines[-1]:
        lines.pop()
    size = max(columns(line) for line in [title, *lines])
    blocks.append((size, [title, "=" * size, *lines]))

if sum(size for size, _ in blocks) + 4 * (len(blocks) - 1) > width:
    print("\n\n".join("\n".join(lines) for _, lines in blocks))
else:
    for i in range(max(len(lines) for _, lines in blocks)):
        cells = [(size, lines[i] if i < len(lines) else "") for size, lines in blocks]
        print("    ".join(text + " " * (size - columns(text)) for size, text in cells).rstrip())
