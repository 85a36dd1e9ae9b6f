"""What is measured besides the table: latency at a fixed rate, idle cost, loss below the maximum, replays of one trace."""

import json
import os
import subprocess
import time

import process
import report
from measure import IN_FLIGHT, figures_of, say

# Queries a second of the latency figure, and who is in it.
LATENCY_RATE = 20_000
LATENCY_SERVERS = ["echo", "sinkscope", "unbound", "pdns", "dnsdist-cdb"]
REPLAY_SERVERS = ["sinkscope", "unbound", "dnsdist-cdb"]
# Share of the maximum rate at which nothing may be lost.
LOSS_SHARE = 0.6


def latency(bench, rounds, seconds):
    """p50 and p99 of the mix at a fixed rate, in turn."""
    bench.start(LATENCY_SERVERS)
    bench.warm()
    runs = {server.name: [] for server in bench.servers}
    titles = {server.name: server.title for server in bench.servers}
    for number in range(rounds):
        # Each round asks for missing names of its own, and leaves nobody out of time.
        trace = bench.data.mix(1000 + number, int(LATENCY_RATE * seconds * 1.1))
        for server in bench.order(number):
            found = bench.replay(server, trace, "--rate", LATENCY_RATE, "--flows", IN_FLIGHT, "--for", seconds)
            good = bench.right(server, "c", found)
            runs[server.name].append(figures_of(found) if good else None)
        say(f"latency, round {number + 1} of {rounds}: " + ", ".join(
            f"{name} {mine[-1]['p50_us']:.0f}" if mine[-1] else f"{name} wrong" for name, mine in runs.items())
            + " us")
    bench.end()
    text = [f"{LATENCY_RATE:,} queries a second, {rounds} rounds of {seconds} s, {bench.data.count:,} listed names; "
            "microseconds.", "", "| server | p50 | beside the echo's | p99 | CPU us |", "|---|---|---|---|---|"]
    found, sections = [], {}
    for name, mine in runs.items():
        kept = [run for run in mine if report.quiet(run)]
        beside = report.ratios(mine, runs.get("echo", []), "p50_us")
        sections[name] = {key: report.spread(run[key] for run in kept) for key in ("p50_us", "p99_us", "cpu_us")}
        sections[name]["to_echo"] = beside
        text.append(f"| {titles[name]} | {report.shown(sections[name]['p50_us'], 1)} | {report.shown(beside, 2)} | "
                    f"{report.shown(sections[name]['p99_us'], 0)} | {report.shown(sections[name]['cpu_us'], 2)} |")
        if name == "sinkscope":
            value = beside[0] if beside else None
            passed = value is not None and value <= report.LATENCY_LIMIT
            found.append({"what": "p50 beside the echo's", "value": value, "limit": report.LATENCY_LIMIT,
                          "least": False, "pass": passed})
    return {"text": text, "targets": found, "servers": sections, "runs": runs}


def idle(bench, seconds):
    """Our own CPU time while nobody asks."""
    bench.start(["sinkscope"])
    if not bench.servers:
        return {"text": ["Did not start."], "targets": []}
    pid = bench.servers[0].process.pid
    time.sleep(2)
    before, ticks = process.thread_cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    after, passed = process.thread_cpu_s(pid), time.monotonic() - ticks
    # The thread that loaded the list ends meanwhile, after ten idle seconds.
    share = 100 * sum(used - before.get(thread, 0) for thread, used in after.items()) / passed
    bench.end()
    say(f"idle: {share:.4f} % of a core")
    return {"text": [f"Sinkscope with {bench.data.count:,} listed names used {share:.4f} % of a core over {seconds} s "
                     "without queries (from schedstat, all threads)."],
            "targets": [{"what": "idle, per cent of a core", "value": share, "limit": report.IDLE_LIMIT, "least": False,
                         "pass": share <= report.IDLE_LIMIT}]}


def loss(bench, seconds):
    """Nothing lost at 60 % of the maximum rate, which is found first."""
    bench.start(["sinkscope"])
    bench.warm()
    text = ["| queries | maximum | sent at 60 % | lost | p50 us | p99 us |", "|---|---|---|---|---|---|"]
    found = []
    for server in bench.servers:
        # Each test has a mix of its own, long enough for any rate.
        traces = {"cached": [bench.data.cached()] * 2, "sinkholed": [bench.data.sinkholed()] * 2,
                  "mix": [bench.data.mix(2000, 1_000_000), bench.data.mix(2001, int(250_000 * seconds))]}
        for name, (first, second) in traces.items():
            top = bench.replay(server, first, "--in-flight", IN_FLIGHT, "--flows", IN_FLIGHT, "--for", 2)["qps"]
            rate = int(top * LOSS_SHARE)
            at = bench.replay(server, second, "--rate", rate, "--flows", IN_FLIGHT, "--for", seconds)
            text.append(f"| {name} | {top / 1000:.0f}k | {at['sent']:,} at {rate / 1000:.0f}k | {at['lost']} | "
                        f"{at['latency_us']['p50']:.0f} | {at['latency_us']['p99']:.0f} |")
            text += [f"  ({note})" for note in at["notes"]]
            found.append({"what": f"{name}, lost at 60 %", "value": at["lost"], "limit": 0, "least": False,
                          "pass": at["lost"] == 0})
            say(f"loss, {name}: {at['lost']} of {at['sent']} at {rate} a second")
    bench.end()
    return {"text": text, "targets": found}


def replays(bench, count, out):
    """One made trace, as text and as a capture of it, against three servers: reports for machines and people in `out`."""
    bench.start(REPLAY_SERVERS)
    orders = f"{bench.folder}/sinkscope/orders"
    formats = {"text": ("trace.txt", []), "pcap": ("trace.pcap", ["--format", "pcap"])}
    os.makedirs(out, exist_ok=True)
    text = ["| trace | server | sent | lost | kq/s | p50 us | p99 us | CPU us | rcodes |",
            "|---|---|---|---|---|---|---|---|---|"]
    for kind, (name, options) in formats.items():
        trace = f"{bench.folder}/{name}"
        # The same seed: the capture holds the same queries.
        subprocess.run([f"{bench.target}/sinkscope", "trace", "make", "--count", str(count), "--orders", orders,
                        "--seed", "1", "--output", trace, *options], check=True, cwd=bench.folder)
        for server in bench.servers:
            stem = f"{out}/replay-{kind}-{server.name}"
            found = bench.replay(server, trace, "--in-flight", IN_FLIGHT, "--flows", IN_FLIGHT, "--warm-up",
                                 "--count", count, "--html", f"{stem}.html")
            with open(f"{stem}.json", "w") as file:
                json.dump(found, file, indent=1)
            rcodes = ", ".join(f"{code} {100 * times / max(1, found['received']):.1f} %"
                               for code, times in found["rcodes"].items())
            text.append(f"| {kind} | {server.title} | {found['sent']:,} | {found['lost']} | {found['qps'] / 1000:.0f} | "
                        f"{found['latency_us']['p50']:.0f} | {found['latency_us']['p99']:.0f} | "
                        f"{found['server_cpu']['us_per_query']:.2f} | {rcodes} |")
            say(f"replay of {kind} against {server.name}: {found['qps'] / 1000:.0f} kq/s, {found['lost']} lost")
    bench.end()
    text += ["", f"`sinkscope trace make --count {count} --seed 1` over the list, warmed up with itself; reports with "
             f"plots: {os.path.basename(out)}/replay-*.html."]
    return {"text": text, "targets": []}
