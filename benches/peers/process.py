"""Processes: started on a core, measured through /proc, and ended by pid, whatever happens."""

import os
import shutil
import signal
import socket
import subprocess
import time

# The server has a core of its own; the load, the upstream and this script share the other.
SERVER_CORE = 0
LOAD_CORE = 1
# How long a server may take to end by itself.
END_LIMIT_S = 5
# Servers live where not every user's path leads.
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"

_running = []


def found(command):
    """Where a command is."""
    program = shutil.which(command, path=PATH)
    if program is None:
        raise RuntimeError(f"{command} is not installed")
    return program


def start(command, cores, log, cwd=None):
    """Starts a command on those cores, its output in the file `log`; it does not outlive this script."""
    program = found(command[0])
    line = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", ",".join(map(str, cores)), program, *command[1:]]
    with open(log, "ab") as out:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd)
    _running.append(process)
    return process


def confine(process, core):
    """Puts all threads of a process on one core."""
    subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(process.pid)],
                   stdout=subprocess.DEVNULL, check=True)


def end(process):
    """Ends a process, kindly first."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in _running:
        _running.remove(process)


def end_all():
    """Ends whatever still runs, the youngest first."""
    for process in reversed(list(_running)):
        end(process)


def free_port(taken=set()):
    """A port that is free for UDP and TCP on loopback now, and was not given before."""
    for _ in range(1000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
            try:
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken:
            taken.add(port)
            return port
    raise RuntimeError("no free port on 127.0.0.1")


def cpu_s(pid):
    """Seconds of CPU time a process has used, all threads that still run, to the nanosecond."""
    return sum(thread_cpu_s(pid).values())


def thread_cpu_s(pid):
    """The same by thread: one that ends takes its time along."""
    times = {}
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                times[thread] = int(stat.read().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        pass
    return times


def memory_mb(pid):
    """Resident memory now, and at most so far, in megabytes (10^6)."""
    found = {}
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM"):
                found[key] = int(value.split()[0]) * 1024 / 1e6
    return found["VmRSS"], found["VmHWM"]


class Noise:
    """What others took of the two cores since it was made: the hypervisor (steal), and other processes."""

    def __init__(self):
        self.before = self.read()
        self.start = time.monotonic()

    @staticmethod
    def read():
        """Ticks of busy, stolen and all time, of each of the two cores."""
        cores = {}
        with open("/proc/stat") as stat:
            for line in stat:
                fields = line.split()
                if fields[0] in (f"cpu{SERVER_CORE}", f"cpu{LOAD_CORE}"):
                    user, nice, system, idle, wait, irq, soft, steal = map(int, fields[1:9])
                    busy = user + nice + system + irq + soft
                    cores[fields[0]] = (busy, steal, busy + steal + idle + wait)
        return cores

    def steal(self):
        """The share of the worse-off core that the hypervisor took, in per cent."""
        after = self.read()
        return max(100 * (after[core][1] - was[1]) / max(1, after[core][2] - was[2])
                   for core, was in self.before.items())

    def foreign(self, own_s):
        """The share of both cores that went to processes other than ours, which used `own_s`, in per cent."""
        after = self.read()
        busy_s = sum(after[core][0] - was[0] for core, was in self.before.items()) / os.sysconf("SC_CLK_TCK")
        elapsed = time.monotonic() - self.start
        return max(0.0, 100 * (busy_s - own_s) / (len(self.before) * elapsed))
