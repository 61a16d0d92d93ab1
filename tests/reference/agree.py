#!/usr/bin/python3
"""Tells what stores hold, read by docs/format.md alone, to a test program.

Each line on stdin is a store's directory. The answer is a line: "ok", the
number of objects and the sum of their digests, or "bad" and what does not
hold. A digest is XXH3 of the value, with XXH3 of the key as its seed.
"""
import pathlib
import sys

import kvtier_reader as reader


class Sums(reader.Found):
    def __init__(self):
        super().__init__()
        self.number = 0
        self.sum = 0

    def add(self, key, value):
        self.number += 1
        self.sum += reader.hash64(value, seed=reader.hash64(key))


def answer(directory):
    try:
        found = reader.read_store(pathlib.Path(directory), False)
    except (reader.Bad, OSError) as bad:
        return f"bad {bad}"
    if found.bad:
        return "bad " + "; ".join(found.bad)
    return f"ok {found.number} {found.sum & (1 << 64) - 1:x}"


reader.Found = Sums
for line in sys.stdin:
    print(answer(line.rstrip("\n")).replace("\n", " "), flush=True)
