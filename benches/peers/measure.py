"""Servers of one size started, checked, warmed, and measured in turn."""

import json
import resource
import subprocess
import time

import client
import process
from data import LISTED_SHARE, MISSING_SHARE
from servers import DEFAULT

# Queries in flight, over as many client sockets.
IN_FLIGHT = 128
# Above this share of hypervisor steal a run says more about the neighbours than about the server, in per cent.
STEAL_LIMIT = 8
# Replies with another response code than due, and lost queries: the share above which a run is wrong. One query in 100
# is a miss, and a server may drop a few of those.
WRONG_SHARE = 0.002
# Share of queries above which more than the missing names reached the upstream: then a cache does not hold what it must.
UPSTREAM_SHARES = {"a": 0.001, "b": 0.001, "c": 0.02}
# Warm-up passes at most, until all is cached.
WARM_PASSES = 4
# How long loading may take, in seconds, by list size: BIND and Unbound's RPZ take five minutes for ten million names.
LOAD_LIMITS = [(100_000, 60), (2_000_000, 180), (100_000_000, 900)]
TESTS = {"a": "cached", "b": "sinkholed", "c": "mix"}

_began = time.monotonic()


def say(text):
    """A progress line, with the time since the start."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


class Bench:
    """What all measurements share: where things are, and the servers that run."""

    # When a query without a reply counts as lost, in seconds.
    patience_s = 1

    def __init__(self, target, folder, data, setup, mock):
        self.target, self.folder, self.data, self.setup, self.mock = target, folder, data, setup, mock
        self.servers = []
        # What was wrong: text for the report.
        self.wrong = []

    def replay(self, server, trace, *options):
        """One run of our replay against a server; its JSON report, with the noise around it."""
        command = ["taskset", "-c", str(process.LOAD_CORE), f"{self.target}/sinkscope", "replay", trace, "--json",
                   "--server", f"127.0.0.1:{server.port}", "--pid", str(server.process.pid), "--name", server.title,
                   "--timeout", str(self.patience_s), *map(str, options)]
        noise, own, asked = process.Noise(), self.own_s(server), client.upstream_count(self.setup.upstream)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not done.stdout:
            raise RuntimeError(f"replay of {trace} against {server.name}: {done.stderr}")
        report = json.loads(done.stdout)
        report["upstream"] = client.upstream_count(self.setup.upstream) - asked
        report["steal"] = noise.steal()
        report["foreign"] = noise.foreign(self.own_s(server) - own)
        return report

    def own_s(self, server):
        """CPU seconds of everything that takes part in a run."""
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours = sum(usage.ru_utime + usage.ru_stime for usage in spent)
        return ours + process.cpu_s(server.process.pid) + process.cpu_s(self.mock.pid)

    def note(self, text):
        """Says that something was wrong, and keeps it for the report."""
        say("WRONG: " + text)
        self.wrong.append(text)

    def launch(self, server):
        """Starts a server on both cores, as it would start on this machine, watches it load, then gives it its core."""
        limit_s = next(limit for count, limit in LOAD_LIMITS if self.data.count <= count)
        cores = [process.SERVER_CORE, process.LOAD_CORE]
        server.process = process.start(server.command, cores, f"{server.cwd}/log", cwd=server.cwd)
        if server.denial is None:
            client.wait_for(server.port, server.process)
            process.confine(server.process, process.SERVER_CORE)
            return
        shown = client.watch_load(server.port, server.process, self.data.sample(40), limit_s)
        # What it frees after loading, it frees soon.
        time.sleep(0.5)
        rss, peak = process.memory_mb(server.process.pid)
        server.load = {**shown, "cpu_s": process.cpu_s(server.process.pid), "rss_mb": rss, "peak_mb": peak}
        process.confine(server.process, process.SERVER_CORE)

    def start(self, names, again=()):
        """Sets up and starts servers; those in `again` a second time, which shows what they kept on disk. A server that
        fails is left out, and said so."""
        for name in names:
            server = self.setup.make(name)
            try:
                self.launch(server)
                if name in again:
                    first = server.load
                    process.end(server.process)
                    self.launch(server)
                    server.load = {**first, "again_s": server.load["ready_s"]}
            except RuntimeError as error:
                self.note(f"{server.title}: {error}; see {server.cwd}/log")
                process.end(server.process)
                continue
            self.servers.append(server)
            if server.load:
                load = server.load
                say(f"{server.title}: ready after {load['ready_s']:.2f} s, {load['rss_mb']:.0f} MB, "
                    f"{load['truthful']} of {load['asked']} listed names answered truthfully meanwhile")
        self.check()

    def check(self):
        """Sinkholed names are, innocent ones are not, for every server; nothing is measured that is wrong."""
        listed = self.data.sample(150) + ["below." + name for name in self.data.sample(50)]
        innocent = self.data.popular[:100] + [f"innocent{number}.zone{number % 24}.example" for number in range(50)]
        for server in self.servers:
            if server.denial is not None:
                for wrong in client.spot_check(server.port, listed, innocent)[:3]:
                    self.note(f"{server.title}: {wrong}")

    def warm(self):
        """Every popular name through every server until it has them all, so that the mix misses only what is missing; and
        listed names for a second, so that what is mapped is in memory."""
        for server in self.servers:
            if server.denial is None:
                continue
            # Few at a time: what is dropped is not cached. What was, comes the next time.
            for passes in range(1, WARM_PASSES + 1):
                report = self.replay(server, self.data.warm(), "--in-flight", 48, "--flows", 16)
                if max(report["lost"], report["upstream"]) <= UPSTREAM_SHARES["a"] * report["sent"]:
                    break
            else:
                self.note(f"{server.title}: warming up, {report['lost']} lost, {report['upstream']} of "
                          f"{report['sent']} names not cached, {report['rcodes']}")
            self.replay(server, self.data.sinkholed(), "--for", 1)
            say(f"{server.title}: warm after {passes} passes, {report['qps'] / 1000:.0f} kq/s")
            server.load["warm_mb"] = process.memory_mb(server.process.pid)[0]

    def right(self, server, test, report):
        """Whether the answers of a run are what they must be; says so if not."""
        if server.denial is None:
            due = report["received"]
        else:
            rcodes = report["rcodes"]
            fine = {"a": ["NOERROR"], "b": [server.denial], "c": ["NOERROR", "NXDOMAIN"]}[test]
            due = sum(rcodes.get(rcode, 0) for rcode in fine)
        off = report["received"] - due + report["lost"] + report["mismatched"] + report["unsent"]
        if test == "c" and server.denial is not None:
            denied = report["rcodes"].get("NXDOMAIN", 0) / max(1, report["received"])
            share = MISSING_SHARE + (0 if server.denial == "NOERROR" else LISTED_SHARE)
            # Five standard deviations of a sample as large, and what the mix itself may be off.
            if abs(denied - share) > 0.002 + 5 * (share / max(1, report["received"])) ** 0.5:
                self.note(f"{server.title}, mix: {100 * denied:.1f} % NXDOMAIN, not {100 * share:.0f} %")
        # Health checks are two a second at most.
        if report["upstream"] > UPSTREAM_SHARES[test] * report["sent"] + 10:
            self.note(f"{server.title}, {TESTS[test]}: {report['upstream']} of {report['sent']} queries reached the "
                      "upstream")
            return False
        if off > WRONG_SHARE * report["sent"]:
            self.note(f"{server.title}, {TESTS[test]}: {report['lost']} lost, {report['mismatched']} mismatched, "
                      f"{report['rcodes']} of {report['sent']}")
            return False
        return True

    def rounds(self, count, seconds):
        """All tests, all servers, `count` times in turn. Returns runs as {test: {server: [run or None]}}."""
        runs = {test: {server.name: [] for server in self.servers} for test in TESTS}
        # Enough for twice the echo's rate: a mix that begins anew misses nothing the second time.
        lines = int(350_000 * max(1, seconds))
        for number in range(count):
            traces = {"a": self.data.cached(), "b": self.data.sinkholed(), "c": self.data.mix(number, lines)}
            for test, trace in traces.items():
                figures = []
                for server in self.order(number):
                    report = self.replay(server, trace, "--in-flight", IN_FLIGHT, "--flows", IN_FLIGHT,
                                         "--for", seconds)
                    if test == "c" and server.denial is not None and report["sent"] > lines:
                        self.note(f"{server.title}: the mix of {lines} queries was too short")
                    good = self.right(server, test, report)
                    run = figures_of(report)
                    runs[test][server.name].append(run if good else None)
                    figures.append(f"{server.name} {run['cpu_us']:.2f}")
                say(f"round {number + 1} of {count}, {TESTS[test]}: " + ", ".join(figures) + " us")
        return runs

    def order(self, number):
        """Who comes when in a round: the echo and ourselves side by side, each first in turn; the rest goes round."""
        first = [server for server in self.servers if server.name in DEFAULT[:2]]
        rest = [server for server in self.servers if server.name not in DEFAULT[:2]]
        turn = number % max(1, len(rest))
        return (first if number % 2 == 0 else first[::-1]) + rest[turn:] + rest[:turn]

    def end(self):
        """Asks everything once more, as a list that was lost under load would go unseen, and ends the servers."""
        for server in self.servers:
            if server.process.poll() is not None:
                self.note(f"{server.title} ended by itself; see {server.cwd}/log")
        self.servers = [server for server in self.servers if server.process.poll() is None]
        self.check()
        for server in self.servers:
            process.end(server.process)
        self.servers = []


def figures_of(report):
    """What is kept of a replay's report."""
    cpu = report["server_cpu"]
    return {
        "cpu_us": cpu["us_per_query"],
        "user_us": cpu["user_us_per_query"],
        "kqps": report["qps"] / 1000,
        "cores": cpu["cores"],
        "p50_us": report["latency_us"]["p50"],
        "p99_us": report["latency_us"]["p99"],
        "sent": report["sent"],
        "lost": report["lost"],
        "load_busy": report["load_busy"],
        "upstream": report["upstream"],
        "steal": report["steal"],
        "foreign": report["foreign"],
    }
