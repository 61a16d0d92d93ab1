#!/usr/bin/python3
"""Reads a store's directory by docs/format.md, and by nothing else.

    kvtier_reader.py [--sealed-only] [--summary FILE] DIRECTORY

Prints a line of JSON for every object that lives: key (as `kvtier ls` writes
it), size, sha256 of the value. All check values are verified; what does not
hold is told on stderr, and the exit status is then 1. Nothing is changed, so
the store must not be written meanwhile. Layouts: bucket, file_per_key,
distributed (with trailers).

  --sealed-only   of `bucket`: only what an opening without ownership sees
  --summary FILE  what was found on the way, as one JSON object

Needs python3-xxhash.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import struct
import sys

import xxhash

BLOCK = 4096
UNDONE = 0xffffffff
RECORD_MAX = 1 << 20
KEY_MAX = 4096


class Bad(Exception):
    """Something is not as docs/format.md says."""


def u16(data, at):
    return struct.unpack_from("<H", data, at)[0]


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def hash64(data, seed=0):
    return xxhash.xxh3_64_intdigest(bytes(data), seed=seed)


def hash128(data):
    """(low, high)"""
    both = xxhash.xxh3_128_intdigest(bytes(data))
    return both & (1 << 64) - 1, both >> 64


def blocks_of(size):
    return (size + BLOCK - 1) // BLOCK


def value_blocks(size):
    return max(1, blocks_of(size))


def check_of(key, value, store_seed):
    """The check value of an object: identity and bytes."""
    identity = struct.pack("<QQQ", len(value), *hash128(key))
    return hash64(value, hash64(identity, store_seed))


def key_text(key):
    return "".join(chr(byte) if 0x21 <= byte <= 0x7e and byte != 0x25
                   else f"%{byte:02x}" for byte in key)


def check_start(data, letter, size):
    """Magic, version and size of a structure."""
    if len(data) < size or data[:8] != b"\x89KVT" + letter + b"\r\n\x1a":
        raise Bad("no magic")
    if u16(data, 8) != 1:
        raise Bad(f"version {u16(data, 8)}")
    if u16(data, 10) != size:
        raise Bad("another size")


def check_self(data, size, seed=0):
    if u64(data, size - 8) != hash64(data[:size - 8], seed):
        raise Bad("its own check does not hold")


class Marker:
    """.kvtier/store"""

    def __init__(self, data):
        if len(data) != 128:
            raise Bad("the marker has another size")
        check_start(data, b"S", 128)
        check_self(data, 128)
        self.uuid = data[16:32]
        self.layout = data[32:64].rstrip(b"\0").decode()
        self.layout_version = u32(data, 64)
        self.alignment = u32(data, 68)
        self.seed = u64(data, 72)
        self.name_max = u32(data, 88)
        self.directories = 256


class RootRecord:
    """.kvtier/format"""

    def __init__(self, data):
        if len(data) != 64:
            raise Bad("the record has another size")
        check_start(data, b"F", 64)
        check_self(data, 64)
        self.directories = u32(data, 12)
        self.seed = u64(data, 32)
        self.name_max = u32(data, 48)


class Found:
    """What a reading gives."""

    def __init__(self):
        self.objects = []  # (key, size, sha256)
        self.bad = []
        self.summary = {}

    def add(self, key, value):
        self.objects.append((key, len(value),
                             hashlib.sha256(value).hexdigest()))

    def count(self, what, more=1):
        self.summary[what] = self.summary.get(what, 0) + more

    def tell(self, where, what):
        self.bad.append(f"{where}: {what}")


# One file an object ---------------------------------------------------------

def name_of(key, name_max):
    """The file name of a key, and whether it holds the key."""
    if key in (b".", b".."):
        return "%2e" * len(key), True
    name = "".join(
        f"%{byte:02x}" if byte < 0x20 or byte > 0x7e or byte in b"@:/\\%"
        else chr(byte) for byte in key)
    if len(name) <= name_max:
        return name, True
    low, high = hash128(key)
    return f"%long-{high:016x}{low:016x}", False


def directory_of(key, directories):
    number = xxhash.xxh64_intdigest(bytes(key), seed=0) % directories
    return f"{number:02x}"


def unescape(name):
    return re.sub(rb"%([0-9a-f]{2})",
                  lambda match: bytes([int(match[1], 16)]), name.encode())


def read_object(path, root):
    """(key, value) of an object file."""
    data = path.read_bytes()
    trailer = data[-64:]
    check_start(trailer, b"O", 64)
    check_self(trailer, 64)
    key_size, size = u32(trailer, 12), u64(trailer, 16)
    if len(data) != size + key_size + 64:
        raise Bad("sizes do not add up")
    value = data[:size]
    key = data[size:size + key_size] if key_size else unescape(path.name)
    if (u64(trailer, 24), u64(trailer, 32)) != hash128(key):
        raise Bad("another key")
    if (path.name, key_size == 0) != name_of(key, root.name_max) or \
            path.parent.name != directory_of(key, root.directories):
        raise Bad("the name is not the key's")
    if u64(trailer, 40) != check_of(key, value, root.seed):
        raise Bad("check value")
    return key, value


def read_files(top, root, found):
    for directory in sorted(top.iterdir()):
        if not re.fullmatch("[0-9a-f]{2,}", directory.name):
            continue
        for path in sorted(directory.iterdir()):
            if path.name.startswith("%tmp-"):
                found.count("temporaries")
                continue
            try:
                found.add(*read_object(path, root))
            except Bad as bad:
                found.tell(path, bad)


# Buckets --------------------------------------------------------------------

class Entry:
    def __init__(self, data, at):
        self.key_hash, self.check, self.sequence, self.block, self.length = \
            struct.unpack_from("<QQQII", data, at)
        self.end = self.block + value_blocks(self.length)


class Kill:
    def __init__(self, data, at, first_entry=0):
        writer, number, block, self.cause = struct.unpack_from("<QQII", data,
                                                               at)
        self.place = (writer, number, block)
        if self.cause not in (0, UNDONE):
            self.cause += first_entry


def check_causes(kills, entries):
    for kill in kills:
        if kill.cause > len(entries) and kill.cause != UNDONE:
            raise Bad("a kill without its cause")


class Record:
    """The record of a run that starts at a block."""

    def __init__(self, data, block, seed):
        at = block * BLOCK
        head = data[at:at + 64]
        check_start(head, b"R", 64)
        self.number, self.block, self.size, entries, kills, self.blocks = \
            struct.unpack_from("<6I", head, 16)
        keys_at = 64 + entries * 32 + kills * 24
        if self.block != block or self.size > RECORD_MAX or \
                keys_at + entries * 2 > self.size or \
                self.blocks < blocks_of(self.size) or \
                at + self.size > len(data):
            raise Bad("numbers of a record")
        record = data[at:at + self.size]
        if u64(record, 56) != hash64(record[64:], hash64(record[:56], seed)):
            raise Bad("check value of a record")
        self.entries = [Entry(record, 64 + i * 32) for i in range(entries)]
        self.kills = [Kill(record, 64 + entries * 32 + i * 24)
                      for i in range(kills)]
        check_causes(self.kills, self.entries)
        self.keys = []
        key_at = keys_at + entries * 2
        for i in range(entries):
            size = u16(record, keys_at + i * 2)
            if not 1 <= size <= KEY_MAX:
                raise Bad("size of a key")
            self.keys.append(record[key_at:key_at + size])
            key_at += size
        if key_at != self.size:
            raise Bad("keys do not fill the record")
        first = block + blocks_of(self.size)
        for entry in self.entries:
            if entry.block < first or entry.end > block + self.blocks:
                raise Bad("a value outside of its run")
            first = entry.end


class Bucket:
    def __init__(self, path, marker):
        self.path = path
        self.writer = int(path.parent.name[2:], 16)
        self.number = int(path.stem, 16)
        self.marker = marker
        self.seed = hash64(marker.uuid +
                           struct.pack("<QQ", self.writer, self.number))
        self.data = path.read_bytes()
        self.entries, self.kills, self.runs = [], [], []
        self.keys = {}  # by the block of the value
        self.live = []
        self.synced = False  # an unsealed one: nobody knows
        self.punched = 0

    def place(self, entry):
        return self.writer, self.number, entry.block

    def value(self, entry):
        at = entry.block * BLOCK
        return self.data[at:at + entry.length]

    def holds(self, entry, key):
        return check_of(key, self.value(entry), self.marker.seed) == \
            entry.check and hash64(key, self.marker.seed) == entry.key_hash

    def read_table(self):
        """Of a sealed bucket."""
        footer = self.data[-128:]
        check_start(footer, b"T", 128)
        check_self(footer, 128, self.seed)
        self.synced = u32(footer, 12) & 1 == 1
        start, blocks, entries, runs, kills = struct.unpack_from("<5I", footer,
                                                                 16)
        self.sequence = u64(footer, 40)
        size = entries * 32 + runs * 8 + kills * 24
        if len(self.data) != blocks * BLOCK or start == 0 or \
                start * BLOCK + size + 128 > len(self.data):
            raise Bad("numbers of a footer")
        table = self.data[start * BLOCK:start * BLOCK + size]
        if u64(footer, 72) != hash64(table, self.seed):
            raise Bad("check value of a table")
        self.entries = [Entry(table, i * 32) for i in range(entries)]
        self.runs = [struct.unpack_from("<II", table, entries * 32 + i * 8)
                     for i in range(runs)]
        self.kills = [Kill(table, entries * 32 + runs * 8 + i * 24)
                      for i in range(kills)]
        check_causes(self.kills, self.entries)
        if any(entry.block == 0 or entry.end > start
               for entry in self.entries):
            raise Bad("an entry outside of the file")
        if u64(footer, 56) != sum(entry.length for entry in self.entries):
            raise Bad("bytes of values")

    def read_keys(self, found):
        """Of a sealed bucket: from the records that were not punched out."""
        for number, (block, blocks) in enumerate(self.runs):
            if not any(self.data[block * BLOCK:block * BLOCK + 64]):
                self.punched += 1
                continue
            record = Record(self.data, block, self.seed)
            if blocks != blocks_of(record.size) or record.number != number:
                raise Bad("a run that the table has otherwise")
            for entry, key in zip(record.entries, record.keys):
                self.keys[entry.block] = key
        found.count("punched_records", self.punched)

    def read_header(self):
        header = self.data[:128]
        check_start(header, b"B", 128)
        check_self(header, 128)
        if u32(header, 12) != BLOCK or header[16:32] != self.marker.uuid or \
                (u64(header, 32), u64(header, 40)) != (self.writer,
                                                       self.number):
            raise Bad("not of this store and name")
        self.sequence = u64(header, 64)

    def walk(self, found):
        """Of a bucket that was not sealed. All values are checked."""
        block = 1
        while block * BLOCK < len(self.data):
            try:
                record = Record(self.data, block, self.seed)
                if record.number != len(self.runs) or \
                        (block + record.blocks) * BLOCK > len(self.data):
                    raise Bad("not the next run")
            except Bad:
                found.count("torn_logs")
                break
            first = len(self.entries)
            self.entries += record.entries
            for kill in record.kills:
                kill.cause += first if kill.cause not in (0, UNDONE) else 0
                self.kills.append(kill)
            for entry, key in zip(record.entries, record.keys):
                self.keys[entry.block] = key
                if not self.holds(entry, key):
                    found.count("torn_values")
                    undone = struct.pack("<QQII", *self.place(entry), UNDONE)
                    self.kills.append(Kill(undone, 0))
            self.runs.append((block, blocks_of(record.size)))
            block += record.blocks


def open_bucket(path, marker, sealed_only, found):
    """A bucket with its parts, or None."""
    bucket = Bucket(path, marker)
    try:
        bucket.read_table()
    except Bad as bad:
        try:
            bucket.read_header()
        except Bad:
            found.count("foreign" if bucket.data else "empty")
            if bucket.data[:128].strip(b"\0"):
                found.tell(path, "no bucket of this store")
            return None
        if sealed_only:
            found.count("passed_over")
            return None
        bucket.walk(found)
        found.count("unsealed")
        return bucket if bucket.runs else None
    bucket.read_header()
    bucket.read_keys(found)
    found.count("sealed")
    return bucket


def choose_live(buckets):
    """Sets `live` of each bucket. Newest first."""
    killed, never, met = set(), set(), set()
    for bucket in buckets:
        for kill in bucket.kills:
            if kill.cause == UNDONE:
                never.add(kill.place)
            elif kill.cause == 0:
                killed.add(kill.place)
        for kill in bucket.kills:
            if kill.cause not in (0, UNDONE) and bucket.place(
                    bucket.entries[kill.cause - 1]) not in never:
                killed.add(kill.place)
        for entry in reversed(bucket.entries):
            place = bucket.place(entry)
            if place in killed or place in never or \
                    entry.key_hash >> 10 in met:
                continue
            met.add(entry.key_hash >> 10)
            bucket.live.append(entry)


def read_buckets(top, marker, sealed_only, found):
    if marker.layout_version != 1 or marker.alignment != BLOCK:
        raise Bad("another version of the layout")
    paths = [path for path in top.glob("w-*/*.kvb")
             if re.fullmatch("w-[0-9a-f]{16}", path.parent.name) and
             re.fullmatch("[0-9a-f]{16}", path.stem)]
    paths.sort(key=lambda path: (path.stem, path.parent.name), reverse=True)
    buckets = []
    for path in paths:
        try:
            bucket = open_bucket(path, marker, sealed_only, found)
        except Bad as bad:
            found.tell(path, bad)
            continue
        if bucket is not None:
            buckets.append(bucket)
    choose_live(buckets)
    for bucket in buckets:
        for entry in bucket.live:
            key = bucket.keys.get(entry.block)
            if key is None or not bucket.holds(entry, key):
                found.tell(bucket.path, f"block {entry.block}: check value")
            else:
                found.add(key, bucket.value(entry))
        live = {entry.block for entry in bucket.live}
        for entry in bucket.entries:
            if entry.block not in live:
                found.count("dead")
                found.count("punched_values", entry.length > 0 and
                            not any(bucket.value(entry)))
    index = top / ".kvtier" / "index"
    if index.exists():
        found.count("checkpoint")
        try:
            read_checkpoint(index.read_bytes(), marker, buckets, len(paths))
        except Bad as bad:
            found.tell(index, bad)


# Checkpoint -----------------------------------------------------------------

def table_entries(table, depth, groups):
    """(54 bits of the hash, place, length, check) of a table of the index."""
    for group in range(groups):
        words = struct.unpack_from("=80I", table, group * 320)
        for slot in range(16):
            tag = words[slot] & 0x7fffffff
            if tag == 0:
                continue
            check, length, low, high = words[16 + slot * 4:20 + slot * 4]
            bits = high >> 8 << 31 | tag
            home = ((bits << 10 << depth & (1 << 64) - 1) >> 32) * groups >> 32
            passed = home
            while passed != group:  # all of them have been full
                line = struct.unpack_from("=16I", table, passed * 320)
                if not any(word >> 31 for word in line):
                    raise Bad("an entry that no search finds")
                passed = (passed + 1) % groups
            yield (bits, low | (high & 0xff) << 32, length & 0x7fffffff,
                   check)


def read_checkpoint(data, marker, buckets, files):
    """It must say what the buckets say."""
    check_start(data, b"I", 128)
    check_self(data, 128)
    if u32(data, 12).to_bytes(4, "little") != \
            (0x01020304).to_bytes(4, sys.byteorder):
        raise Bad("of a machine with another byte order")
    if data[16:32] != marker.uuid:
        raise Bad("of another store")
    bucket_count, table_count, bits, slots = struct.unpack_from("<4I", data,
                                                                32)
    heads_at = 128 + bucket_count * 80
    tables_at = heads_at + table_count * 24
    if u64(data, 64) != hash64(data[128:tables_at]):
        raise Bad("check value of the parts")
    if not bucket_count == files == len(buckets):
        raise Bad("buckets are not those that are there")
    names = {(bucket.writer, bucket.number): bucket for bucket in buckets}
    wanted = []
    for i in range(bucket_count):
        at = 128 + i * 80
        bucket = names.pop((u64(data, at), u64(data, at + 8)))
        slot, always, sequence, entries, kills, live, runs, live_bytes = \
            struct.unpack_from("<IIQIIIIQ", data, at + 16)
        said = (sequence, entries, kills, live, runs, live_bytes)
        have = (bucket.sequence, len(bucket.entries), len(bucket.kills),
                len(bucket.live), len(bucket.runs),
                sum(entry.length for entry in bucket.live))
        if said != have or slot >= slots or not (always or bucket.synced):
            raise Bad(f"bucket {bucket.number:x}: {said}, and it has {have}")
        for entry in bucket.live:
            kept = entry.key_hash >> 10
            if kept & 0x7fffffff == 0:
                kept |= 1
            wanted.append((kept, slot << bits | entry.block, entry.length,
                           entry.check & 0xffffffff))
    indexed = []
    leading = 0.0  # the share of all hashes that the tables have covered
    for i in range(table_count):
        depth, groups, count, _, check = struct.unpack_from(
            "<IIIIQ", data, heads_at + i * 24)
        table = data[tables_at:tables_at + groups * 320]
        tables_at += groups * 320
        if hash64(table) != check:
            raise Bad("check value of a table")
        entries = list(table_entries(table, depth, groups))
        if len(entries) != count or \
                any(bits_of[0] >> (54 - depth) != int(leading * (1 << depth))
                    for bits_of in entries):
            raise Bad("entries of a table")
        leading += 1 / (1 << depth)
        indexed += entries
    if tables_at != len(data) or leading != 1.0:
        raise Bad("tables do not fit together")
    if sorted(indexed) != sorted(wanted) or len(wanted) != u64(data, 56):
        raise Bad("it does not say what the buckets say")


# ----------------------------------------------------------------------------

def read_store(top, sealed_only):
    found = Found()
    marker = top / ".kvtier" / "store"
    record = top / ".kvtier" / "format"
    if marker.exists():
        root = Marker(marker.read_bytes())
        if root.layout == "bucket":
            read_buckets(top, root, sealed_only, found)
        elif root.layout == "file_per_key":
            read_files(top, root, found)
        else:
            raise Bad(f"layout '{root.layout}'")
    elif record.exists():
        read_files(top, RootRecord(record.read_bytes()), found)
    else:
        raise Bad("neither a marker nor a record")
    return found


def main():
    parser = argparse.ArgumentParser(description="reads a store's directory")
    parser.add_argument("--sealed-only", action="store_true")
    parser.add_argument("--summary")
    parser.add_argument("directory")
    args = parser.parse_args()
    try:
        found = read_store(pathlib.Path(args.directory), args.sealed_only)
    except Bad as bad:
        sys.exit(f"{args.directory}: {bad}")
    for key, size, sha256 in sorted(found.objects):
        print(json.dumps({"key": key_text(key), "size": size,
                          "sha256": sha256}))
    if args.summary:
        pathlib.Path(args.summary).write_text(json.dumps(found.summary) +
                                              os.linesep)
    for line in found.bad:
        print(line, file=sys.stderr)
    sys.exit(1 if found.bad else 0)


if __name__ == "__main__":
    main()
