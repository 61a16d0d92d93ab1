#!/usr/bin/env python3
"""kill -9 in the middle of `kvtier put --dir`, again and again.

The next start finds whole objects only, everything that was acknowledged
before, and clears away (and counts) what the dead process left.

A file's bytes are a function of its name and a version; every round writes
the next version of the second tree over the one before.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

KVTIER = os.environ.get("KVT_TEST_BIN") or sys.exit("KVT_TEST_BIN is not set")
KILLS = 20 * max(1, int(os.environ.get("KVT_TEST_SCALE", "1")))
SEED = int(os.environ.get("KVT_TEST_SEED", time.time_ns() % 1000000))
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith(("KVTIER_", "MOONCAKE_"))}


def content(name, version):
    chance = random.Random(f"{name} {version}")
    size = chance.choice([0, 1, 100, 4096, chance.randrange(1000000)])
    line = f"{name} {version} {chance.random()}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def whole(name, found, versions):
    """The newest of `versions` that these are the bytes of, or None."""
    for version in reversed(versions):
        if found == content(name, version):
            return version
    return None


def write_tree(root, names, version):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name, version))


def count_names(directory):
    return len(list(directory.iterdir())) if directory.exists() else 0


class Trial:
    def __init__(self, temp, backend):
        self.temp = temp
        self.backend = backend
        self.store = temp / "store"
        self.first = [f"first/{i}/file %{i}" for i in range(30)]
        self.second = [f"second/{i % 7}/{i}" for i in range(80)]
        self.acknowledged = 0  # version of the second tree

    def command(self, *args):
        return [KVTIER, "--path", str(self.store), "--backend", self.backend,
                "-o", "total_size_limit=4GiB", *map(str, args)]

    def run(self, *args):
        done = subprocess.run(self.command(*args), capture_output=True,
                              env=ENVIRONMENT, timeout=60, check=False)
        if done.returncode != 0:
            sys.exit(f"FAIL: {args}: exit {done.returncode}, "
                     f"{done.stderr.decode()}")
        return done.stdout

    def put_tree(self, names, version):
        tree = self.temp / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        write_tree(tree, names, version)
        return tree

    def put_and_kill(self, version, seconds):
        """True when the put was done before the kill."""
        tree = self.put_tree(self.second, version)
        with subprocess.Popen(self.command("put", "--dir", tree),
                              stdout=subprocess.DEVNULL,
                              env=ENVIRONMENT) as process:
            time.sleep(seconds)
            process.kill()
            return process.wait() == 0

    def check(self, version, done):
        left = self.store / ".kvtier" / "tmp"
        temporaries = count_names(left)
        self.check_objects(version, done, "--read-only")
        # a command that writes is what starts as an owner
        stats = self.temp / "stats"
        self.run("--stats", stats, "evict", "--high", "1", "--low", "1")
        stat = json.loads(stats.read_text())
        removed = stat["recovery"]["removed_temporaries"]
        if removed != temporaries or count_names(left) > 0:
            sys.exit(f"FAIL: {temporaries} temporaries, {removed} counted")
        count = self.check_objects(version, done)
        if stat["objects"] != count or stat["evicted_objects"] != 0:
            sys.exit(f"FAIL: {count} objects, stat says {stat}")
        return temporaries

    def check_objects(self, version, done, *options):
        out = self.temp / "out"
        shutil.rmtree(out, ignore_errors=True)
        self.run(*options, "get", "--dir", out)
        for name in self.first:
            if (out / name).read_bytes() != content(name, 0):
                sys.exit(f"FAIL: {name} is not what was acknowledged")
        versions = range(1, version + 1)
        if done:
            self.acknowledged = version
        count = 0
        for path in (out / "second").rglob("*"):
            if path.is_file():
                name = str(path.relative_to(out))
                found = whole(name, path.read_bytes(), versions)
                if found is None or found < self.acknowledged:
                    sys.exit(f"FAIL: {name}: version {found} after "
                             f"{self.acknowledged} was acknowledged")
                count += 1
        if self.acknowledged > 0 and count != len(self.second):
            sys.exit(f"FAIL: {count} of {len(self.second)} acknowledged")
        return count + len(self.first)


def kill_often(backend, chance):
    temporaries = 0
    done = 0
    with tempfile.TemporaryDirectory() as temp:
        trial = Trial(pathlib.Path(temp), backend)
        trial.run("put", "--dir", trial.put_tree(trial.first, 0))
        start = time.monotonic()
        trial.run("put", "--dir", trial.put_tree(trial.second, 1))
        duration = time.monotonic() - start
        trial.check(1, True)
        for version in range(2, KILLS + 2):
            finished = trial.put_and_kill(version,
                                          chance.random() * duration)
            duration *= 0.8 if finished else 1.05
            done += finished
            temporaries += trial.check(version, finished)
    print(f"{backend}: {KILLS} kills, {done} too late, "
          f"{temporaries} temporaries")
    if done > KILLS * 3 // 4:
        sys.exit("FAIL: hardly a kill was in time")


def main():
    print(f"seed {SEED}", flush=True)
    chance = random.Random(SEED)
    for backend in ("file_per_key", "bucket"):
        kill_often(backend, chance)


main()
