#!/usr/bin/python3
"""Hit ratios of eviction policies over a trace, without any I/O.

    bench/simulate.py [--blocks N] [--bucket-keys N] TRACE.jsonl

The trace is what `kvtier replay` takes: a line of JSON a request, whose
`hash_ids` are its blocks. As there, a request asks for all its blocks, then
stores those that are not there; the second reference to a block within one
request is a hit. All blocks have one size, and the capacity is in blocks.

Printed are, of the capacity, its half and its double, hits over references and
rewritten over all written blocks of:

  belady   objects: the one that is needed latest goes (the bound)
  lru      objects: the one that was used longest ago goes
  fifo     objects: the oldest one goes
  bucket   the oldest bucket of N keys goes as a whole
  blru     the bucket that was used longest ago goes as a whole
  carry:S  as bucket, but what was used since it was written is written again,
           as long as that is no more than the share S of all that is written
  two:S    as carry, and what is written again, or comes back soon after it
           went, has buckets of its own, whose oldest goes only while they hold
           more than two fifths
"""
import argparse
import collections
import heapq
import json


def read_trace(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["hash_ids"] for line in lines]


class Belady:
    """Needs to know the future: the requests of each block, in order."""

    def __init__(self, capacity, requests):
        self.capacity = capacity
        self.uses = collections.defaultdict(collections.deque)
        for at, ids in enumerate(requests):
            for block in set(ids):
                self.uses[block].append(at)
        self.next = {}
        self.latest = []
        self.written = self.rewritten = 0

    def has(self, block):
        return block in self.next

    def put(self, block):
        """Used, and stored if it is not."""
        uses = self.uses[block]
        uses.popleft()
        at = uses[0] if uses else 1 << 60
        self.written += block not in self.next
        self.next[block] = at
        heapq.heappush(self.latest, (-at, block))
        while len(self.next) > self.capacity:
            late, victim = heapq.heappop(self.latest)
            if self.next.get(victim) == -late:
                del self.next[victim]


class Objects:
    def __init__(self, capacity, moves):
        self.capacity = capacity
        self.moves = moves  # a use makes it the newest
        self.order = collections.OrderedDict()
        self.written = self.rewritten = 0

    def has(self, block):
        return block in self.order

    def put(self, block):
        if block in self.order:
            if self.moves:
                self.order.move_to_end(block)
            return
        self.written += 1
        self.order[block] = None
        if len(self.order) > self.capacity:
            self.order.popitem(last=False)


class Bucket:
    def __init__(self):
        self.blocks = []
        self.used = set()  # since they were written here
        self.size = 0


class Buckets:
    """Whole buckets go; the share `carry` of what is written may be what was
    used, written again."""

    def __init__(self, capacity, keys, moves=False, carry=0.0, streams=1):
        self.capacity = capacity
        self.keys = keys
        self.moves = moves
        self.carry = carry
        self.place = {}
        self.streams = [collections.OrderedDict() for _ in range(streams)]
        self.sizes = [0] * streams
        self.ghosts = collections.OrderedDict()
        self.active = [None] * streams
        self.written = self.rewritten = 0

    def has(self, block):
        return block in self.place

    def put(self, block):
        if block not in self.place:
            again = len(self.streams) > 1 and block in self.ghosts
            self.ghosts.pop(block, None)
            self.write(block, 1 if again else 0)
            self.make_room()
            return
        stream, bucket = self.place[block]
        bucket.used.add(block)
        if self.moves and bucket in self.streams[stream]:
            self.streams[stream].move_to_end(bucket)

    def write(self, block, stream):
        bucket = self.active[stream]
        if bucket is None or bucket.size == self.keys:
            bucket = self.active[stream] = Bucket()
            self.streams[stream][bucket] = None
        bucket.blocks.append(block)
        bucket.size += 1
        self.place[block] = (stream, bucket)
        self.sizes[stream] += 1
        self.written += 1

    def choose(self):
        """The stream whose oldest bucket goes."""
        if len(self.streams) == 1:
            return 0
        most = self.capacity * 2 // 5
        return 1 if self.sizes[1] > most or len(self.streams[0]) < 2 else 0

    def make_room(self):
        while sum(self.sizes) > self.capacity:
            stream = self.choose()
            bucket = next(iter(self.streams[stream]))
            del self.streams[stream][bucket]
            if self.active[stream] is bucket:
                self.active[stream] = None
            self.sizes[stream] -= bucket.size
            for block in bucket.blocks:
                self.leave(block, block in bucket.used)

    def leave(self, block, used):
        del self.place[block]
        if used and self.rewritten + 1 <= self.carry * (self.written + 1):
            self.rewritten += 1
            self.write(block, len(self.streams) - 1)
        elif len(self.streams) > 1:
            self.ghosts[block] = None
            if len(self.ghosts) > self.capacity:
                self.ghosts.popitem(last=False)


def run(requests, store):
    hits = references = 0
    for ids in requests:
        there = {block: store.has(block) for block in ids}
        references += len(ids)
        hits += len(ids) - sum(not known for known in there.values())
        for block in there:
            store.put(block)
    return hits / references, store.rewritten / max(store.written, 1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--blocks", type=int, default=18279)
    parser.add_argument("--bucket-keys", type=int, default=500)
    parser.add_argument("trace")
    args = parser.parse_args()
    requests = read_trace(args.trace)
    keys = args.bucket_keys
    policies = {
        "belady": lambda blocks: Belady(blocks, requests),
        "lru": lambda blocks: Objects(blocks, True),
        "fifo": lambda blocks: Objects(blocks, False),
        "bucket": lambda blocks: Buckets(blocks, keys),
        "blru": lambda blocks: Buckets(blocks, keys, moves=True),
    }
    for share in (0.1, 0.2, 1.0):
        policies[f"carry:{share}"] = lambda blocks, share=share: Buckets(
            blocks, keys, carry=share)
        policies[f"two:{share}"] = lambda blocks, share=share: Buckets(
            blocks, keys, carry=share, streams=2)
    sizes = (args.blocks // 2, args.blocks, args.blocks * 2)
    print(f"{'policy':10}" + "".join(f"{size:>18}" for size in sizes))
    for name, make in policies.items():
        cells = [run(requests, make(size)) for size in sizes]
        print(f"{name:10}" + "".join(f"{hits:>10.4f} ({again:.3f})"
                                     for hits, again in cells), flush=True)


if __name__ == "__main__":
    main()
