"""The export's round trip: one policy in Sinkscope, its RPZ export in the others, the same verdicts name by name."""

import gzip
import os
import random
import subprocess
import time

import process
import resolvers
import wire

SEED = 20140630
LISTED, ASKED = 100_000, 100_000
# Asked for other types, too: families without addresses, and types that are never given.
OTHER_TYPES = 5_000
# Silent names cost every server's client its whole patience.
DROPPED = 40
# Names that servers answer by themselves, whatever policy says of their neighbours (RFC 6761, RFC 6303, RFC 7686).
SPECIAL = ("onion", "local", "localhost", "test", "invalid", "example", "arpa", "alt", "internal", "home", "corp")
CONFIG = """\
[listen]
udp = ["127.0.0.1:{port}"]
tcp = []
workers = 1
[upstream]
servers = ["udp://127.0.0.1:{upstream}"]
[orders]
paths = ["ORDERS"]
watch = false
[[orders.protected]]
match = "subtree"
file = "ORDERS/protected-trees.txt"
[[orders.protected]]
match = "exact"
file = "ORDERS/protected.txt"
"""


def base_names(folder, count):
    """Real names, or made ones where there are none; and which."""
    path = os.path.join(folder, "malware-families.tsv.gz")
    names = {}
    if os.path.exists(path):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                name = line.split("\t")[0].lower().rstrip(".")
                labels = name.split(".")
                usual = all(label and len(label) < 64 and set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
                            for label in labels)
                if usual and len(labels) > 1 and len(name) < 200 and labels[-1] not in SPECIAL:
                    names[name] = None
        source = "malware-families.tsv.gz"
    else:
        for index in range(count * 2):
            names[f"h{index:x}.z{index % 97}.net" if index % 7 else f"c.h{index - 1:x}.z{(index - 1) % 97}.net"] = None
        source = "made names"
    names = sorted(names)
    random.Random(SEED).shuffle(names)
    # Some names lie below other listed ones; taking whole runs of relatives keeps more of them than chance does.
    return sorted(names[:count]), source


def make_orders(folder, names):
    """Orders of every kind and action over the names; gives back the names that are written somewhere, by what they are."""
    rng = random.Random(f"{SEED} orders")
    kinds = {kind: [] for kind in (
        "exact", "trees", "below", "nxdomain", "nxdomain-trees", "nodata", "tcp-only", "drop")}
    shares = [("exact", 0.62), ("trees", 0.2), ("below", 0.04), ("nxdomain", 0.04), ("nxdomain-trees", 0.04),
              ("nodata", 0.05), ("tcp-only", 0.01)]
    for name in names:
        at, chosen = rng.random(), "exact"
        for kind, share in shares:
            if at < share:
                chosen = kind
                break
            at -= share
        kinds[chosen].append(name)
    kinds["drop"] = [kinds["exact"].pop() for _ in range(DROPPED)]
    trees = kinds["trees"] + kinds["nxdomain-trees"]
    # Below subtrees: exceptions, exact names behind an empty non-terminal, passthrus and protected names.
    kinds["spared"] = [f"ok.{name}" for name in rng.sample(kinds["trees"], len(kinds["trees"]) // 10)]
    kinds["nested"] = [f"deep.e.n.t.{name}" for name in rng.sample(trees, len(trees) // 10)]
    kinds["passthru"] = [f"pass.{name}" for name in rng.sample(trees, len(trees) // 20)]
    kinds["passthru-trees"] = [f"p.ass.{name}" for name in rng.sample(trees, len(trees) // 20)]
    kinds["protected"] = [f"safe.{name}" for name in rng.sample(trees, len(trees) // 20)]
    kinds["protected-trees"] = [f"sa.fe.{name}" for name in rng.sample(trees, len(trees) // 20)]
    os.makedirs(folder, exist_ok=True)
    for kind, listed in kinds.items():
        resolvers.write(f"{folder}/{kind}.txt", "\n".join(listed) + "\n")

    def order(number, ident, action, scopes, more=""):
        text = (f'id = "{ident}"\nkind = "operator"\nallow_public_suffix = true\naction = "{action}"\n{more}'
                f'justification = "Comparison with other servers"\n')
        for match, kind, extra in scopes:
            text += f'[[scope]]\nmatch = "{match}"\nfile = "{kind}.txt"\n{extra}'
        resolvers.write(f"{folder}/{number}-{ident}.toml", text)

    both = 'addresses = ["192.0.2.1", "2001:db8::1"]\n'
    order(1, "exact", "sinkhole", [("exact", "exact", ""), ("exact", "nested", 'action = "nodata"\n')], both)
    order(2, "trees", "sinkhole",
          [("subtree", "trees", 'except_file = "spared.txt"\nexcept_match = "exact"\n'), ("subtree-below", "below", "")],
          'addresses = ["192.0.2.2", "192.0.2.3"]\n')
    order(3, "denied", "nxdomain", [("exact", "nxdomain", ""), ("subtree", "nxdomain-trees", "")])
    order(4, "others", "nodata", [("exact", "nodata", ""), ("exact", "tcp-only", 'action = "tcp-only"\n'),
                                  ("exact", "drop", 'action = "drop"\n')])
    order(5, "free", "passthru", [("exact", "passthru", ""), ("subtree", "passthru-trees", "")])
    return kinds


def make_queries(kinds, count):
    """Listed names and their relatives, each with what it is."""
    rng = random.Random(f"{SEED} queries")
    found = {}
    dropped = set(kinds["drop"])

    def add(what, names, limit):
        names = [name for name in names if name not in found and len(name) < 230]
        for name in rng.sample(names, min(limit, len(names))):
            found[name] = what

    special = [name for kind in ("spared", "nested", "passthru", "passthru-trees", "protected", "protected-trees")
               for name in kinds[kind]]
    listed = [name for kind, names in kinds.items() for name in names]
    trees = kinds["trees"] + kinds["nxdomain-trees"] + kinds["below"]
    add("inside subtrees: spared, nested, passed, protected", special, count // 10)
    add("below those", [f"x.{name}" for name in special], count // 20)
    add("empty non-terminals and theirs", [prefix + name.split(".", at)[at] for name in kinds["nested"]
                                           for at in (1, 2, 3) for prefix in ("", "aaa.", "zzz.")], count // 20)
    add("listed", listed, count * 2 // 5)
    add("below exact names", [f"www.{name}" for name in listed if name not in dropped], count // 10)
    add("below subtrees", [f"{label}.{name}" for name in trees for label in ("a", "a.b")], count // 8)
    add("siblings", [f"n{name}" for name in listed], count // 8)
    add("above", sorted({name.split(".", 1)[1] for name in listed if name.count(".") > 1}), count // 20)
    add("siblings of labels", [name.replace("-", "x") if "-" in name else f"q-{name}" for name in listed],
        max(0, count - len(found)))
    return list(found.items())[:count]


def plain_zone(path, kinds):
    """The same orders as RPZ without records that compensate: what a script makes of such lists."""
    both = ("A 192.0.2.1", "AAAA 2001:db8::1")
    tree = ("A 192.0.2.2", "A 192.0.2.3")
    rules = {"exact": ("", both), "trees": ("", tree), "below": (None, tree), "nested": ("", ("CNAME *.",)),
             "nxdomain": ("", ("CNAME .",)), "nxdomain-trees": ("", ("CNAME .",)), "nodata": ("", ("CNAME *.",)),
             "tcp-only": ("", ("CNAME rpz-tcp-only.",)), "drop": ("", ("CNAME rpz-drop.",))}
    rules |= {kind: ("", ("CNAME rpz-passthru.",)) for kind in (
        "spared", "passthru", "passthru-trees", "protected", "protected-trees")}
    records = {}
    # What frees a name comes last, and replaces what was said of it.
    for kind, (own, data) in rules.items():
        fronts = [] if own is None else [""]
        fronts += ["*."] if kind == "below" or kind.endswith("trees") else []
        for name in kinds[kind]:
            records.update({front + name: data for front in fronts})
    with open(path, "w") as out:
        out.write(f"$TTL 10\n$ORIGIN {resolvers.ORIGIN}.\n@ SOA localhost. root.localhost. 1 3600 1200 604800 10\n"
                  "@ NS localhost.\n")
        for owner, data in records.items():
            out.writelines(f"{owner} {one}\n" for one in data)
    return path


def shown(found):
    """A verdict in a few words: the code and the addresses."""
    code, records = found
    return " ".join([code] + [data for _, _, data in records])


def addresses(found):
    """What must be the same: the code, truncation, and the data of the answer."""
    code, records = found
    return code, tuple(sorted((rtype, data) for _, rtype, data in records))


def is_sinkholed(found):
    """Whether the first order's address is answered."""
    return "192.0.2.1" in shown(found)


def run(root, target, data, count, say):
    """Compares; gives back a section for the report and whether all was the same."""
    names, source = base_names(data, count)
    orders = os.path.join(root, "orders")
    kinds = make_orders(orders, names)
    queries = make_queries(kinds, ASKED if count >= LISTED else count)
    total = sum(len(listed) for listed in kinds.values())
    say(f"{total:,} names from {source}; {len(queries):,} to ask for")
    zone = os.path.join(root, "export.zone")
    config = resolvers.write(os.path.join(root, "export.toml"), CONFIG.replace("ORDERS", orders).replace(
        "{port}", "0").replace("{upstream}", "9"))
    began = time.monotonic()
    said = subprocess.run([f"{target}/sinkscope", "export", "--config", config, "--format", "rpz", "--output", zone],
                          capture_output=True, text=True)
    if said.returncode != 0:
        raise RuntimeError(f"export failed: {said.stderr[-2000:]}")
    export_s = time.monotonic() - began
    with open(zone) as lines:
        records = sum(1 for line in lines if line[0] not in ";$@")
    say(f"exported: {records:,} records in {export_s:.2f} s")

    upstream = process.free_port()
    process.start([f"{target}/examples/mock_upstream", f"127.0.0.1:{upstream}"], [0, 1], f"{root}/mock.log")
    template = CONFIG.replace("ORDERS", orders)
    canaries = [(name, "A") for name in random.Random(f"{SEED} canaries").sample(kinds["exact"], min(3000, len(kinds["exact"])))]
    rng = random.Random(f"{SEED} types")
    plain = [name for name, _ in queries if name not in set(kinds["drop"])]
    others = rng.sample(plain, min(OTHER_TYPES, len(plain)))
    asked = [(name, "A") for name, _ in queries] + [(name, qtype) for qtype in ("AAAA", "TXT") for name in others]
    found, loading, asking = {}, {}, {}
    for name in ["sinkscope", *resolvers.OTHERS]:
        began = time.monotonic()
        if name == "sinkscope":
            server = resolvers.start(name, root, resolvers.sinkscope, upstream, f"{target}/sinkscope", template)
        else:
            server = resolvers.start(name, root, resolvers.OTHERS[name], upstream, zone)
        wire.wait_until(server.port, canaries, is_sinkholed, server.process, 300)
        loading[name] = time.monotonic() - began
        began = time.monotonic()
        found[name] = wire.ask_all(server.port, asked)
        asking[name] = time.monotonic() - began
        say(f"{name}: ready after {loading[name]:.1f} s, {len(asked):,} answers in {asking[name]:.1f} s")
        process.end(server.process)
    plain = {}
    zone = plain_zone(os.path.join(root, "plain.zone"), kinds)
    for name, make in resolvers.OTHERS.items():
        server = resolvers.start(name, os.path.join(root, "plain"), make, upstream, zone)
        wire.wait_until(server.port, canaries, is_sinkholed, server.process, 300)
        plain[name] = wire.ask_all(server.port, asked[:len(queries)])
        process.end(server.process)
        say(f"{name}: asked once more, with a zone without compensating records")
    return report(kinds, queries, asked, found, plain, loading, source, records, export_s, say)


def report(kinds, queries, asked, found, plain, loading, source, records, export_s, say):
    """The section."""
    what = dict(queries)
    own = found["sinkscope"]
    lines = ["## Export round trip", "",
             f"Orders over {sum(map(len, kinds.values())):,} names ({source}), exported as RPZ in {export_s:.2f} s "
             f"({records:,} records), loaded by each server; every server was asked for the same {len(queries):,} names "
             f"(A), and for {(len(asked) - len(queries)) // 2:,} of them AAAA and TXT. The upstream answers every name with 198.18.0.1.", "",
             "| written | names |", "|---|---|"]
    lines += [f"| {kind} | {len(listed):,} |" for kind, listed in kinds.items()]
    lines += ["", "Sinkscope's own answers, by what is asked for (A):", "", "| asked for | names | answers |", "|---|---|---|"]
    groups = {}
    for (name, qtype), seen in zip(asked, own):
        if qtype == "A":
            counts = groups.setdefault(what[name], {})
            counts[shown(seen)] = counts.get(shown(seen), 0) + 1
    for group, counts in groups.items():
        told = "; ".join(f"{text}: {count:,}" for text, count in sorted(counts.items(), key=lambda item: -item[1]))
        lines.append(f"| {group} | {sum(counts.values()):,} | {told} |")
    lines += ["", "| server | ready after (s) | verdicts compared | identical | different |", "|---|---|---|---|---|"]
    differences = []
    for name, theirs in found.items():
        wrong = [(query, mine, other) for query, mine, other in zip(asked, own, theirs)
                 if addresses(mine) != addresses(other)]
        differences += [(name, *one) for one in wrong]
        lines.append(f"| {resolvers.TITLES[name]} | {loading[name]:.1f} | {len(asked):,} | {len(asked) - len(wrong):,} "
                     f"| {len(wrong):,} |")
    lines.append("")
    if differences:
        lines += ["| server | query | Sinkscope | server says |", "|---|---|---|---|"]
        lines += [f"| {resolvers.TITLES[name]} | {query[0]} {query[1]} ({what.get(query[0], '')}) | {shown(mine)} | {shown(other)} |"
                  for name, query, mine, other in differences[:200]]
        if len(differences) > 200:
            lines.append(f"| | and {len(differences) - 200:,} more | | |")
    else:
        lines.append("No verdict differs.")
    lines += ["", "The same orders written as RPZ without compensating records, one record for a name and one for a subtree, as "
              "scripts do; A queries that were answered otherwise than Sinkscope answers them:", "",
              "| server | innocent names taken | listed names that escaped | other answer |", "|---|---|---|---|"]
    truth = ("NOERROR", (("A", "198.18.0.1"),))
    for name, theirs in plain.items():
        pairs = [(addresses(mine), addresses(other)) for mine, other in zip(own, theirs)]
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        taken = sum(mine == truth for mine, _ in wrong)
        escaped = sum(other == truth for _, other in wrong)
        lines.append(f"| {resolvers.TITLES[name]} | {taken:,} | {escaped:,} | {len(wrong) - taken - escaped:,} |")
    say(f"differences: {len(differences)}")
    return lines, not differences
