"""What somebody who forges replies has to guess: ports, IDs and letters' case of a million questions, held against chance."""

import json
import math
import os
import random
import subprocess
import time

import client
import process
from measure import IN_FLIGHT, say
from misses import DNSMASQ_NAMES

# Ours is judged, the others are for comparison.
SERVERS = ["sinkscope", "dnsdist", "unbound", "pdns", "bind", "kresd", "dnsmasq"]
# A figure fails when chance alone brings one as far off less often than this.
LEAST_P = 1e-6
# What our design says of ports (src/upstream/ports.rs): how many are live, how many questions each takes, from which on.
LIVE, TAKES, FIRST_PORT = 16, 48, 1024
# Of a million questions.
MIN_PORTS = 16_000
# Ports are counted by so many neighbours at a time: opened 20,000 times, there are too few of each alone.
NEIGHBOURS = 64
# Letters of a name, as many as bits in a value: nine random ones and those of `.example`.
RANDOM_LETTERS, LETTERS = 9, 16
# Without a question for so many others a port was closed: one of sixteen is silent for so long by chance once in 10^11.
AWAY = 400
SEED = 20140630
# How long the observer may take to write its file.
WRITE_LIMIT_S = 20


def tails(chi2, df):
    """The chance of a chi-square at most this, and of one at least this: the incomplete gamma function, by its series or by
    its continued fraction (Lentz), whichever is near."""
    a, x = df / 2, chi2 / 2
    if x <= 0:
        return 0.0, 1.0
    factor = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        at = a
        while term > total * 1e-15:
            at += 1
            term *= x / at
            total += term
        low = min(1.0, factor * total)
        return low, 1 - low
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    value, step = d, 0
    while True:
        step += 1
        numerator = -step * (step - a)
        b += 2
        d = numerator * d + b
        d = 1 / (d if abs(d) > tiny else tiny)
        c = b + numerator / c
        c = c if abs(c) > tiny else tiny
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            high = min(1.0, factor * value)
            return 1 - high, high


def against(what, counts, expected=None):
    """Counts held against what chance brings, the same for all unless told otherwise: far off or too even, both are told."""
    expected = expected or [sum(counts) / len(counts)] * len(counts)
    chi2 = sum((count - due) ** 2 / due for count, due in zip(counts, expected))
    df = len(counts) - 1
    return {"what": what, "chi2": chi2, "df": df, "p": min(1.0, 2 * min(tails(chi2, df)))}


def correlation(series):
    """The correlation of each value with the one before."""
    n, (x, y, xx, yy, xy) = series["pairs"], series["sums"]
    # In whole numbers until the last step: the terms are far larger than their difference.
    spread = (n * xx - x * x) * (n * yy - y * y)
    return (n * xy - x * y) / math.sqrt(spread) if spread > 0 else 1.0


def normal(what, value, z):
    """A figure that is normal by chance, `z` standard deviations off."""
    return {"what": what, "value": value, "p": math.erfc(abs(z) / math.sqrt(2))}


def bits(counts):
    """The entropy of counts, in bits."""
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts if count)


def returns(counts):
    """How soon a port carries its next question, with what is due when each goes out from any of the live ones alike."""
    total, gathered, due, kept = sum(counts), [], [], 0
    for at in range(1, len(counts)):
        chance = (1 - 1 / LIVE) ** (at - 1) / LIVE
        if total * chance < 20:
            break
        gathered.append(counts[at])
        due.append(total * chance)
        kept = at
    rest = (1 - 1 / LIVE) ** kept
    return gathered + [sum(counts[kept + 1:])], due + [total * rest]


def tests(seen):
    """The figures by which ours is judged."""
    n, usable = seen["questions"], seen["openings"][FIRST_PORT:]
    opened = sum(usable)
    capitals = [value for count in seen["capitals"] for value in (count, n - count)]
    by_place = against("capitals, by letter", capitals, [n / 2] * len(capitals))
    by_place["df"] = len(seen["capitals"])
    by_place["p"] = min(1.0, 2 * min(tails(by_place["chi2"], by_place["df"])))
    # A place's next question is from the same port unless that has carried all it takes.
    same = (TAKES - 1) / TAKES / LIVE
    share = seen["same_port"] / (n - 1)
    r_opening, r_id = correlation(seen["opening_series"]), correlation(seen["id_series"])
    return [
        against("IDs", seen["ids"]),
        against("ID less the one before", seen["id_steps"]),
        normal("ID with the one before, correlation", r_id, r_id * math.sqrt(n - 1)),
        by_place,
        against("case of 16 letters together", seen["cases"]),
        against("letters in which two in a row differ", seen["case_steps"]),
        against(f"ports opened, by {NEIGHBOURS} neighbours",
                [sum(usable[at:at + NEIGHBOURS]) for at in range(0, len(usable), NEIGHBOURS)]),
        against("ports opened, by their lowest 6 bits", [sum(usable[at::NEIGHBOURS]) for at in range(NEIGHBOURS)]),
        normal("port opened with the one before, correlation", r_opening, r_opening * math.sqrt(max(1, opened - 1))),
        against(f"questions until a port's next, of {LIVE} used alike", *returns(seen["returns"])),
        normal("questions from the port of the one before, share", share,
               (share - same) / math.sqrt(same * (1 - same) / (n - 1))),
    ]


def ask(bench, questions, name, out):
    """A server asked for so many names, in front of an upstream that observes it."""
    trace = os.path.join(bench.data.folder, f"entropy-{questions}.txt")
    if not os.path.exists(trace):
        # Letters alone, as each has a case.
        rng = random.Random(f"{SEED} entropy")
        with open(trace + ".part", "w") as file:
            for _ in range(0, questions, 10_000):
                letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=RANDOM_LETTERS * 10_000))
                file.writelines(letters[at:at + RANDOM_LETTERS] + ".example A\n"
                                for at in range(0, len(letters), RANDOM_LETTERS))
        os.rename(trace + ".part", trace)
    observed = process.free_port()
    observer = process.start([f"{bench.target}/examples/observer", f"127.0.0.1:{observed}", str(questions), str(LETTERS),
                              str(AWAY), out], [process.LOAD_CORE], f"{bench.folder}/observer.log")
    bench.setup.upstream, bench.setup.dnsmasq_names = observed, DNSMASQ_NAMES
    server = bench.setup.make(name)
    server.process = process.start(server.command, [process.SERVER_CORE], f"{server.cwd}/log", cwd=server.cwd)
    client.wait_for(server.port, server.process)
    command = ["taskset", "-c", str(process.LOAD_CORE), f"{bench.target}/sinkscope", "replay", trace, "--json", "--server",
               f"127.0.0.1:{server.port}", "--in-flight", str(IN_FLIGHT), "--flows", "16", "--count", str(questions),
               "--timeout", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not done.stdout:
        raise RuntimeError(f"replay against {server.name}: {done.stderr}")
    found = json.loads(done.stdout)
    off = found["sent"] - found["rcodes"].get("NOERROR", 0) + found["mismatched"]
    if off > 0.001 * found["sent"]:
        bench.note(f"{server.title}: {found['lost']} lost, {found['mismatched']} mismatched, {found['rcodes']} of {found['sent']}")
    # A few names met, and were cached: the rest is asked one by one.
    asker, until, extra = client.Client(server.port), time.monotonic() + WRITE_LIMIT_S, 0
    while not os.path.exists(out):
        if time.monotonic() > until:
            raise RuntimeError(f"{server.title}: the observer has not seen {questions} questions")
        extra += 1
        asker.ask(f"{extra:x}".translate(str.maketrans("0123456789", "ghijklmnop")).rjust(RANDOM_LETTERS, "z") + ".example", 0.5)
    asker.close()
    process.end(server.process)
    process.end(observer)
    with open(out) as file:
        return server.title, json.load(file)


def measure(bench, names, questions):
    """Ours is judged, others are shown."""
    text = [f"Of {questions:,} questions by datagram for names of {LETTERS} letters that were asked once each, {IN_FLIGHT} in "
            "flight, what an upstream saw.", "",
            "| server | ports | most from one | entropy of a port | of an ID | of 16 letters' case | port as the one before "
            "| correlation of ports | of IDs |", "|---" * 9 + "|"]
    found, targets, judged = {}, [], []
    for name in names:
        title, seen = ask(bench, questions, name, os.path.join(bench.folder, f"{name}-counts.json"))
        used = sum(count > 0 for count in seen["port_questions"])
        figures = {"ports": used, "most": max(seen["port_questions"]), "port_bits": bits(seen["port_questions"]),
                   "id_bits": bits(seen["ids"]), "case_bits": bits(seen["cases"]),
                   "same_port": seen["same_port"] / (seen["questions"] - 1), "port_correlation": correlation(seen["port_series"]),
                   "id_correlation": correlation(seen["id_series"])}
        found[name] = figures
        say(f"{title}: {used} ports, {figures['port_bits']:.2f} + {figures['id_bits']:.2f} + {figures['case_bits']:.2f} bits")
        text.append(f"| {title} | {used:,} | {figures['most']:,} | {figures['port_bits']:.2f} | "
                    f"{figures['id_bits']:.2f} | {figures['case_bits']:.2f} | {100 * figures['same_port']:.2f} % | "
                    f"{figures['port_correlation']:+.4f} | {figures['id_correlation']:+.4f} |")
        if name == "sinkscope":
            judged = tests(seen)
            opened, carried = sum(seen["openings"]), seen["carried"]
            closed = sum(carried)
            over = sum(carried[TAKES + 1:])
            # Two that were drawn one soon after the other look like one.
            alike = opened * (AWAY / TAKES) / (65_536 - FIRST_PORT)
            figures |= {"openings": opened, "carried": carried[:4 * TAKES], "over": over, "short": seen["short"]}
            for what, value, limit, least in (
                    ("distinct ports", used, round(MIN_PORTS * min(1, questions / 1e6)), True),
                    ("ports below 1024", sum(seen["openings"][:FIRST_PORT]), 0, False),
                    (f"ports that carried more than {TAKES} questions, {alike:.1f} due by chance", over,
                     math.ceil(alike + 6 * math.sqrt(alike)) + 5, False)):
                targets.append({"what": what, "value": value, "limit": limit, "least": least,
                                "pass": value >= limit if least else value <= limit})
            if seen["short"]:
                bench.note(f"{seen['short']} names had fewer letters than {LETTERS}")
    if judged:
        opened, carried = found["sinkscope"]["openings"], found["sinkscope"]["carried"]
        closed = max(1, sum(carried))
        mean = sum(at * count for at, count in enumerate(carried)) / closed
        text.append("")
        text += ["As far as a million questions can show it: of 65,536 values used alike the entropy seen is 15.95 bits. Ports "
                 "are as uneven as questions share them.", "",
                 f"Ours opened {opened:,} ports, which carried {mean:.1f} questions on average, and {TAKES} "
                 f"{100 * carried[TAKES] / closed:.1f} % of them. Each figure beside what chance brings; p is of one as "
                 "far off on either side.", "",
                 "| figure | value | degrees of freedom | p |", "|---|---|---|---|"]
        for one in judged:
            value = f"chi-square {one['chi2']:,.1f}" if "chi2" in one else f"{one['value']:+.5f}"
            text.append(f"| {one['what']} | {value} | {one.get('df', '')} | {one['p']:.3g} |")
            if one["p"] < LEAST_P:
                bench.note(f"{one['what']}: p = {one['p']:.3g}")
    for target in targets:
        if not target["pass"]:
            bench.note(f"{target['what']}: {target['value']}, limit {target['limit']}")
    text.append("")
    return {"text": text, "targets": targets, "servers": found, "judged": judged}
