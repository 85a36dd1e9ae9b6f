"""Runs to figures, figures to tables, and both held against what must be shown."""

from statistics import median

from measure import STEAL_LIMIT, TESTS
from servers import RESOLVERS

# What must be shown, per list size (CPU time as a ratio to the echo's; user part in microseconds; throughput ratios).
ECHO_LIMITS = {"a": 1.2, "b": 1.2, "c": 1.35}
USER_LIMIT_US = 0.5
DNSDIST_LIMITS = {"a": 1.35, "b": 1.15}
RESOLVER_LIMIT = 2.0
# p50 at a fixed rate, as a ratio to the echo's; CPU while idle, in per cent of a core.
LATENCY_LIMIT = 1.1
IDLE_LIMIT = 0.1


def quiet(run):
    """Whether a run counts: it was right, and the machine was there."""
    return run is not None and run["steal"] <= STEAL_LIMIT


def spread(values):
    """Median, least and most; none of nothing."""
    values = list(values)
    return [median(values), min(values), max(values)] if values else None


def ratios(runs, other, key):
    """`runs` over `other` in the rounds in which both count."""
    return spread(run[key] / base[key] for run, base in zip(runs, other) if quiet(run) and quiet(base))


def summarise(runs):
    """The figures of each test and server: {test: {server: {cpu_us, user_us, kqps, to_echo, rounds, left_out, ...}}}."""
    tests = {}
    for test, servers in runs.items():
        tests[test] = {}
        for name, rounds in servers.items():
            kept = [run for run in rounds if quiet(run)]
            figures = {key: spread(run[key] for run in kept)
                       for key in ("cpu_us", "user_us", "kqps", "p50_us", "p99_us", "load_busy", "foreign")}
            figures |= {
                "to_echo": ratios(rounds, servers.get("echo", []), "cpu_us"),
                "rounds": len(rounds),
                "wrong": sum(run is None for run in rounds),
                "stolen": sum(run is not None and not quiet(run) for run in rounds),
            }
            tests[test][name] = figures
    return tests


def targets(size, tests, runs):
    """What must be shown at this size: {what, value, limit, pass}; a value that is not there does not pass."""
    found = []

    def add(what, values, limit, least=False):
        value = values[0] if values else None
        passed = value is not None and (value >= limit if least else value <= limit)
        found.append({"what": f"{size}: {what}", "value": value, "limit": limit, "least": least, "pass": passed})

    for test, limit in ECHO_LIMITS.items():
        ours = tests[test].get("sinkscope")
        if ours is None:
            continue
        if "echo" in tests[test]:
            add(f"{TESTS[test]}, CPU beside the echo's", ours["to_echo"], limit)
        if test in "ab":
            add(f"{TESTS[test]}, user part in us", ours["user_us"], USER_LIMIT_US)
        for rival in tests[test]:
            faster = ratios(runs[test]["sinkscope"], runs[test][rival], "kqps")
            if rival == "dnsdist-cdb" and test in DNSDIST_LIMITS:
                add(f"{TESTS[test]}, throughput beside dnsdist's", faster, DNSDIST_LIMITS[test], least=True)
            elif rival in RESOLVERS:
                add(f"{TESTS[test]}, throughput beside {rival}'s", faster, RESOLVER_LIMIT, least=True)
    return found


def shown(values, digits):
    """A median with its range."""
    if not values:
        return "-"
    return f"{values[0]:.{digits}f} ({values[1]:.{digits}f} to {values[2]:.{digits}f})"


def machine(facts):
    """The machine and the versions, as text."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']:.0f} GiB; {facts['system']}, "
            f"Linux {facts['kernel']}. {versions}.\n")


def table(section):
    """One size."""
    titles, tests = section["titles"], section["tests"]
    out = ["| server | a cached | b sinkholed | c mix | ready s | truthful | RSS MB |", "|---|---|---|---|---|---|---|"]
    for name, title in titles.items():
        cells = [title]
        for test in TESTS:
            figures = tests[test].get(name)
            if not figures or not figures["cpu_us"]:
                cells.append("-")
                continue
            to_echo = "" if name == "echo" or not figures["to_echo"] else f" {figures['to_echo'][0]:.2f}x"
            cells.append(f"{shown(figures['cpu_us'], 2)} [{figures['user_us'][0]:.2f}]{to_echo} "
                         f"{figures['kqps'][0]:.0f}k")
        load = section["load"].get(name)
        if load:
            again = f", again {load['again_s']:.2f}" if "again_s" in load else ""
            cells += [f"{load['ready_s']:.2f}{again}", f"{load['truthful']} of {load['asked']}",
                      f"{load['rss_mb']:.0f} (peak {load['peak_mb']:.0f}, warm {load.get('warm_mb', 0):.0f})"]
        else:
            cells += ["", "", ""]
        out.append("| " + " | ".join(cells) + " |")
    stolen = sum(figures["stolen"] for servers in tests.values() for figures in servers.values())
    wrong = sum(figures["wrong"] for servers in tests.values() for figures in servers.values())
    runs = sum(figures["rounds"] for servers in tests.values() for figures in servers.values())
    kept = [figures["foreign"] for servers in tests.values() for figures in servers.values()]
    foreign = [spread_of[2] for spread_of in kept if spread_of]
    out += ["", f"{runs} runs of {section['seconds']} s in {section['rounds']} rounds; {stolen} left out for hypervisor "
            f"steal above {STEAL_LIMIT} %, {wrong} for wrong answers. Other processes took up to "
            f"{max(foreign, default=0):.0f} % of the two cores during a run that counts: above some 10 %, rates and "
            "latencies mean little, CPU times a query still compare.", ""]
    return out


def verdicts(found):
    """Targets as a table."""
    out = ["| must be | is | limit | |", "|---|---|---|---|"]
    for target in found:
        value = "-" if target["value"] is None else f"{target['value']:.2f}"
        sign = "at least" if target["least"] else "at most"
        passed = "pass" if target["pass"] else "FAIL"
        out.append(f"| {target['what']} | {value} | {sign} {target['limit']} | {passed} |")
    return out + [""]


def markdown(results):
    """Everything measured so far, for people."""
    out = ["# Sinkscope beside its rivals", "", machine(results["machine"])]
    out += ["CPU time, user and system, in microseconds per answered query: median (range) [user part], ratio to the "
            "echo's of the same round, thousand queries a second. One thread a server, on a core of its own; load "
            "(128 in flight over 128 sockets) and upstream on the other. Made by `benches/peers/run`.", ""]
    for section in sorted(results.get("sizes", {}).values(), key=lambda section: section["names"]):
        out += [f"## {section['names']:,} listed names", "",
                f"{section['date']}, commit {section['commit']}." + (" Quick." if section["quick"] else ""), ""]
        out += table(section) + verdicts(section["targets"])
        out += [f"- WRONG: {text}" for text in section["wrong"]]
        if section["wrong"]:
            out.append("")
    out += sections(results, {"latency": "Latency of the mix at a fixed rate", "idle": "Idle", "loss": "Loss",
                              "replays": "One trace, three servers"})
    return "\n".join(out).rstrip() + "\n"


def sections(results, titles):
    """What else was measured, of those kinds."""
    out = []
    for key, title in titles.items():
        section = results.get(key)
        if section:
            out += [f"## {title}", "", f"{section['date']}, commit {section['commit']}."
                    + (" Quick." if section["quick"] else ""), "", *section["text"], ""]
            out += verdicts(section["targets"]) if section["targets"] else []
            out += [f"- WRONG: {text}" for text in section["wrong"]] + [""]
    return out
