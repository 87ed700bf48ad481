#!/usr/bin/env python3
"""An agent in Python, with the standard library alone.

It does its steps one after the other, remembers them, and dies half-way at its first attempt, in the
middle of writing its memory, so that the file is torn. Try it:

    stateward run --state memory.json --restart always -- python3 examples/agent.py memory.json

Where STATEWARD_URL is set it also hands its memory to the sidecar after each step; the step counts
as done when the sidecar has answered, because then it is durable. Where it is not, the file is all
it has. STEPS is how many there are (6), PAUSE how long one takes in seconds (0.3).
"""

import http.client
import json
import os
import signal
import socket
import sys
import time
import uuid
from urllib.parse import quote, urlsplit


class Sidecar(http.client.HTTPConnection):
    """The sidecar behind STATEWARD_URL: `unix:/path/to/socket` or `http://host:port`."""

    def __init__(self, url):
        self.path = url[len("unix:"):] if url.startswith("unix:") else None
        super().__init__("localhost" if self.path else urlsplit(url).netloc, timeout=30)

    def connect(self):
        if self.path is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method, path, body=None, key=None):
        """Asks, and asks again while the sidecar is not there: another takes its place. A key makes
        that safe: what was done before it went is not done twice."""
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get("STATEWARD_TOKEN"):
            headers["Authorization"] = "Bearer " + token
        if key:
            headers["Idempotency-Key"] = key
        text = None if body is None else json.dumps(body)
        patience = time.monotonic() + 30
        while True:
            try:
                self.request(method, path, text, headers)
                answer = self.getresponse()
                return answer.status, json.loads(answer.read() or b"null")
            except (OSError, http.client.HTTPException):
                if time.monotonic() > patience:
                    raise
                time.sleep(0.1)
            finally:
                self.close()


class Memory:
    """What the agent knows, in a file and, where there is one, in the sidecar's keeping."""

    def __init__(self, path):
        self.path = path
        url = os.environ.get("STATEWARD_URL")
        self.sidecar = Sidecar(url) if url else None
        self.agent = "/v1/agents/" + quote(os.environ.get("STATEWARD_AGENT", "default"), safe="")

    def recall(self):
        if self.sidecar:
            status, state = self.sidecar.call("GET", self.agent + "/checkpoints/latest/state")
            if status == 200:
                # It may be newer than the file: this died between the one and the other.
                self.write(state)
                return state
        if os.path.exists(self.path):
            with open(self.path) as file:
                return json.load(file)
        return {"done": []}

    def keep(self, state):
        if self.sidecar:
            body = {"state": state, "comment": "step %d" % len(state["done"])}
            path, key = self.agent + "/checkpoints", str(uuid.uuid4())
            status, receipt = self.sidecar.call("POST", path, body, key)
            if status not in (200, 201):
                sys.exit("the sidecar did not keep step %d: %s" % (len(state["done"]), receipt))
        self.write(state)

    def write(self, state):
        with open(self.path + ".new", "w") as file:
            json.dump(state, file)
        os.replace(self.path + ".new", self.path)

    def tear(self, state):
        """What a crash in the middle of a write leaves."""
        with open(self.path, "w") as file:
            file.write(json.dumps(state)[:-3])


def main():
    steps, pause = int(os.environ.get("STEPS", 6)), float(os.environ.get("PAUSE", 0.3))
    attempt = int(os.environ.get("STATEWARD_ATTEMPT", 1))
    memory = Memory(sys.argv[1] if len(sys.argv) > 1 else "memory.json")
    state = memory.recall()
    print("attempt %d: goes on after step %d" % (attempt, len(state["done"])), flush=True)
    while len(state["done"]) < steps:
        time.sleep(pause)
        state["done"].append(len(state["done"]) + 1)
        memory.keep(state)
        print("  step %d" % state["done"][-1], flush=True)
        if len(state["done"]) == steps // 2 and attempt == 1:
            # What was written so far is left alone for a moment, as by an agent that thinks.
            time.sleep(float(os.environ.get("THINKS", 1.5)))
            memory.tear(state)
            print("  killed in the middle of a write", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    print("did " + ",".join(map(str, state["done"])))


main()
