"""What checks that use Docker share: a daemon, containers that go away, and what is as it has to be."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches" / "interop"))
import wire  # noqa: E402


class Docker:
    """A daemon, ours if none ran, and all that was made by it."""

    def __init__(self, folder):
        self.folder, self.daemon, self.containers, self.env = folder, None, [], dict(os.environ)

    def begin(self):
        """Whether there is a daemon, if need be one that is started."""
        if self.try_(["info"]):
            return True
        if not shutil.which("dockerd") or os.geteuid() != 0:
            return False
        self.env["DOCKER_HOST"] = f"unix://{self.folder}/sock"
        flags = ["--data-root", "data", "--exec-root", "exec", "--pidfile", "pid"]
        flags = [flag if flag.startswith("--") else f"{self.folder}/{flag}" for flag in flags]
        log = open(self.folder / "dockerd.log", "wb")
        self.daemon = subprocess.Popen(["dockerd", *flags, "-H", self.env["DOCKER_HOST"]], stdout=log, stderr=log)
        return wait_for(lambda: self.try_(["info"]), 60)

    def try_(self, args):
        """Whether a command works."""
        try:
            return subprocess.run(["docker", *args], env=self.env, capture_output=True, timeout=60).returncode == 0
        except FileNotFoundError:
            return False

    def __call__(self, *args, env=None, tool="docker", check=True):
        done = subprocess.run([tool, *map(str, args)], env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=300)
        if check and done.returncode != 0:
            raise RuntimeError(f"{tool} {' '.join(map(str, args))}: {done.stderr or done.stdout}")
        return done.stdout.strip() if check else done

    def run(self, name, image, *args, flags=()):
        """Starts a container that goes on; its name is that of the check."""
        name = f"sinkscope-check-{name}"
        self.containers.append(name)
        self("run", "-d", "--name", name, *flags, image, *args)
        return name

    def remove(self, name):
        self("rm", "-f", "-v", name, check=False)

    def inspect(self, name, what):
        return json.loads(self("inspect", "-f", "{{json " + what + "}}", name))

    def log(self, name):
        done = self("logs", name, check=False)
        return done.stdout + done.stderr

    def end(self, images, networks=()):
        """Removes what was made, these images and networks too, and ends the daemon if it is ours."""
        for name in self.containers:
            self.remove(name)
        for image in images:
            self("rmi", image, check=False)
        if networks:
            self("network", "rm", *networks, check=False)
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)


class Told:
    """What is as it has to be and what is not."""

    failed = 0

    def note(self, what, well, said=""):
        self.failed += not well
        print(f"{'ok    ' if well else 'NOT OK'}  {what}{f': {said}' if said else ''}", flush=True)


def wait_for(true, limit_s, every_s=0.05):
    """Whether something came to be so in time."""
    end = time.monotonic() + limit_s
    while not (found := true()) and time.monotonic() < end:
        time.sleep(every_s)
    return found


def ask(server, name, timeout_s=2.0, qtype="A"):
    """The addresses that a server has of a name; none without an answer."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(timeout_s)
    try:
        client.connect((server, 53))
        client.send(wire.query(7, name, qtype))
        code, records = wire.verdict(client.recv(4096))
        return code, [data for _, _, data in records]
    except OSError:
        return None, []
    finally:
        client.close()
