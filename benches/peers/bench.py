"""Sinkscope beside its rivals: what the command line asks for, measured and written as it comes."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Callable

import entropy
import extras
import faults
import forging
import hits
import misses
import process
import reload
import report
import versions
from data import MISSING, Data
from measure import Bench, say
from servers import DEFAULT, LARGEST, MAKERS, Setup

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SIZES = {"22k": 22_000, "1m": 1_000_000, "10m": 10_000_000}
# The size of what is measured at one size only.
USUAL = "1m"
ABOUT = """\
Starts every server with one thread on core 0, with the same list and the same upstream, and measures them in turn from
core 1 with `sinkscope replay`. All traffic stays on loopback. Missing Debian packages are installed first; other versions
of a rival are measured where PATH leads to them first.

Results go to DIR/peers-DATE.json and .md and are written as they come; what the file already holds of the same day
stays, so sizes and extras can be measured one by one. On an idle machine: 22k and 1m with 5 rounds take about 11
minutes, 10m restricted to echo, sinkscope and dnsdist-cdb about 5, and the four extras together about 4.

What is about upstreams (--misses, --hit-rate, --entropy, --forging, --faults, --closes) needs no list; its results go to
upstream-DATE.json and .md. They take about 5, 10, 8, 12, 9 and 6 minutes; --faults --strategies all takes about 11.
"""


@dataclass
class Step:
    """Something that is measured about upstreams: its heading, what the help says, which servers it is about, and how."""
    title: str
    help: str
    servers: list
    measure: Callable


# In the order in which they are measured and told.
UPSTREAM = {
    "misses": Step(
        "Misses", "queries that no cache answers, by servers that only forward: CPU time, latency, ports", misses.SERVERS,
        lambda bench, names, args: misses.measure(bench, names, args.runs, args.seconds)),
    "hit_rate": Step(
        "Hit rate at equal memory", "what caches answer of a Zipf trace that none of them can hold, and what an entry takes",
        hits.SERVERS, lambda bench, names, args: hits.measure(bench, names, args.current, args.quick)),
    "entropy": Step(
        "What a forger has to guess", "ports, IDs and case of our questions; fails where chance does not explain them",
        entropy.SERVERS, lambda bench, names, args: entropy.measure(bench, names, args.questions)),
    "forging": Step(
        "Forged replies", "forged replies beside right ones: whose answers are given", forging.SERVERS,
        lambda bench, names, args: forging.measure(bench, names, args.datagrams)),
    "faults": Step(
        "Upstreams that do not do as they should",
        "upstreams that drop, delay, refuse, truncate, hang and close, beside Unbound and dnsdist; 3 rounds at most",
        faults.USUAL, lambda bench, names, args: faults.measure(
            bench, faults.by_strategy(names, args.strategies), args.rows, 1 if args.quick else min(args.runs, 3))),
    "closes": Step(
        "Connections that are closed about when they are asked on",
        "connections that upstreams close when they were idle for 40 ms, just when questions come; one round",
        faults.USUAL, lambda bench, names, args: faults.measure(bench, names, faults.RACES_ROWS, 1, args.races)),
}
# The section of faults by strategy: the other one stays beside it.
STRATEGIES = "faults --strategies"


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", help="listed names, of 22k, 1m and 10m, with commas [22k,1m]")
    parser.add_argument("--servers", help=f"which of {', '.join(MAKERS)} [{', '.join(DEFAULT)}]")
    parser.add_argument("--runs", type=int, default=5, help="rounds [5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run [2]")
    parser.add_argument("--all-10m", action="store_true", help="all servers at 10m too: they take 25 minutes to load")
    parser.add_argument("--quick", action="store_true",
                        help="2 rounds of 0.5 s at 22k, to see that it works; results go to target/peers/results")
    parser.add_argument("--popular", metavar="FILE", help="popular names, the most popular first [made ones]")
    parser.add_argument("--out", metavar="DIR", help="where results go [benches/results]")
    parser.add_argument("--latency", action="store_true", help="p50 and p99 of the mix at 20,000 queries a second")
    parser.add_argument("--idle", action="store_true", help="our CPU time while nobody asks")
    parser.add_argument("--loss", action="store_true", help="queries lost at 60 %% of the maximum rate")
    parser.add_argument("--replays", action="store_true", help="one made trace against three servers, with plots")
    parser.add_argument("--reload", action="store_true",
                        help="a list of a million names replaced under load, some eleven minutes; nothing else is done, and "
                        "results go to reload-DATE.json and .md")
    for name, step in UPSTREAM.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=step.help)
    parser.add_argument("--current", metavar="DIR", help="where other versions of the rivals are, with --hit-rate: measured beside them")
    parser.add_argument("--questions", type=int, metavar="N", help="how many, with --entropy [1000000]")
    parser.add_argument("--datagrams", type=int, metavar="N", help="how many of each kind, with --forging [10000000]")
    parser.add_argument("--rows", help=f"which of {', '.join(faults.ROWS)} [all], with --faults")
    parser.add_argument("--strategies", help=f"ours by which of {', '.join(faults.STRATEGIES)}, or all, with --faults: its results are "
                        "a section of their own")
    parser.add_argument("--races", type=int, metavar="N", help=f"questions of each row, with --closes [{faults.RACES}]")
    parser.add_argument("--cases", help=f"which of {', '.join(reload.CASES)} [all], with --reload")
    parser.add_argument("--table", action="store_true", help="the table; what is measured when nothing else is said")
    parser.add_argument("--all", action="store_true", help="the table and the four others")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.seconds = min(args.runs, 2), min(args.seconds, 0.5)
    others = [args.latency, args.idle, args.loss, args.replays]
    args.upstream = [name for name in UPSTREAM if getattr(args, name)]
    if args.upstream and (args.all or args.table or args.reload or any(others)):
        parser.error("what is about upstreams is measured alone: its results are a file of their own")
    args.questions = args.questions or (50_000 if args.quick else 1_000_000)
    args.datagrams = args.datagrams or (100_000 if args.quick else 10_000_000)
    args.races = args.races or (800 if args.quick else faults.RACES)
    args.rows = args.rows.split(",") if args.rows else [row for row in faults.ROWS if row not in faults.RACES_ROWS]
    if unknown := [name for name in args.rows if name not in faults.ROWS]:
        parser.error(f"no row is called {unknown[0]}: there are {', '.join(faults.ROWS)}")
    args.strategies = list(faults.STRATEGIES) if args.strategies == "all" else args.strategies.split(",") if args.strategies else []
    if unknown := [name for name in args.strategies if name not in faults.STRATEGIES]:
        parser.error(f"no strategy is called {unknown[0]}: there are {', '.join(faults.STRATEGIES)}")
    if args.strategies and not args.faults:
        parser.error("strategies are measured with --faults")
    args.table = args.table or args.all or not any(others + args.upstream)
    args.sizes = (args.sizes or ("22k" if args.quick else "22k,1m")).split(",")
    usual = os.path.join(ROOT, "target/peers/results" if args.quick else "benches/results")
    args.out = os.path.abspath(args.out or usual)
    if unknown := [size for size in args.sizes if size not in SIZES]:
        parser.error(f"no size is called {unknown[0]}: there are {', '.join(SIZES)}")
    args.given = args.servers is not None
    args.servers = args.servers.split(",") if args.given else DEFAULT
    if unknown := [name for name in args.servers if name not in MAKERS]:
        parser.error(f"no server is called {unknown[0]}: there are {', '.join(MAKERS)}")
    args.cases = args.cases.split(",") if args.cases else list(reload.CASES)
    if unknown := [name for name in args.cases if name not in reload.CASES]:
        parser.error(f"no case is called {unknown[0]}: there are {', '.join(reload.CASES)}")
    if args.runs < 1 or not 0.2 <= args.seconds <= 30:
        parser.error("at least one round, of 0.2 to 30 seconds")
    return args


def output(*command):
    """What a command prints; nothing when there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def machine():
    """The machine and the programs, as facts."""
    def value(path, key):
        with open(path) as file:
            found = (line.split(":" if ":" in line else "=", 1) for line in file if line.startswith(key))
            return next((parts[1].strip().strip('"') for parts in found), "?")

    return {
        "cpu": value("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": int(value("/proc/meminfo", "MemTotal").split()[0]) / 2**20,
        "kernel": platform.release(),
        "system": value("/etc/os-release", "PRETTY_NAME"),
        "rustc": output("rustc", "--version"),
        "packages": versions.everyones(),
    }


class Results:
    """The results file of a day, which grows."""

    def __init__(self, folder, quick, kind="peers", markdown=report.markdown):
        os.makedirs(folder, exist_ok=True)
        self.stem = os.path.join(folder, f"{kind}-{time.strftime('%Y-%m-%d')}")
        self.quick, self.markdown, self.all = quick, markdown, {"sizes": {}} if kind == "peers" else {}
        try:
            with open(self.stem + ".json") as file:
                self.all = json.load(file)
        except FileNotFoundError:
            pass
        self.all["machine"] = machine()

    def add(self, where, key, section, bench):
        """Puts a section in, with what says when and of what it is, and writes both files."""
        dirty = "+" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
        section |= {"date": time.strftime("%Y-%m-%d %H:%M"), "quick": self.quick, "wrong": bench.wrong,
                    "commit": output("git", "rev-parse", "--short", "HEAD") + dirty}
        where[key] = section
        for path, text in ((".json", json.dumps(self.all, indent=1)), (".md", self.markdown(self.all))):
            with open(self.stem + path + ".part", "w") as file:
                file.write(text)
            os.rename(self.stem + path + ".part", self.stem + path)


def measure_size(bench, args, size, results):
    """The table of one size."""
    names = args.servers if args.given or args.all_10m or size != "10m" else LARGEST
    say(f"{size}: {', '.join(names)}; {args.runs} rounds of {len(names)} x 3 x {args.seconds} s, about "
        f"{args.runs * len(names) * 3 * (args.seconds + 0.2):.0f} s after loading and warming up")
    bench.start(names, again=["sinkscope"])
    bench.warm()
    titles = {server.name: server.title for server in bench.servers}
    load = {server.name: server.load for server in bench.servers if server.load}
    runs = bench.rounds(args.runs, args.seconds)
    bench.end()
    tests = report.summarise(runs)
    section = {"names": bench.data.count, "rounds": args.runs, "seconds": args.seconds, "titles": titles, "load": load,
               "tests": tests, "targets": report.targets(size, tests, runs), "runs": runs}
    results.add(results.all["sizes"], size, section, bench)


def upstream_markdown(results):
    """What was measured about upstreams so far, for people."""
    out = ["# Sinkscope's upstream side beside its rivals", "", report.machine(results["machine"])]
    out += ["One thread a server, on a core of its own; load and upstream on the other, all on loopback. Made by "
            f"`benches/peers/run` with {', '.join(f'`--{name}`'.replace('_', '-') for name in (*UPSTREAM, STRATEGIES) if name in results)}.", ""]
    titles = {name: step.title for name, step in UPSTREAM.items()} | {STRATEGIES: "The same faults, ours by each strategy"}
    return "\n".join(out + report.sections(results, titles)).rstrip() + "\n"


def replace_lists(bench, args):
    """Lists replaced under load; whether nothing was wrong."""
    known = machine()
    rivals = ", ".join(f"{name} {known['packages'][name]}" for name in ("Unbound", "PowerDNS Recursor"))
    about = (f"{known['cpu']}, {known['cores']} cores, {known['memory_gib']:.0f} GiB; {known['system']}, Linux "
             f"{known['kernel']}. {rivals}. {time.strftime('%Y-%m-%d %H:%M')}, commit "
             f"{output('git', 'rev-parse', '--short', 'HEAD')}. Made by `benches/peers/run --reload --runs {args.runs}`.")
    os.makedirs(args.out, exist_ok=True)
    stem = os.path.join(args.out, f"reload-{time.strftime('%Y-%m-%d')}")
    reload.measure(bench, args.runs, args.cases, stem, about)
    say(f"written to {stem}.md and .json")
    return not bench.wrong


def run(args):
    """Measures what is asked for; whether nothing was wrong."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    target = os.path.join(ROOT, target, "release")
    # Children get their cores by taskset; this script asks from the load's.
    os.sched_setaffinity(0, {process.LOAD_CORE})
    results, right = None, True
    if args.upstream:
        results = Results(args.out, args.quick, "upstream", upstream_markdown)
    elif not args.reload:
        results = Results(args.out, args.quick)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        upstream = process.free_port()
        mock = process.start([f"{target}/examples/mock_upstream", f"127.0.0.1:{upstream}", MISSING],
                             [process.LOAD_CORE], f"{folder}/mock.log")

        def bench(size, kind=Data):
            root = os.path.join(ROOT, "target/peers/data")
            data = kind(root, SIZES[size], args.popular)
            inner = tempfile.mkdtemp(dir=folder)
            return Bench(target, inner, data, Setup(inner, data, upstream, target), mock)

        def extra(key, wanted, size, measure):
            nonlocal right
            if wanted or args.all:
                one = bench(size)
                say(key)
                results.add(results.all, key, measure(one), one)
                right = right and not one.wrong

        try:
            if args.reload:
                return replace_lists(bench("22k" if args.quick else USUAL, reload.Own), args)
            for name in args.upstream:
                say(name)
                data, inner = misses.Names(os.path.join(ROOT, "target/peers/data"), args.popular), tempfile.mkdtemp(dir=folder)
                one = misses.Forwarding(target, inner, data, Setup(inner, None, upstream, target), mock)
                step = UPSTREAM[name]
                section = step.measure(one, args.servers if args.given else step.servers, args)
                results.add(results.all, STRATEGIES if name == "faults" and args.strategies else name, section, one)
                right = right and not one.wrong
            if args.table:
                for size in args.sizes:
                    one = bench(size)
                    measure_size(one, args, size, results)
                    right = right and not one.wrong
            usual = "22k" if args.quick else USUAL
            rounds, seconds = (2, 0.5) if args.quick else (args.runs, args.seconds)
            extra("latency", args.latency, usual, lambda one: extras.latency(one, rounds, seconds))
            extra("idle", args.idle, usual, lambda one: extras.idle(one, 3 if args.quick else 20))
            extra("loss", args.loss, usual, lambda one: extras.loss(one, 1 if args.quick else 10))
            extra("replays", args.replays, "22k", lambda one: extras.replays(
                one, 50_000 if args.quick else 500_000, results.stem))
        except Exception:
            # The folder goes away; what the servers said is needed now.
            show_logs(folder)
            raise
        finally:
            process.end_all()
        if not right:
            show_logs(folder)
    print()
    with open(results.stem + ".md") as text:
        print(text.read())
    say(f"written to {results.stem}.md and .json")
    return right


def show_logs(folder):
    """The last words of every server."""
    for path, _, files in os.walk(folder):
        for name in files:
            if name in ("log", "mock.log"):
                with open(os.path.join(path, name), errors="replace") as log:
                    for line in log.readlines()[-5:]:
                        print(f"{os.path.basename(path)}: {line.rstrip()}", file=sys.stderr)


def main():
    """Runs; the exit code is 0 when nothing was wrong, 1 when an answer or a server was, 2 for a bad command line."""
    args = arguments()

    def stop(*_):
        raise KeyboardInterrupt

    # SIGINT too: a shell's background job starts with it ignored.
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, stop)
    try:
        return 0 if run(args) else 1
    except KeyboardInterrupt:
        print("stopped; what was whole is written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
