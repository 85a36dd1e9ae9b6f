"""One response policy zone in every server: each query's answers side by side, and the rule behind every difference."""

import os
import shutil
import time

import process
import resolvers
import wire

FILES = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "tests/interop"))
# Below the zone's wildcards, so that the right answer shows that it is loaded.
READY = [("nx.a.example.net", "A"), ("x.wx.example.net", "A"), ("bad.tree.hole.example.net", "A")]


def read(name):
    """The lines of a file, comments left out, as words."""
    with open(os.path.join(FILES, name)) as lines:
        return [line.rstrip("\n") for line in lines if line.strip() and not line.startswith("#")]


def shown(found):
    """An answer in one line: its code and records, the owner where it is not the name asked for."""
    code, records = found
    return "; ".join([code] + [f"{owner} {rtype} {data}" for owner, rtype, data in records])


def short(text, query):
    """The same without the owner where it is the name asked for."""
    return text.replace(query.split()[0] + " ", "").replace("NOERROR; ", "")


# Everything is on loopback and one query is under way: what does not come within this does not come.
WAIT_S = 0.4
# Names of same.queries that lead to others. Unbound gives records with TTL 0 again within the same second, and judges what
# it has in its cache otherwise than what it fetches: a second in front of them makes it fetch.
ALIASES, PAUSE_S = ("c-", "tonx.", "toip."), 1.1


def ask(queries, start):
    """The answers to all queries, one after the other, from the addresses they are to come from.

    `start` starts the server, and again where it ended by itself: the answer is then `ended`.
    """
    found, server = {}, start()
    for query in queries:
        name, qtype, source = (query.split() + ["127.0.0.1"])[:3]
        if name.startswith(ALIASES):
            time.sleep(PAUSE_S)
        found[query] = shown(wire.ask_all(server.port, [(name, qtype)], source, WAIT_S)[0])
        if server.process.poll() is not None:
            found[query] = "ended"
            server = start()
    process.end(server.process)
    return found


def is_captured(found):
    """Whether an answer is NXDOMAIN or NODATA."""
    return found[0] == "NXDOMAIN" or found == ("NOERROR", ())


def run(root, target, template, record, say):
    """Compares; gives back a section for the report and whether all is explained and as it was recorded.

    `template` configures Sinkscope with the zone, {zone} standing for its file; without it the others are compared alone.
    """
    queries = read("same.queries")
    zone = shutil.copy(os.path.join(FILES, "same.zone"), root)
    upstream = process.free_port()
    here = os.path.dirname(os.path.abspath(__file__))
    process.start(["python3", os.path.join(here, "truth.py"), str(upstream), os.path.join(FILES, "same.truth")], [0, 1],
                  f"{root}/mock.log")
    found = {}
    for name in [*(["sinkscope"] if template else []), *resolvers.OTHERS]:
        def start():
            if name == "sinkscope":
                text = template.replace("{zone}", zone)
                server = resolvers.start(name, root, resolvers.sinkscope, upstream, f"{target}/sinkscope", text)
            else:
                server = resolvers.start(name, root, resolvers.OTHERS[name], upstream, zone)
            wire.wait_until(server.port, READY, is_captured, server.process, 60)
            return server
        found[name] = ask(queries, start)
        say(f"{name}: {len(found[name])} answers, {list(found[name].values()).count('ended')} ends")
    return report(queries, found, record, say)


def recorded(queries, found, record):
    """The queries whose answers by the other servers are not those in same.answers; all of them are written when asked for."""
    names = list(resolvers.OTHERS)
    path = os.path.join(FILES, "same.answers")
    head = ("# What other servers answer to same.queries with same.zone (Debian 12's packages): query, then by tabs "
            f"{', '.join(resolvers.TITLES[name] for name in names)}.\n# benches/interop/run same-zone --record writes it.\n")
    lines = {query: "\t".join([query] + [found[name][query] for name in names]) for query in queries}
    if record:
        with open(path, "w") as out:
            out.write(head + "\n".join(lines.values()) + "\n")
        return []
    known = {line.split("\t")[0]: line for line in read("same.answers")} if os.path.exists(path) else {}
    return [query for query in queries if known.get(query) != lines[query]]


def explanations():
    """Rules by query: each line of same.explanations has queries, with `*` for any type, then the rule."""
    found = {}
    for line in read("same.explanations"):
        queries, rule = line.split("\t", 1)
        for query in queries.split(", "):
            found[query] = rule
    return found


def explained(query, rules):
    """The rule for a query, or none."""
    words = query.split()
    keys = [query, " ".join([words[0], "*", *words[2:]])]
    return next((rules[key] for key in keys if key in rules), None)


def report(queries, found, record, say):
    """The section."""
    names, rules = list(found), explanations()
    differing = [query for query in queries if len({found[name][query] for name in names}) > 1]
    changed = recorded(queries, found, record)
    unexplained = [query for query in differing if explained(query, rules) is None]
    idle = sorted(rules.keys() - {key for query in differing for key in (
        query, " ".join([query.split()[0], "*", *query.split()[2:]]))})
    titles = [resolvers.TITLES[name] for name in names]
    lines = ["## The same zone", "",
             f"`tests/interop/same.zone` in {', '.join(titles)}: {len(queries)} queries (`same.queries`), "
             f"{len(queries) - len(differing)} answered alike by all, {len(differing)} not, of which {len(unexplained)} are "
             f"unexplained. Compared are code, truncation and records, not TTLs. `drop` is silence; `ended` is a server that ended by itself. The upstream's TTL is 0, so that no answer depends on an earlier one.", "",
             "| server | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for name in names:
        same = [sum(found[name][query] == found[other][query] for query in queries) for other in names]
        lines.append(f"| {resolvers.TITLES[name]} agrees with | " + " | ".join(map(str, same)) + " |")
    lines += ["", "All servers forward to the same upstream. "
              "Unbound judges the targets of aliases that it has in its cache otherwise than those it fetches (most escape); "
              "here it fetches.", "", "Every difference, by rule:", ""]
    by_rule = {}
    for query in differing:
        by_rule.setdefault(explained(query, rules) or "UNEXPLAINED", []).append(query)
    for rule, own in by_rule.items():
        lines += [f"**{rule}**", "", "| query | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
        lines += [f"| {query} | " + " | ".join(short(found[name][query], query) for name in names) + " |" for query in own]
        lines.append("")
    if changed:
        lines += ["Not as recorded in same.answers: " + ", ".join(changed), ""]
    if idle:
        lines += ["Explained but alike: " + ", ".join(idle), ""]
    say(f"{len(differing)} of {len(queries)} queries differ, {len(unexplained)} unexplained, {len(changed)} not as recorded")
    return lines, not unexplained and not changed
