"""Upstreams that do not do as they should, one fault a row: who still gets an answer, how soon, and what it costs the upstream."""

import asyncio
import os
import random
import struct
import time
from dataclasses import dataclass, field
from functools import partial

import process
import report
import versions
from measure import say
from scripted import (HOST, ZONE, Authority, Script, Upstream, address, always, forged, garbage, lower, name_end, other_id,
                      other_question, reply, right, has_opt)

# Questions of a row for each server, from so many clients.
QUESTIONS, CLIENTS = 200, 40
# Seconds between two questions of a client, unless it still waits for the first.
PACE_S = 0.5
# How long a client waits for an answer; it asks once.
PATIENCE_S = 5
# Of ours, the share of questions that must be answered under every fault there is.
LEAST = 0.97
# Servers that are measured at a time, and so rows, not counting those that wait for connections to idle.
AT_A_TIME = 12
# Rows of idle connections ask so often, each time as many clients at once, the first so many seconds before the upstream would
# close, and each time a little later.
BURSTS, EARLY_S, LATER_S = 10, 0.04, 0.012
# Rows of connections that are closed soon: after so many idle seconds, while so many clients ask at once again and again, as much
# earlier or later as this at most; and questions of each unless told otherwise, 100,200 of the three.
SOON_S, RACERS, ABOUT_S, RACES = 0.04, 8, 0.002, 33_400


@dataclass
class Row:
    """A fault: of the only upstream, or of the first one with a good one behind it."""
    title: str
    script: Script
    beside: bool = False
    # What that one does.
    second: Script = field(default_factory=Script)
    # udp, tcp, tls or https.
    way: str = "udp"
    # Clients that ask with EDNS.
    edns: bool = False
    # After how long its connections are closed, where questions come about then.
    idle_s: float | None = None
    # Whether that is soon, and questions come about then again and again.
    races: bool = False
    # What else Unbound's configuration says in this row.
    unbound: str = ""


def lossy(query):
    """Three of ten are lost."""
    return [] if random.random() < 0.3 else [(0, right(query))]


def sluggish(query):
    """Takes up to three seconds."""
    return [(random.uniform(0, 3), right(query))]


def slow(query):
    """Takes longer than a try is waited for."""
    return [(1.6, right(query))]


def unhurried(query):
    """Takes as long as one that is far away."""
    return [(0.1, right(query))]


def without_edns(error):
    """A script of a server that knows no EDNS, and says so by this."""
    return lambda query: [(0, error(query) if has_opt(query) else right(query))]


def mute(_):
    """Says nothing."""
    return []


def cut(query):
    """Says that it does not fit."""
    return reply(query, truncated=True)


CAPS = "use-caps-for-id: yes"
FORMERR, SERVFAIL, NOTIMP, REFUSED = 1, 2, 4, 5
# Questions that an upstream answers before its fault begins, where it was well at first.
SOUND = 40
ROWS = {
    "none": Row("no fault", Script()),
    "drop": Row("drops 30 %", Script(lossy)),
    "delay": Row("takes 0 to 3 s", Script(sluggish)),
    "slow": Row("takes 1.6 s", Script(slow)),
    "drop-first": Row("the first drops 30 %", Script(lossy), beside=True),
    "drop-both": Row("both drop 30 %", Script(lossy), beside=True, second=Script(lossy)),
    "delay-first": Row("the first takes 0 to 3 s", Script(sluggish), beside=True),
    "slow-first": Row("the first takes 1.6 s", Script(slow), beside=True),
    "dies": Row(f"the first says nothing after {SOUND} answers", Script(mute, mute, after=SOUND), beside=True),
    "dies-tls": Row(f"TLS: the first says nothing after {SOUND} answers", Script(None, mute, after=SOUND), beside=True, way="tls"),
    "slows": Row(f"the first takes 1.6 s after {SOUND} answers", Script(slow, after=SOUND), beside=True),
    "servfail-later": Row(f"the first says SERVFAIL after {SOUND} answers",
                          Script(always(lambda query: reply(query, SERVFAIL)), after=SOUND), beside=True),
    "dead": Row("the first says nothing", Script(mute, mute), beside=True),
    "servfail": Row("the first says SERVFAIL", Script(always(lambda query: reply(query, SERVFAIL))), beside=True),
    "refused": Row("the first says REFUSED", Script(always(lambda query: reply(query, REFUSED))), beside=True),
    "truncates": Row("truncates, TCP is well", Script(always(cut))),
    "truncates-closes": Row("truncates, closes TCP after each answer", Script(always(cut), close_after=1)),
    "truncates-hangs": Row("the first truncates, its TCP never answers", Script(always(cut), mute), beside=True),
    "wrong-id": Row("a wrong ID before the right one", Script(always(lambda query: forged(other_id(query)), right))),
    "wrong-question": Row("a wrong question before the right one",
                          Script(always(lambda query: forged(other_question(query)), right))),
    "wrong-case": Row("answers in lower case (Unbound with use-caps-for-id)", Script(always(lambda query: lower(right(query)))),
                      unbound=CAPS),
    "garbage": Row("garbage before the right answer", Script(always(garbage, right))),
    "garbage-alone": Row("garbage alone, TCP is well", Script(always(garbage))),
    "formerr-opt": Row("FORMERR to EDNS, with OPT", Script(without_edns(lambda query: reply(query, FORMERR, opt=True))), edns=True),
    "formerr-bare": Row("FORMERR to EDNS, a header alone",
                        Script(without_edns(lambda query: reply(query, FORMERR, question=False))), edns=True),
    "notimp": Row("NOTIMP to EDNS", Script(without_edns(lambda query: reply(query, NOTIMP))), edns=True),
    "half-open": Row("TCP alone: the first accepts and never answers", Script(None, mute), beside=True, way="tcp"),
    "closes-tcp": Row("TCP alone: closed after each answer", Script(None, close_after=1), way="tcp"),
    "closes-tls": Row("TLS: closed after each answer", Script(None, close_after=1), way="tls"),
    "serial-tcp": Row("TCP alone: takes 0.1 s, one question of a connection at a time", Script(None, unhurried), way="tcp"),
    "serial-tls": Row("TLS: takes 0.1 s, one question of a connection at a time", Script(None, unhurried), way="tls"),
    "closes-slow-tcp": Row("TCP alone: takes 0.1 s, closed after each answer", Script(None, unhurried, close_after=1), way="tcp"),
    "closes-slow-tls": Row("TLS: takes 0.1 s, closed after each answer", Script(None, unhurried, close_after=1), way="tls"),
    "half-open-tls": Row("TLS: the first accepts and never answers", Script(None, mute), beside=True, way="tls"),
    "other-name": Row("TLS: the first has another's name", Script(None, certificate="other-name"), beside=True, way="tls"),
    "expired": Row("TLS: the first has an expired certificate", Script(None, certificate="expired"), beside=True, way="tls"),
} | {
    f"idle-{way}-{seconds}": Row(f"{way.upper()}: closed when idle for {seconds} s", Script(None, idle_s=seconds), way=way,
                                 idle_s=seconds)
    for way in ("tcp", "tls") for seconds in (4, 8, 11)
} | {
    f"races-{way}": Row(f"{way.upper()}: closed when idle for {SOON_S * 1000:.0f} ms, and questions about then", Script(None, idle_s=SOON_S),
                        way=way, idle_s=SOON_S, races=True)
    for way in ("tcp", "tls", "https")
}


# Those that are measured by themselves.
RACES_ROWS = [key for key, row in ROWS.items() if row.races]


def sinkscope(bench, folder, port, ports, row, says=""):
    """Our own configuration, and what it says of whom to ask."""
    scheme = {"udp": "udp://", "tcp": "tcp://", "tls": f"tls://{HOST}@", "https": f"https://{HOST}@"}[row.way]
    servers = ", ".join(f'"{scheme}127.0.0.1:{one}"' for one in ports)
    config = bench.setup.write(f"{folder}/sinkscope.toml", f"""\
[listen]
udp = ["127.0.0.1:{port}"]
tcp = ["127.0.0.1:{port}"]
workers = 1
[upstream]
servers = [{servers}]
{says}
ca_file = "{bench.authority.file}"
[orders]
paths = []
""")
    return [f"{bench.target}/sinkscope", "serve", "--config", config]


def unbound(bench, folder, port, ports, row):
    """Unbound's, its limits and times as they are by default."""
    host = f"#{HOST}" if row.way == "tls" else ""
    addresses = "\n".join(f"  forward-addr: 127.0.0.1@{one}{host}" for one in ports)
    way = {"udp": "", "tcp": "  forward-tcp-upstream: yes", "tls": "  forward-tls-upstream: yes"}[row.way]
    config = bench.setup.write(f"{folder}/unbound.conf", f"""\
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  do-ip6: no
  qname-minimisation: no
  tls-cert-bundle: "{bench.authority.file}"
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 0
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  {row.unbound}
remote-control:
  control-enable: no
forward-zone:
  name: "."
{way}
{addresses}
""")
    return ["unbound", "-d", "-p", "-c", config]


def dnsdist(bench, folder, port, ports, row):
    """dnsdist's, the first upstream first, its health checks as they are by default."""
    tls = f", tls='openssl', subjectName='{HOST}', caStore='{bench.authority.file}', validateCertificates=true"
    way = {"udp": "", "tcp": ", tcpOnly=true", "tls": tls, "https": f"{tls}, dohPath='/dns-query'"}[row.way]
    servers = "\n".join(f"newServer({{address='127.0.0.1:{one}', order={at}{way}}})" for at, one in enumerate(ports, 1))
    config = bench.setup.write(f"{folder}/dnsdist.conf", f"""\
setACL({{'127.0.0.0/8'}})
addLocal('127.0.0.1:{port}')
setSecurityPollSuffix('')
setServerPolicy(firstAvailable)
{servers}
getPool(''):setCache(newPacketCache(10000))
""")
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", config]


# Who is measured where upstreams are asked over HTTPS.
BY_HTTPS = ("sinkscope",)
# What the tables show.
ABOUT_FAULTS = """\
Beside a first upstream with the fault there is a good second one where it says "the first". Answered: rightly, of all; p50 and p99 of \
those, in milliseconds, medians of the rounds; extra: questions upstream beyond one a question. Settings are each server's own by default. \
dnsdist takes the first upstream that its health checks, which meet the same fault and are not counted, find up, and hands on what it says, \
errors and truncation too; where all are down it asks nobody. Ours asks each of two once on start, which is not counted either. Unbound takes \
any that is fast."""
ABOUT_RACES = f"""\
All ask at once, again and again, from {1000 * ABOUT_S:.0f} ms before to {1000 * ABOUT_S:.0f} ms after the moment at which the upstream \
closes what is idle, HTTP/2 without a word. Answered, failed and unanswered are counts; p50 and p99 of those answered, in milliseconds; \
extra: questions that the upstream has read beyond one a question. Unbound does not ask by HTTPS, and dnsdist is left out there: 1.7.3 \
leaves a sixth unanswered and 2.1.3 a sixteenth, each for as long as a client waits."""
SERVERS = {"sinkscope": ("Sinkscope", sinkscope), "unbound": ("Unbound", unbound), "dnsdist": ("dnsdist", dnsdist)}
USUAL = list(SERVERS)
# Every way in which ours chooses whom to ask, as the configuration says it. "random" and "fastest" hedge unless told otherwise;
# where two are asked at once there is nothing to hedge.
STRATEGIES = {
    "in-order": 'strategy = "in-order"',
    "in-order-hedged": 'strategy = "in-order"\nhedge = true',
    "random": 'strategy = "random"',
    "random-unhedged": 'strategy = "random"\nhedge = false',
    "fastest": 'strategy = "fastest"',
    "fastest-unhedged": 'strategy = "fastest"\nhedge = false',
    "parallel": 'strategy = "parallel"',
}
# Ours where there is one upstream, by the default: there is nothing to choose.
ANY = "sinkscope/any"
SERVERS |= {f"sinkscope/{name}": (f"sinkscope/{name}", partial(sinkscope, says=says)) for name, says in STRATEGIES.items()}
SERVERS |= {ANY: (ANY, sinkscope)}
ABOUT_STRATEGIES = """\
Ours by each `upstream.strategy`, with and without `upstream.hedge` where that makes a difference; rows with one upstream once, as \
`sinkscope/any`: there is nothing to choose."""


class Client(asyncio.DatagramProtocol):
    """Asks one server by datagram, and by TCP what does not fit, as a stub does; from an address of its own, for servers bound
    what one client may wait for."""

    def __init__(self, number, port, edns):
        self.own, self.port, self.edns, self.waiting = f"127.0.1.{number + 1}", port, edns, {}
        self.transport = None

    async def open(self):
        """Takes a port."""
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=(self.own, 0), remote_addr=("127.0.0.1", self.port))
        return self

    def connection_made(self, transport):
        """asyncio's: the socket is there."""
        self.transport = transport

    def error_received(self, _):
        """asyncio's: nobody listens. Then nothing comes."""

    def datagram_received(self, octets, _):
        """asyncio's: a reply is there."""
        future = self.waiting.get(octets[:2])
        if future and not future.done():
            future.set_result(octets)

    async def ask(self, name):
        """What came of a question, `right`, `wrong`, `failed` or `none`, and after how many milliseconds."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        ident = struct.pack(">H", random.getrandbits(16))
        query = ident + struct.pack(">5H", 0x0100, 1, 0, 0, self.edns) + labels + b"\0\0\1\0\1"
        if self.edns:
            query += b"\0\0\x29\x04\xd0" + bytes(6)
        began = time.monotonic()
        try:
            octets = await asyncio.wait_for(self.exchange(query), PATIENCE_S)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, OSError):
            return "none", None
        took_ms = (time.monotonic() - began) * 1000
        if octets[3] & 15:
            return "failed", took_ms
        # Behind the question: one record, whose address is its last four octets; an OPT may follow.
        end = name_end(octets) + 4
        is_right = octets[6:8] == b"\0\1" and octets[end + 12:end + 16] == address(name)
        return "right" if is_right else "wrong", took_ms

    async def exchange(self, query):
        """The reply, whole."""
        future = self.waiting[query[:2]] = asyncio.get_running_loop().create_future()
        self.transport.sendto(query)
        octets = await future
        if not octets[2] & 2:
            return octets
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.own, 0))
        try:
            writer.write(struct.pack(">H", len(query)) + query)
            return await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])
        finally:
            writer.close()


async def ready(port, running):
    """Waits until a server listens."""
    for _ in range(500):
        if running.poll() is not None:
            raise RuntimeError(f"ended by itself with {running.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            # Health checks settle.
            return await asyncio.sleep(1)
        except OSError:
            await asyncio.sleep(0.02)
    raise RuntimeError("does not listen")


async def one_client(client, at, names):
    """One client's questions, one after the other."""
    came = []
    await asyncio.sleep(PACE_S * at / CLIENTS)
    for name in names:
        due = time.monotonic() + PACE_S
        came.append(await client.ask(name))
        await asyncio.sleep(max(0, due - time.monotonic()))
    return came


async def bursts(clients, names, idle_s):
    """All clients at once, again and again, about when the upstream closes what is idle."""
    came, size = [], len(names) // BURSTS
    for at in range(BURSTS):
        these = names[at * size:(at + 1) * size]
        came += await asyncio.gather(*(client.ask(name) for client, name in zip(clients, these)))
        await asyncio.sleep(idle_s - EARLY_S + at * LATER_S)
    return came


async def races(clients, names, idle_s):
    """All clients at once, again and again, about when the upstream closes what is idle."""
    came = []
    for at in range(0, len(names), len(clients)):
        came += await asyncio.gather(*(client.ask(name) for client, name in zip(clients, names[at:])))
        await asyncio.sleep(idle_s + random.uniform(-ABOUT_S, ABOUT_S))
    return came


async def one(bench, key, name, number):
    """One row's questions to one server; what came."""
    row, (title, configure) = ROWS[key], SERVERS[name]
    stem = name.replace("/", "-")
    folder = os.path.join(bench.folder, f"{key}-{stem}-{number}")
    os.makedirs(folder)
    upstreams = [Upstream(row.script)] + ([Upstream(row.second)] if row.beside else [])
    ports = [process.free_port() for _ in upstreams]
    for upstream, port in zip(upstreams, ports):
        tls = bench.authority.context(upstream.script.certificate, row.way) if row.way in ("tls", "https") else None
        await upstream.open(port, tls, row.way == "https")
    port = process.free_port()
    running = process.start(configure(bench, folder, port, ports, row), [process.SERVER_CORE], f"{folder}/log", cwd=folder)
    try:
        await ready(port, running)
        clients = [await Client(at, port, row.edns).open() for at in range(RACERS if row.races else CLIENTS)]
        names = [f"q{at}.{key}.{stem}.{number}.{ZONE}" for at in range(bench.questions)]
        if row.races:
            came = await races(clients, names, row.idle_s)
        elif row.idle_s:
            came = await bursts(clients, names, row.idle_s)
        else:
            each = await asyncio.gather(*(one_client(client, at, names[at::CLIENTS]) for at, client in enumerate(clients)))
            came = [one for mine in each for one in mine]
        if running.poll() is not None:
            bench.note(f"{title}, {row.title}: ended by itself with {running.returncode}")
    finally:
        # Waited for elsewhere: other rows go on.
        await asyncio.to_thread(process.end, running)
        for upstream in upstreams:
            upstream.close()
    for client in clients:
        client.transport.close()
    times = sorted(took for what, took in came if what == "right")
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))] if times else None
    asked = sum(sum(upstream.asked.values()) for upstream in upstreams)
    return {what: sum(one == what for one, _ in came) for what in ("right", "wrong", "failed", "none")} | {
        "p50_ms": at(0.5), "p99_ms": at(0.99), "extra": asked / len(came) - 1, "asked": len(came),
        "by_datagram": sum(upstream.asked["udp"] for upstream in upstreams),
        "by_stream": sum(upstream.asked["stream"] for upstream in upstreams),
        "to_second": sum(upstreams[1].asked.values()) if row.beside else None,
        "connections": [upstream.connections for upstream in upstreams]}


def shown(name):
    """A server's name in the tables, with the version of a rival."""
    title = SERVERS[name][0]
    return f"{title} {versions.of(title)}" if title in versions.RIVALS else title


def by_strategy(names, strategies):
    """The servers with ours by each of those strategies in place of the usual one, if there are any."""
    ours = [f"sinkscope/{strategy}" for strategy in strategies] or ["sinkscope"]
    return [one for name in names for one in (ours if name == "sinkscope" else [name])]


def who(names, row):
    """Those of the servers that a row is about: by HTTPS not all can ask, and of one upstream all our strategies make the same."""
    able = [name for name in names if row.way != "https" or name.split("/")[0] in BY_HTTPS]
    alike = lambda name: name if row.beside or "/" not in name else ANY
    return list(dict.fromkeys(map(alike, able)))


async def all_rows(bench, names, keys, rounds, runs):
    """Every row, all servers of it at the same time."""
    room, gate = asyncio.Semaphore(max(AT_A_TIME, len(names))), asyncio.Lock()

    async def row(key, number):
        able = who(names, ROWS[key])
        came = await asyncio.gather(*(one(bench, key, name, number) for name in able))
        for name, found in zip(able, came):
            runs[key].setdefault(name, []).append(found)
        say(f"round {number + 1} of {rounds}, {ROWS[key].title}: " + "; ".join(
            f"{name} {found['right']} of {found['asked']}, {found['p50_ms'] or 0:.1f} and {found['p99_ms'] or 0:.1f} ms, "
            f"{found['extra']:+.2f}" + (f", WRONG {found['wrong']}" if found["wrong"] else "")
            for name, found in zip(able, came)))

    async def in_turn(key, number):
        able = who(names, ROWS[key])
        # One row at a time takes what it needs, so that no two wait for each other with half of it.
        async with gate:
            for _ in able:
                await room.acquire()
        try:
            await row(key, number)
        finally:
            for _ in able:
                room.release()

    for number in range(rounds):
        await asyncio.gather(*((row if ROWS[key].idle_s else in_turn)(key, number) for key in keys))


def measure(bench, names, keys, rounds, count=QUESTIONS):
    """All rows, by so many questions each. Of ours no answer may be wrong, and nearly all questions must have one; where connections are
    closed soon, all."""
    names = [name for name in names if name in SERVERS]
    about = f"{ABOUT_FAULTS} {ABOUT_STRATEGIES}" if any("/" in name for name in names) else ABOUT_FAULTS
    bench.questions = count
    bench.authority = Authority(bench.folder)
    runs = {key: {} for key in keys}
    asyncio.run(all_rows(bench, names, keys, rounds, runs))
    races = any(ROWS[key].races for key in keys)
    text = [f"{count:,} questions a row and server from {RACERS if races else CLIENTS} clients, each for another name, {rounds} "
            f"{'round' if rounds == 1 else 'rounds'}; all servers of a row at the same time. A client asks once, waits {PATIENCE_S} s, and "
            f"asks by TCP what comes truncated. {ABOUT_RACES if races else about}", "",
            "| fault | server | answered | failed | no answer | p50 | p99 | extra | wrong |", "|---" * 9 + "|"]
    found = {}
    for key in keys:
        able = who(names, ROWS[key])
        for name in able:
            mine = runs[key][name]
            total = {what: sum(run[what] for run in mine) for what in ("asked", "right", "wrong", "failed", "none")}
            middle = {what: report.spread(run[what] for run in mine if run[what] is not None)
                      for what in ("p50_ms", "p99_ms", "extra")}
            found.setdefault(key, {})[name] = total | middle
            # Of many questions how many, of few their share.
            share = lambda what: (f"{total[what]:,}" if ROWS[key].races else f"{100 * total[what] / total['asked']:.1f} %")
            show = lambda what, digits: f"{middle[what][0]:.{digits}f}" if middle[what] else "-"
            text.append(f"| {ROWS[key].title if name == able[0] else ''} | {shown(name)} | {share('right')} | "
                        f"{share('failed')} | {share('none')} | {show('p50_ms', 1)} | {show('p99_ms', 1)} | {show('extra', 2)} | "
                        f"{total['wrong']} |")
            if name.startswith("sinkscope"):
                if total["wrong"]:
                    bench.note(f"{ROWS[key].title}, {SERVERS[name][0]}: {total['wrong']} wrong answers")
                if total["right"] < (1 if ROWS[key].races else LEAST) * total["asked"]:
                    bench.note(f"{ROWS[key].title}, {SERVERS[name][0]}: {total['right']} of {total['asked']} answered")
    if races:
        opened = (f"{SERVERS[name][0]} {sum(sum(run['connections']) for run in runs[key][name]):,} by {ROWS[key].way.upper()}"
                  for key in keys for name in runs[key])
        text += ["", f"Connections that were opened, and closed by the upstream: {', '.join(opened)}."]
    return {"text": text, "targets": [], "rows": found, "runs": runs}

