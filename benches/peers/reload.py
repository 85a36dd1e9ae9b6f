"""A list replaced under load: who loses queries, for how long nobody answers, and when the new list counts."""

import json
import os
import shutil
import subprocess
import time
from statistics import median

import process
from data import Data, listed
from measure import say

# Queries a second, and the second of a run at which the list is replaced.
RATE, AT_S = 20_000, 4
# The name that comes, at the end of the list, and the one that leaves, at its beginning.
ADDED, REMOVED = "added-by-the-reload.zone7.example", listed(0)
# A load that was away for longer, in milliseconds, has no say: its round is left out.
STALL_LIMIT_MS = 10
# Names of each kind that are asked for over and over.
ASKED = 40_000
# What must be shown of ours: gap in milliseconds, new rule live in seconds, memory peak in times of that before.
LIMITS = {"gap_ms": 10, "net_gap_ms": 10, "live_s": 1, "peak": 2}
ONE, BOTH = [process.SERVER_CORE], [process.SERVER_CORE, process.LOAD_CORE]


class Case:
    """A way to reload a server."""

    def __init__(self, title, server, cores, seconds, files, command, watch=True):
        self.title, self.server, self.cores, self.seconds = title, server, cores, seconds
        self.files, self.command, self.watch = files, command, watch

    def line(self, server):
        """The shell line that puts the new list in place and says so to a server."""
        moves = [f"mv {server.cwd}/new/{name} {server.cwd}/{name}" for name in self.files]
        return " && ".join(moves + ([self.command(server)] if self.command else []))


def control(*words):
    """Unbound's remote control, given a server."""
    return lambda server: f"unbound-control -c {server.cwd}/unbound.conf " + " ".join(words)


def recursor(server):
    """PowerDNS Recursor's; it would wait for 5 seconds, and a million names take longer."""
    return f"rec_control --timeout=60 --config-dir={server.cwd} --socket-dir={server.cwd} reload-lua-config"


def hangup(server):
    """SIGHUP to a server."""
    return f"kill -HUP {server.process.pid}"


CASES = {
    "watch": Case("Sinkscope, file watch", "sinkscope", ONE, 10, ["list.txt"], None),
    "hangup": Case("Sinkscope, SIGHUP", "sinkscope", ONE, 10, ["list.txt"], hangup, watch=False),
    "watch-both": Case("Sinkscope, file watch, both cores", "sinkscope", BOTH, 10, ["list.txt"], None),
    "pdns": Case("PowerDNS Recursor, reload-lua-config", "pdns", ONE, 20, ["rpz.zone"], recursor),
    "pdns-both": Case("PowerDNS Recursor, reload-lua-config, both cores", "pdns", BOTH, 20, ["rpz.zone"], recursor),
    "unbound": Case("Unbound, local zones, reload_keep_cache", "unbound", ONE, 20, ["unbound.lists"],
                    control("reload_keep_cache")),
    "unbound-rpz": Case("Unbound, RPZ, auth_zone_reload", "unbound-rpz", ONE, 34, ["rpz.zone"],
                        control("auth_zone_reload", "rpz.local")),
}


class Own(Data):
    """The list in a folder of its own, where it may change."""

    def native(self, name):
        """The list in one of FORMATS, as a copy; its successor waits in `new/`."""
        # Unbound's own configuration has that name in the server's folder.
        here = os.path.join(self.own, "unbound.lists" if name == "unbound.conf" else name)
        there = os.path.join(self.own, "new", os.path.basename(here))
        os.makedirs(os.path.dirname(there), exist_ok=True)
        whole = super().native(name)
        shutil.copyfile(whole, here)
        with open(whole) as old, open(there, "w") as new:
            for line in old:
                # A zone whose serial stays is the same zone.
                if line.startswith("@ IN SOA"):
                    line = line.replace(" 1 3600", " 2 3600")
                if REMOVED not in line:
                    new.write(line)
            new.write({"list.txt": "{0}\n", "unbound.conf": 'local-zone: "{0}" always_nxdomain\n',
                       "rpz.zone": "{0} CNAME .\n*.{0} CNAME .\n"}[name].format(ADDED))
        return here


def queries(data):
    """A file with the names that must be and those that must not be sinkholed, in turn."""
    path = data.path(f"reload-{data.kind}.txt")
    with open(path, "w") as out:
        for name, innocent in zip(data.sample(min(ASKED, data.count)), data.popular):
            # The last of the sample is the first of the list, at some sizes.
            out.write(f"{innocent} innocent\n" + (f"{name} listed\n" if name != REMOVED else ""))
    return path


def one(bench, case):
    """Starts a server, warms it, replaces its list under load; what was seen."""
    folder = os.path.join(bench.setup.folder, case.server)
    shutil.rmtree(folder, ignore_errors=True)
    bench.data.own = folder
    bench.start([case.server])
    if not bench.servers:
        raise RuntimeError(f"{case.title} does not start")
    server = bench.servers[0]
    if not case.watch:
        # Before it serves for good: the configuration is read at the start.
        process.end(server.process)
        config = f"{server.cwd}/sinkscope.toml"
        with open(config) as text:
            changed = text.read().replace('paths = ["orders"]', 'paths = ["orders"]\nwatch = false')
        bench.setup.write(config, changed)
        bench.launch(server)
    bench.warm()
    for thread in os.listdir(f"/proc/{server.process.pid}/task"):
        os.sched_setaffinity(int(thread), case.cores)
    noise, own = process.Noise(), bench.own_s(server)
    # A measure that is itself scheduled late measures the scheduler. Real-time priority is worse: Linux then gives
    # ordinary processes 50 ms in one piece, once a second.
    first = ["nice", "-n", "-20"] if os.geteuid() == 0 else []
    command = first + ["taskset", "-c", str(process.LOAD_CORE), f"{bench.target}/examples/steady",
                       f"127.0.0.1:{server.port}", str(RATE), str(case.seconds), queries(bench.data), str(AT_S), ADDED,
                       REMOVED, "--", "nice", "-n", "20", "sh", "-c", case.line(server)]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "PATH": process.PATH})
    time.sleep(AT_S - 0.5)
    pid = server.process.pid
    before = process.memory_mb(pid)[0]
    # The peak counts from here on (proc(5)).
    with open(f"/proc/{pid}/clear_refs", "w") as refs:
        refs.write("5")
    out, errors = asking.communicate()
    if not out:
        raise RuntimeError(f"{case.title}: {errors}")
    seen = json.loads(out)
    after, peak = process.memory_mb(pid)
    seen |= {"before_mb": before, "peak_mb": peak, "after_mb": after, "peak": peak / before, "steal": noise.steal(),
             "foreign": noise.foreign(bench.own_s(server) - own)}
    process.end(server.process)
    bench.servers = []
    return seen


def figures(runs, key, form="{:.1f}"):
    """Median and range of a figure; what was not seen within the run is "never"."""
    values = sorted(float("inf") if run[key] is None else run[key] for run in runs)
    show = lambda value: "never" if value == float("inf") else form.format(value)
    middle, least, most = show(median(values)), show(values[0]), show(values[-1])
    return middle if least == most else f"{middle} ({least} to {most})"


def counts(run):
    """Whether the load was on time."""
    return run["stall_ms"] <= STALL_LIMIT_MS


def markdown(about, runs):
    """The report."""
    lines = [
        "# A list replaced under load\n",
        f"{about}\n",
        f"A list of a million names and all below them, replaced by one with a name more and one less while {RATE} queries a "
        f"second come, half of them for listed and half for innocent names ({ASKED} of each; 100,000 innocent ones are cached). "
        "Every reply is read. Lost: no answer within 2 s. Gap: the longest time between two answers after the list "
        "was replaced (before it, in brackets), and the same without the times of more than 1 ms in which the load itself was not "
        "running. Live: until the new name was sinkholed for good: for a name below it that "
        "nobody had asked for, and for itself, asked before. Gone: until the removed name was answered truthfully. Memory: "
        "resident before, at most, and at the end. One thread a server, on one core unless it says both; load and upstream "
        f"on the other. Median (range) of the rounds in which the load itself was never away for more than "
        f"{STALL_LIMIT_MS} ms.\n",
        "| reload | rounds | lost of sent | failed | wrong | longest gap, ms | without the load's own, ms | new name live, s | "
        "asked before, s | removed name gone, s | memory, MB | peak, times |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    for name, rounds in runs.items():
        case, kept = CASES[name], [run for run in rounds if counts(run)]
        if not kept:
            lines.append(f"| {case.title} | 0 of {len(rounds)} |" + " |" * 10)
            continue
        memory = " to ".join(figures(kept, key, "{:.0f}") for key in ("before_mb", "peak_mb"))
        lines.append(
            f"| {case.title} | {len(kept)} of {len(rounds)} | {figures(kept, 'lost', '{:,.0f}')} of {kept[0]['sent']:,} | "
            f"{figures(kept, 'failed', '{:,.0f}')} | {figures(kept, 'wrong', '{:,.0f}')} | "
            f"{figures(kept, 'gap_ms')} [{figures(kept, 'gap_before_ms')}] | {figures(kept, 'net_gap_ms')} | {figures(kept, 'live_below_s', '{:.2f}')} | "
            f"{figures(kept, 'live_s', '{:.2f}')} | {figures(kept, 'gone_s', '{:.2f}')} | "
            f"{memory}, then {figures(kept, 'after_mb', '{:.0f}')} | {figures(kept, 'peak', '{:.2f}')} |")
        if case.server == "sinkscope":
            # The worst round, not the median.
            worst = {key: max(float("inf") if run[key] is None else run[key] for run in kept) for key in LIMITS}
            none = all(run["lost"] == run["wrong"] == run["failed"] == 0 for run in kept)
            met = [f"lost, failed or wrong: {'none' if none else 'SOME'}"] + [
                f"{key} at most {worst[key]:.2f}, limit {limit}: {'pass' if worst[key] <= limit else 'FAIL'}"
                for key, limit in LIMITS.items()]
            verdicts.append(f"- {case.title}: " + "; ".join(met) + ".")
    everything = [run for rounds in runs.values() for run in rounds]
    lines += ["", "Worst round of ours:\n", *verdicts, "",
              f"Other processes took {figures(everything, 'foreign', '{:.0f} %')} of the two cores, the hypervisor "
              f"{figures(everything, 'steal', '{:.0f} %')} of the worse one; load average at the end "
              f"{os.getloadavg()[0]:.1f}."]
    return "\n".join(lines) + "\n"


def measure(bench, rounds, names, stem, about):
    """All cases in turn, `rounds` times, added to what the day's file has; both files are written as it goes."""
    runs = {}
    if os.path.exists(stem + ".json"):
        with open(stem + ".json") as file:
            runs = json.load(file)
    runs = {name: runs.get(name, []) for name in CASES if name in names or name in runs}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            case = CASES[name]
            seen = one(bench, case)
            runs[name].append(seen)
            say(f"round {number + 1} of {rounds}, {case.title}: lost {seen['lost']} of {seen['sent']}, wrong "
                f"{seen['wrong']}, gap {seen['gap_ms']:.1f} ms, live {seen['live_below_s']} s, {seen['before_mb']:.0f} to "
                f"{seen['peak_mb']:.0f} MB; the load was away for {seen['stall_ms']:.1f} ms")
            for path, text in ((".json", json.dumps(runs, indent=1)), (".md", markdown(about, runs))):
                with open(stem + path, "w") as out:
                    out.write(text)
