"""Queries that nobody here can answer: what each costs a server that only forwards, and how long its client waits."""

import random

import client
import process
import report
from data import MISSING, MISSING_SHARE, SEED, Data
from measure import IN_FLIGHT, UPSTREAM_SHARES, WARM_PASSES, WRONG_SHARE, Bench, figures_of, say
from servers import DEFAULT

# dnsdist without its file of names is the same whichever way it would hold them.
SERVERS = [name.removesuffix("-cdb") for name in DEFAULT]
# Misses a second at which latency is told: every server here has time to spare.
RATE = 5_000
# The most queries a second that are made names for.
MOST_KQPS = 150
# Of misses that were answered, the share that must reach the upstream: random names may meet.
REACH = 0.999
# Of misses, the share that a server may drop: on a busy machine one that is slow finds its socket full. How many is told.
LOST_SHARE = 0.05
# dnsmasq looks through a full cache for room, entry by entry: where all names are new, a small one is kinder to it.
DNSMASQ_NAMES = 1_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Names(Data):
    """Queries without a list."""

    def __init__(self, root, popular_file=None):
        super().__init__(root, 0, popular_file)

    def mix(self, number, count):
        """Zipf over the popular names, some missing and none listed."""
        rng = random.Random(f"{SEED} plain mix {number}")

        def make():
            weights = [1 / rank for rank in range(1, len(self.popular) + 1)]
            made = rng.choices(self.popular, weights, k=count)
            for at in range(count):
                if rng.random() < MISSING_SHARE:
                    made[at] = f"u{at:x}-{number}.{MISSING}"
            return made
        return self.queries(f"plain-mix-{number}-{count}", make)

    def misses(self, number, count):
        """Names of random letters that exist, and that nobody has asked for; those of no two numbers meet."""
        rng = random.Random(f"{SEED} misses {number}")

        def make():
            letters = rng.choices(LETTERS, k=12 * count)
            return ["".join(letters[at:at + 12]) + ".miss.example" for at in range(0, 12 * count, 12)]
        return self.queries(f"misses-{number}-{count}", make)


class Forwarding(Bench):
    """Servers that only forward."""

    def launch(self, server):
        """Starts a server on both cores, and gives it its core once it answers."""
        cores = [process.SERVER_CORE, process.LOAD_CORE]
        server.process = process.start(server.command, cores, f"{server.cwd}/log", cwd=server.cwd)
        client.wait_for(server.port, server.process)
        process.confine(server.process, process.SERVER_CORE)

    def check(self):
        """Names are answered as the upstream does; nothing is measured that is wrong."""
        names = self.data.popular[:100] + [f"{name}.check.example" for name in self.data.popular[100:150]]
        for server in self.servers:
            if server.denial is not None:
                for wrong in client.spot_check(server.port, [], names)[:3]:
                    self.note(f"{server.title}: {wrong}")

    def warm(self):
        """Every popular name through every server until it has them all, few at a time: what is dropped comes again."""
        for server in self.servers:
            if server.denial is None:
                continue
            for _ in range(WARM_PASSES):
                found = self.replay(server, self.data.warm(), "--in-flight", 48, "--flows", 16)
                if max(found["lost"], found["upstream"]) <= UPSTREAM_SHARES["a"] * found["sent"]:
                    break
            else:
                self.note(f"{server.title}: warming up, {found['lost']} lost, {found['upstream']} of {found['sent']} names "
                          f"not cached, {found['rcodes']}")

    def replay(self, server, trace, *options):
        """One run, with the ports that the upstream was asked from."""
        client.upstream_ports(self.setup.upstream)
        found = super().replay(server, trace, *options)
        found["ports"], found["port_bits"] = client.upstream_ports(self.setup.upstream)
        return found

    def run(self, server, what, trace, lines, *options):
        """One run's figures; none if something was wrong, which is said."""
        found = self.replay(server, trace, "--flows", IN_FLIGHT, *options)
        fine = ["NOERROR", "NXDOMAIN"] if what == "mix" else ["NOERROR"]
        due = found["received"] if server.denial is None else sum(found["rcodes"].get(rcode, 0) for rcode in fine)
        off = found["received"] - due + found["mismatched"] + found["unsent"]
        lost = found["lost"] / max(1, found["sent"])
        right = off <= WRONG_SHARE * found["sent"] and lost <= (WRONG_SHARE if what == "mix" else LOST_SHARE)
        if server.denial is not None:
            # Health checks are two a second at most.
            fits = (found["upstream"] <= UPSTREAM_SHARES["c"] * found["sent"] + 10 if what == "mix"
                    else found["upstream"] >= REACH * found["received"])
            right = right and fits and found["sent"] <= lines
        if not right:
            self.note(f"{server.title}, {what}: {found['lost']} lost, {found['mismatched']} mismatched, {found['rcodes']} of "
                      f"{found['sent']}, {found['upstream']} reached the upstream")
            return None
        return figures_of(found) | {key: found[key] for key in ("ports", "port_bits")} | {
            "reached": found["upstream"] / max(1, found["received"]), "lost_percent": 100 * lost}


def measure(bench, names, rounds, seconds):
    """The mix, misses as fast as they are answered, and misses at a fixed rate, each by all servers in turn."""
    bench.start(names)
    bench.warm()
    kinds = ["mix", "misses", "rate"]
    runs = {kind: {server.name: [] for server in bench.servers} for kind in kinds}
    titles = {server.name: server.title for server in bench.servers}
    for kind in kinds:
        if kind == "misses":
            # All begin anew, one with another cache.
            bench.end()
            bench.setup.dnsmasq_names = DNSMASQ_NAMES
            bench.start(names)
        for number in range(rounds):
            lines = int(1_000 * {"mix": 400, "misses": MOST_KQPS, "rate": 1.1 * RATE / 1_000}[kind] * max(1, seconds))
            made = {"mix": bench.data.mix, "misses": bench.data.misses, "rate": bench.data.misses}[kind]
            trace = made(number + {"mix": 0, "misses": 0, "rate": 1_000}[kind], lines)
            pace = ["--rate", RATE] if kind == "rate" else ["--in-flight", IN_FLIGHT]
            for server in bench.order(number):
                # Of the echo it is of no matter that its trace begins anew.
                found = bench.run(server, kind, trace, lines, *pace, "--for", seconds)
                runs[kind][server.name].append(found)
            say(f"{kind}, round {number + 1} of {rounds}: " + ", ".join(
                f"{name} {mine[-1]['cpu_us']:.2f}" if mine[-1] else f"{name} wrong"
                for name, mine in runs[kind].items()) + " us")
    bench.end()
    return section(bench, titles, runs, rounds, seconds)


def section(bench, titles, runs, rounds, seconds):
    """Runs as what the report shows."""
    found = {kind: {} for kind in runs}
    for kind, servers in runs.items():
        for name, mine in servers.items():
            kept = [run for run in mine if report.quiet(run)]
            keys = ("cpu_us", "user_us", "kqps", "p50_us", "p99_us", "cores", "ports", "port_bits", "reached", "lost_percent",
                    "foreign")
            found[kind][name] = {key: report.spread(run[key] for run in kept) for key in keys}
            found[kind][name]["to_echo"] = report.ratios(mine, servers.get("echo", []), "cpu_us")
            found[kind][name]["ours_to_it"] = report.ratios(servers.get("sinkscope", []), mine, "cpu_us")
    text = [f"Every server only forwards, to the same upstream, from one core; {rounds} rounds of {seconds} s by turns, medians "
            "(ranges). Misses: random names, each asked once, 128 in flight; CPU time a miss in microseconds, user and system "
            "[user part], how many times the bare echo's of the same round, and how many times a server's of the same round ours "
            "is. A miss takes two pairs of packets, an echo one. Beside it the same "
            f"at {RATE:,} misses a second, and the mix of a hundred thousand popular names, cached, with 1 % missing. At last what "
            "the upstream saw: its questions a miss, the ports they came from in a run, and the entropy of a question's port in "
            "bits, as far as a run's questions can show it: of 65,000 ports used alike, 100,000 questions show 15.5.",
            "",
            "| server | CPU us a miss | beside the echo | ours beside it | kq/s | p50 us | p50 us at 5,000/s | p99 us there | "
            "CPU us there | lost there, % | mix, CPU us | beside the echo | questions | ports | bits |", "|---" * 15 + "|"]
    for name, title in titles.items():
        misses, rate, mix = (found[kind][name] for kind in ("misses", "rate", "mix"))
        user = f" [{misses['user_us'][0]:.1f}]" if misses["user_us"] else ""
        is_echo = name == "echo"
        text.append("| " + " | ".join([
            title, report.shown(misses["cpu_us"], 1) + user,
            "1" if is_echo else report.shown(misses["to_echo"], 2), "" if is_echo else report.shown(misses["ours_to_it"], 2),
            report.shown(misses["kqps"], 0), report.shown(misses["p50_us"], 0), report.shown(rate["p50_us"], 0),
            report.shown(rate["p99_us"], 0), report.shown(rate["cpu_us"], 1),
            report.shown(rate["lost_percent"], 1), report.shown(mix["cpu_us"], 2),
            "1" if is_echo else report.shown(mix["to_echo"], 2),
            *(["", "", ""] if is_echo else [report.shown(misses["reached"], 3), report.shown(misses["ports"], 0),
                                            report.shown(misses["port_bits"], 2)])]) + " |")
    everything = [run for servers in runs.values() for mine in servers.values() for run in mine]
    kept = [run for run in everything if report.quiet(run)]
    foreign = max((run["foreign"] for run in kept), default=0)
    text += ["", f"{len(everything)} runs; {sum(run is not None and not report.quiet(run) for run in everything)} left out for "
             f"hypervisor steal, {sum(run is None for run in everything)} for wrong answers. Other processes took up to "
             f"{foreign:.0f} % of the two cores during a run that counts: above some 10 %, rates and latencies mean little, CPU "
             "times a query still compare."]
    return {"text": text, "targets": [], "servers": found, "runs": runs}
