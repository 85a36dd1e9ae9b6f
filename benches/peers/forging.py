"""Forged replies by the million beside right ones: whose answers a server gives."""

import http.client
import json
import math
import os
import socket
import subprocess

import client
import process
from entropy import LEAST_P
from measure import say

# Ours is judged, the others are for comparison.
SERVERS = ["sinkscope", "dnsdist", "unbound"]
# What the forger knows besides the name, and what he has to guess.
KNOWS = {"nothing": "port, ID and case", "port": "ID and case", "case": "the ID alone"}
# Questions a second that a client asks meanwhile, each once.
RATE = 300
# Values of an ID.
IDS = 65_536


class Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        """Opens the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def guesses(control):
    """What our own server has counted."""
    asking = Local(control)
    asking.request("GET", "/v1/metrics")
    lines = asking.getresponse().read().decode().splitlines()
    asking.close()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("sinkscope_upstream_guesses_total{"))


def chance(most, mean):
    """How often chance brings more than `most` where `mean` is due (Poisson)."""
    term = total = math.exp(-mean)
    for at in range(1, most + 1):
        term *= mean / at
        total += term
    return max(0.0, 1 - total)


def attack(bench, name, knows, datagrams):
    """One server under one kind of attack; what came of it."""
    bench.setup.upstream = process.free_port()
    server = bench.setup.make(name)
    control = os.path.join(server.cwd, "control.sock")
    if name == "sinkscope":
        with open(f"{server.cwd}/sinkscope.toml", "a") as config:
            config.write(f'[control]\nlisten = "unix:{control}"\n')
    forger = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(process.LOAD_CORE), f"{bench.target}/examples/forger",
         f"127.0.0.1:{server.port}", f"127.0.0.1:{bench.setup.upstream}", knows, str(datagrams), str(RATE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    server.process = process.start(server.command, [process.SERVER_CORE], f"{server.cwd}/log", cwd=server.cwd)
    client.wait_for(server.port, server.process)
    out, errors = forger.communicate("go\n")
    if not out:
        raise RuntimeError(f"{server.title}: {errors}")
    found = json.loads(out)
    found["guesses"] = guesses(control) if name == "sinkscope" else None
    found["title"] = server.title
    process.end(server.process)
    say(f"{server.title}, {KNOWS[knows]} guessed: {found['forged']} forged of {found['asked']} answers, {found['right']} right, "
        f"{found['lost']} lost, {found['other']} other; {found['by_udp']} by datagram, {found['by_tcp']} by TCP, "
        f"{found['guesses']} guesses counted")
    return found


def judge(bench, knows, datagrams, found):
    """Says what must not be of ours."""
    # Of questions whose port and case are known, one in 65,536 is met by the first guess; all others are asked by TCP then.
    due = found["by_udp"] / IDS if knows == "case" else 0
    if chance(found["forged"] - 1, due) < LEAST_P if due and found["forged"] else found["forged"]:
        bench.note(f"{KNOWS[knows]} guessed: {found['forged']} forged answers, {due:.2f} due")
    if found["right"] + found["forged"] != found["asked"]:
        bench.note(f"{KNOWS[knows]} guessed: {found['lost']} lost and {found['other']} other of {found['asked']} answers")
    if found["datagrams"] < datagrams:
        bench.note(f"{KNOWS[knows]} guessed: only {found['datagrams']} were forged in the time there is")
    if not found["guesses"]:
        bench.note(f"{KNOWS[knows]} guessed: no guess was counted")
    # The second before there is forging is not the attack's.
    under_attack = found["asked"] - 2 * RATE
    if knows == "case" and found["by_tcp"] < 0.95 * under_attack:
        bench.note(f"{KNOWS[knows]} guessed: of {under_attack} questions only {found['by_tcp']} were asked by TCP")


def measure(bench, names, datagrams):
    """Each kind of attack on each server."""
    text = [f"{datagrams:,} forged replies from the upstream's own address and port, as fast as one core makes them, while a "
            f"client asks {RATE} questions a second, each once, and the upstream takes 30 ms for each by datagram and none by "
            "TCP. Forged: answers of the forger that the client was given. Every other answer was read too. Where a server "
            "takes its upstream for dead, there is nothing to forge, and fewer are.", "",
            "| server | guessed | asked | forged | right | errors | lost | p50 ms | p99 ms | upstream asked by datagram | by TCP | "
            "guesses counted | replies forged | a second |", "|---" * 14 + "|"]
    runs = []
    for knows, what in KNOWS.items():
        for name in names:
            found = attack(bench, name, knows, datagrams)
            runs.append(found | {"server": name, "knows": knows})
            if name == "sinkscope":
                judge(bench, knows, datagrams, found)
            text.append(f"| {found['title']} | {what} | {found['asked']:,} | {found['forged']:,} | {found['right']:,} | "
                        f"{found['other']:,} | {found['lost']:,} | {found['p50_ms']:.1f} | {found['p99_ms']:.1f} | "
                        f"{found['by_udp']:,} | {found['by_tcp']:,} | {'' if found['guesses'] is None else found['guesses']} | "
                        f"{found['datagrams']:,} | {found['datagrams'] / max(0.001, found['seconds']):,.0f} |")
    return {"text": text, "targets": [], "runs": runs}
