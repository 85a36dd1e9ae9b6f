"""What caches answer of a trace that none of them can hold, when each takes the same memory, and what an entry takes of it.

Every server forwards to the same upstream, which counts what it is asked: whatever it is not asked was a hit. Nothing expires
meanwhile. A server's own size is what it is told, not what it takes: so the size is set again until the process has grown by
what was asked for, and only then hits are counted.
"""

import os
import random
import re
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from itertools import accumulate

import process
import report
import versions
from data import SEED, once
from measure import say

# Each as its own advice has it; there is "pdns-records", too, without the packet cache, which holds again what its records hold.
SERVERS = ["sinkscope", "unbound", "dnsdist", "pdns"]
MIB = 1 << 20
# Distinct questions, and the exponent of Zipf's law over them.
NAMES, EXPONENT = 2_000_000, 0.9
# By how much a process is to grow, in MiB, with queries that fill its cache and those counted behind them.
SIZES = {16: (300_000, 300_000), 64: (1_200_000, 300_000)}
# What a server is first told for each MiB: octets, or entries where it counts those.
A_MIB = {"sinkscope": 0.72 * MIB, "unbound": 0.855 * MIB, "dnsdist": 3_430, "pdns": 1_600, "pdns-records": 2_400}
# What these grow by with next to no cache, by as many queries, is no entry's: 35 MiB. They are told so many for that.
WITH_NONE = {"pdns": 200, "pdns-records": 200}
# How near to the size is near enough, how far off it is seen before hits are counted, and how often a server is told another.
NEAR, OFF, TRIES = 0.05, 0.15, 3
# How often a server is seen with next to no cache, and by what it is told more or less at most for one look.
FLOORS, MOST_MORE = 2, 4
# Of queries with one under way each, few: who drops none has them all counted.
IN_FLIGHT = 32
# Of names, those asked for both addresses.
AAAA_SHARE = 0.3
TOPS = ["com"] * 8 + ["net", "net", "org", "de", "co.uk", "io", "com.br", "info"]
HOSTS = [None] * 6 + ["www"] * 6 + ["api", "cdn", "m", "img", "static", "mail", "app", "edge", "assets", "login", "events.eu-west-1"]


def questions():
    """Distinct questions, the most popular first: made names of varied length below zones of varied numbers of hosts."""
    rng = random.Random(f"{SEED} hits")
    syllables = [a + b for a in "bcdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "ing")]
    found = {}
    zone = "example.com"
    while len(found) < NAMES:
        if rng.random() < 0.4:
            zone = "".join(rng.choices(syllables, k=rng.randint(2, 5))) + "." + rng.choice(TOPS)
        host = rng.choice(HOSTS)
        if rng.random() < 0.35:
            host = f"{rng.choice('abcdefgh')}{rng.randrange(10**rng.randint(1, 9))}" + (f".{host}" if host else "")
        name = f"{host}.{zone}" if host else zone
        found[f"{name} AAAA" if rng.random() < AAAA_SHARE else f"{name} A"] = None
    made = list(found)
    rng.shuffle(made)
    return made


class Trace:
    """The queries: the same for every server and size, those that fill and, drawn anew, those that are counted."""

    def __init__(self, folder):
        self.folder = folder
        self.made = None

    def part(self, kind, count):
        """A file of so many queries."""
        def write(path):
            self.made = self.made or questions()
            weights = list(accumulate(rank**-EXPONENT for rank in range(1, NAMES + 1)))
            with open(path, "w") as out:
                out.writelines(query + "\n" for query in random.Random(f"{SEED} {kind}").choices(
                    self.made, cum_weights=weights, k=count))
        return once(os.path.join(self.folder, f"hits-{kind}-{count}.txt"), write)


def metrics(page, name):
    """A number on a page for Prometheus; of several with that name their sum."""
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", page, re.MULTILINE)
    if not found:
        raise RuntimeError(f"no {name} is told")
    return int(sum(map(float, found)))


def told(server):
    """What a server holds, as it says itself: answers, and what else it counts, in words."""
    if server.name == "sinkscope":
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(f"{server.cwd}/control.sock")
            control.send(b"GET /v1/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            page = b"".join(iter(lambda: control.recv(1 << 16), b"")).decode()
        return metrics(page.replace("\r", ""), "sinkscope_cache_entries"), "answers"
    if server.name == "unbound":
        control = os.path.join(os.path.dirname(server.program), "unbound-control")
        said = subprocess.run([control, "-c", f"{server.cwd}/unbound.conf", "stats_noreset"], capture_output=True, text=True).stdout
        counts = dict(line.split("=") for line in said.split())
        return int(counts["msg.cache.count"]), f"answers, of {int(counts['rrset.cache.count']):,} record sets"
    with urllib.request.urlopen(f"http://127.0.0.1:{server.web}/metrics", timeout=10) as page:
        page = page.read().decode()
    if server.name == "dnsdist":
        return metrics(page, "dnsdist_pool_cache_entries"), "answers"
    packets = metrics(page, "pdns_recursor_packetcache_entries")
    return metrics(page, "pdns_recursor_cache_entries"), f"record sets, and {packets:,} answers"


@contextmanager
def path_first(folder):
    """Rivals are those of a folder meanwhile; those of the system where there is none."""
    before = process.PATH
    process.PATH = f"{folder}:{before}" if folder else before
    versions.of.cache_clear()
    try:
        yield
    finally:
        process.PATH = before
        versions.of.cache_clear()


class Growing:
    """A server told one size after the other."""

    def __init__(self, bench, name, folder):
        self.bench, self.name, self.folder = bench, name, folder
        # What it grows by that is no entry's, in MiB.
        self.floor = 0

    def run(self, room, mib, traces, size):
        """Starts it with that room, fills it, and counts hits unless it is far from having grown by `mib`: its figures."""
        bench = self.bench
        with path_first(self.folder):
            bench.setup.room = room
            server = bench.setup.make(self.name)
            bench.launch(server)
            server.program = process.found(server.command[0])
        try:
            # What it takes to answer, and to have so many under way, is no entry's.
            bench.replay(server, traces[0], "--count", 2_000, "--in-flight", IN_FLIGHT, "--flows", IN_FLIGHT)
            empty = self.memory(server)[0] + self.floor
            figures = {"title": server.title, "told": room, "filling": self.asked(server, traces[0], size[0])}
            if mib is None or room not in WITH_NONE.values() and abs((self.memory(server)[0] - empty) / mib - 1) <= OFF:
                figures |= self.asked(server, traces[1], size[1])
            grown, peak = (taken - empty for taken in self.memory(server))
            held, what = told(server)
            return figures | {"grown_mib": grown, "peak_mib": peak, "held": held, "what": what, "octets": grown * MIB / held}
        finally:
            process.end(server.process)

    @staticmethod
    def memory(server):
        """Resident memory now, and at most so far, in MiB."""
        return [mb * 1e6 / MIB for mb in process.memory_mb(server.process.pid)]

    def asked(self, server, trace, count):
        """Queries put to it, and what it asked upstream: every one must have been answered."""
        found = self.bench.replay(server, trace, "--count", count, "--in-flight", IN_FLIGHT, "--flows", IN_FLIGHT)
        wrong = {rcode: number for rcode, number in found["rcodes"].items() if rcode not in ("NOERROR", "NXDOMAIN")}
        if found["lost"] or found["mismatched"] or found["unsent"] or wrong or found["sent"] != count:
            self.bench.note(f"{server.title}, {server.name}: of {count} {found['sent']} sent, {found['lost']} lost, "
                            f"{found['mismatched']} mismatched, {wrong}")
        return {"queries": found["sent"], "asked": found["upstream"], "hit_rate": 1 - found["upstream"] / count,
                "kqps": found["qps"] / 1000}


def measure(bench, names, current, quick):
    """Hit rates at each size by every server, at equal memory."""
    bench.patience_s = 10
    port = process.free_port()
    mock = process.start([f"{bench.target}/examples/mock_upstream", f"127.0.0.1:{port}", "missing.example", "varied"],
                         [process.LOAD_CORE], f"{bench.setup.folder}/varied.log")
    bench.mock, bench.setup.upstream = mock, port
    trace = Trace(bench.data.folder)
    servers = [(name, None) for name in names] + [(name, current) for name in names if current and name != "sinkscope"]
    sizes = {16: (60_000, 60_000)} if quick else SIZES
    rows = []
    most = [max(size[part] for size in sizes.values()) for part in (0, 1)]
    fill, counted = trace.part("fill", most[0]), trace.part("counted", most[1])
    # What it took at one size is a good guess for the next.
    last = {}
    for mib, size in sizes.items():
        for name, folder in servers:
            growing = Growing(bench, name, folder)
            if name in WITH_NONE:
                # It comes and goes by tens of MiB: what it took the less often is what it takes.
                floors = [growing.run(WITH_NONE[name], mib, (fill, counted), size)["grown_mib"] for _ in range(FLOORS)]
                growing.floor = min(floors)
                say(f"{name} grows by {growing.floor:.1f} MiB with next to no cache")
            room = int(mib * last.get((name, folder), A_MIB[name]))
            for number in range(TRIES):
                # At last hits are counted, however much it takes: that is told.
                is_last = quick or number + 1 == TRIES
                found = growing.run(room, None if is_last else mib, (fill, counted), size)
                hits = f"{100 * found['hit_rate']:.2f} % hits" if "hit_rate" in found else "not counted"
                say(f"{found['title']} ({name}), told {room:,}: grown by {found['grown_mib']:.1f} MiB of {mib}, {hits}, "
                    f"{found['held']:,} held")
                if is_last or "hit_rate" in found and abs(found["grown_mib"] / mib - 1) <= NEAR:
                    break
                # One that seems to have shrunk is told more, and none is told several times as much for one look.
                room = int(room * min(MOST_MORE, max(1 / MOST_MORE, mib / max(found["grown_mib"], mib / MOST_MORE))))
            last[name, folder] = room / mib
            rows.append({"server": name, "current": folder is not None, "mib": mib, **found})
    process.end(mock)
    return section(rows, sizes)


def section(rows, sizes):
    """Runs as what the report shows."""
    text = [f"Every server forwards to the same upstream. Queries by Zipf's law (exponent {EXPONENT}) over {NAMES:,} questions, "
            f"{100 * AAAA_SHARE:.0f} % AAAA: an address, four, an alias and its address, no such name, nothing of that type. "
            "Nothing expires. Each is told another size until its process has grown by as much as all others, from when it had answered "
            "some queries (PowerDNS Recursor from what it takes with next to no cache), or three tries are over; then " + ", ".join(f"{fill:,} queries fill {mib} MiB and {counted:,} are counted" for mib, (fill, counted)
                                              in sizes.items()) + ". A hit is what upstream was not asked for. None was lost.",
            "",
            "| memory | server | told | grown, MiB | peak, MiB | hit rate, % | while filling, % | held | octets each |", "|---" * 9 + "|"]
    for row in rows:
        kind = " without packet cache" if row["server"] == "pdns-records" else ""
        text.append(f"| {row['mib']} MiB | {row['title']}{kind} | {row['told']:,} | {row['grown_mib']:.1f} | {row['peak_mib']:.1f} | "
                    f"{100 * row['hit_rate']:.2f} | {100 * row['filling']['hit_rate']:.2f} | {row['held']:,} {row['what']} | "
                    f"{row['octets']:.0f} |")
    targets = []
    for mib in sizes:
        ours = [row["hit_rate"] for row in rows if row["mib"] == mib and row["server"] == "sinkscope"]
        best = [row["hit_rate"] for row in rows if row["mib"] == mib and row["server"] != "sinkscope"]
        if ours and best:
            value, limit = 100 * ours[0], round(100 * max(best), 2)
            targets.append({"what": f"hit rate at {mib} MiB, in %", "value": value, "limit": limit, "least": True,
                            "pass": value >= limit})
    return {"text": text, "targets": targets, "rows": rows}
