#!/usr/bin/python3
"""A trace for `kvtier replay` and bench/simulate.py: many users at once.

    bench/workload.py [--requests N] [--seed N] >TRACE.jsonl

Some hundred conversations are open at a time. Each starts with one of a few
system prompts, and each turn asks for all that came before and adds some
blocks; between turns its user reads and thinks. Short conversations are common
and long ones rare. Now and then a job goes over documents that nobody asks for
again: bursts of requests that a cache should not give its room to.
"""
import argparse
import json
import random

OPEN = 400  # conversations at a time
PROMPTS = [24, 12, 12, 6, 6, 6, 3, 3]  # blocks of the system prompts


class Blocks:
    """Numbers that were not used before."""

    def __init__(self):
        self.next = 0

    def more(self, count):
        self.next += count
        return list(range(self.next - count, self.next))


def requests_of(chance, count):
    blocks = Blocks()
    prompts = [blocks.more(size) for size in PROMPTS]
    users = []
    made = 0
    while made < count:
        if chance.random() < 0.002:  # a job over documents
            prompt = chance.choice(prompts)
            for _ in range(chance.randrange(50, 400)):
                yield prompt + blocks.more(chance.randrange(8, 40))
                made += 1
            continue
        if len(users) < OPEN:
            turns = min(int(chance.paretovariate(1.1)), 60)
            users.append([list(chance.choice(prompts)), turns])
        # who asked lately is likelier to go on
        at = len(users) - 1 - int(len(users) * chance.random() ** 1.7)
        history, turns = users.pop(max(at, 0))
        history += blocks.more(1 + min(int(chance.expovariate(1 / 6)), 40))
        yield history
        made += 1
        if turns > 1:
            users.append([history, turns - 1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    for at, ids in enumerate(requests_of(chance, args.requests)):
        if at == args.requests:
            break
        print(json.dumps({"timestamp": at * 100,
                          "input_length": len(ids) * 512,
                          "output_length": 256, "hash_ids": ids}))


if __name__ == "__main__":
    main()
