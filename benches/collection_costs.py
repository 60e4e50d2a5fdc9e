#!/usr/bin/env python3
"""Memory of small collections, and how long big ones hold up other clients, for servers that are running already.

    target/peers/bin/python benches/collection_costs.py shardis=7000 redis=7001 ...

Each port's database must be empty; all of it is flushed. Memory is resident memory (INFO used_memory_rss) before and after, per key.
The second table: a client sends PING as fast as it can while another deletes (DEL) or overwrites (SET) one collection of a million
members, or copies it (COPY); the longest PING in ms."""

import sys
import threading
import time

import redis

SMALL_KEYS = 100_000
BIG_MEMBERS = int(sys.argv.pop(1)) if sys.argv[1].isdigit() else 1_000_000

SMALL = {
    "hash of 5 fields": lambda p, row, i: p.hset(f"{row}:{i}", mapping={f"field{f}": f"value{i + f}" for f in range(5)}),
    "hash of 40 fields": lambda p, row, i: p.hset(f"{row}:{i}", mapping={f"field{f}": f"value{i + f}" for f in range(40)}),
    "list of 5": lambda p, row, i: p.rpush(f"{row}:{i}", *(f"value{i + e}" for e in range(5))),
    "set of 5 words": lambda p, row, i: p.sadd(f"{row}:{i}", *(f"value{i + e}" for e in range(5))),
    "set of 10 integers": lambda p, row, i: p.sadd(f"{row}:{i}", *(i + e for e in range(10))),
    "sorted set of 5": lambda p, row, i: p.zadd(f"{row}:{i}", {f"member{i + e}": e for e in range(5)}),
    "stream of 3": lambda p, row, i: [p.xadd(f"{row}:{i}", {"field": f"value{i}"}, id=f"1-{e + 1}") for e in range(3)],
    "hash of 1000 fields": lambda p, row, i: i % 200 or p.hset(f"{row}:{i}", mapping={f"field{f}": f"value{i + f}" for f in range(1000)}),
    "sorted set of 1000": lambda p, row, i: i % 200 or p.zadd(f"{row}:{i}", {f"member{i + e}": e for e in range(1000)}),
}

BIG = {
    "set": lambda p, key, members: p.sadd(key, *(f"member:{m}" for m in members)),
    "hash": lambda p, key, members: p.hset(key, mapping={f"field:{m}": f"value:{m}" for m in members}),
    "sorted set": lambda p, key, members: p.zadd(key, {f"member:{m}": m for m in members}),
    "list": lambda p, key, members: p.rpush(key, *(f"element:{m}" for m in members)),
}


def resident(client):
    time.sleep(0.3)
    return client.info("memory")["used_memory_rss"]


def small(client):
    client.flushall()
    for row, (name, add) in enumerate(SMALL.items()):
        # What is there already stays: freed memory that is used again would count as none.
        before, keys = resident(client), client.dbsize()
        pipe = client.pipeline(transaction=False)
        for i in range(SMALL_KEYS):
            add(pipe, row, i)
            if i % 500 == 499:
                pipe.execute()
        pipe.execute()
        yield name, (resident(client) - before) / (client.dbsize() - keys)
    client.flushall()


def longest_ping(port, action):
    client, done, longest = redis.Redis(port=port), threading.Event(), [0.0]

    def ping():
        while not done.is_set():
            start = time.perf_counter()
            client.ping()
            longest[0] = max(longest[0], time.perf_counter() - start)

    thread = threading.Thread(target=ping)
    thread.start()
    time.sleep(0.2)
    quiet, longest[0] = longest[0], 0.0
    start = time.perf_counter()
    action()
    took = time.perf_counter() - start
    time.sleep(1.0)
    done.set()
    thread.join()
    return took * 1000, longest[0] * 1000, quiet * 1000


def big(port):
    client = redis.Redis(port=port)
    for name, add in BIG.items():
        client.flushall()
        for start in range(0, BIG_MEMBERS, 1000):
            add(client, "big", range(start, min(start + 1000, BIG_MEMBERS)))
        yield f"COPY {name}", longest_ping(port, lambda: client.copy("big", "copy"))
        yield f"SET over {name}", longest_ping(port, lambda: client.set("copy", "x"))
        yield f"DEL {name}", longest_ping(port, lambda: client.delete("big"))
    client.flushall()


servers = dict(argument.split("=") for argument in sys.argv[1:])
rows = {}
for name, port in servers.items():
    for row, value in small(redis.Redis(port=int(port))):
        rows.setdefault(row, {})[name] = f"{value:.0f}"
print(f"{'bytes per key':24}", *(f"{name:>12}" for name in servers))
for row, values in rows.items():
    print(f"{row:24}", *(f"{values[name]:>12}" for name in servers))
rows = {}
for name, port in servers.items():
    for row, (took, longest, quiet) in big(int(port)):
        rows.setdefault(row, {})[name] = f"{took:.1f} / {longest:.1f} / {quiet:.1f}"
print(f"\nms of the command / longest PING meanwhile / longest PING before; {BIG_MEMBERS} members")
for row, values in rows.items():
    print(f"{row:24}", *(f"{values[name]:>24}" for name in servers))
