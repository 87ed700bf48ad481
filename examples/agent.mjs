#!/usr/bin/env node
// An agent in JavaScript, with what Node brings along. It does its steps one after the other,
// remembers them, and throws half-way at its first attempt. Try it:
//
//   stateward run --state memory.json --restart always -- node examples/agent.mjs memory.json
//
// Where STATEWARD_URL is set it also hands its memory to the sidecar after each step, and asks it
// first when it starts; the step counts as done when the sidecar has answered, because then it is
// durable. STEPS is how many there are (6), PAUSE how long one takes in seconds (0.3).

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const path = process.argv[2] ?? "memory.json";
const steps = Number(process.env.STEPS ?? 6);
const attempt = Number(process.env.STATEWARD_ATTEMPT ?? 1);
const sidecar = process.env.STATEWARD_URL;
const checkpoints = `/v1/agents/${encodeURIComponent(process.env.STATEWARD_AGENT ?? "default")}/checkpoints`;

// Asks the sidecar behind STATEWARD_URL: `unix:/path/to/socket` or `http://host:port`.
function ask(method, path, body) {
  const place = sidecar.startsWith("unix:")
    ? { socketPath: sidecar.slice("unix:".length) }
    : { hostname: new URL(sidecar).hostname, port: new URL(sidecar).port };
  const headers = { "Content-Type": "application/json" };
  if (process.env.STATEWARD_TOKEN) {
    headers.Authorization = `Bearer ${process.env.STATEWARD_TOKEN}`;
  }
  return new Promise((resolve, reject) => {
    const asking = request({ ...place, method, path, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode, body: JSON.parse(text || "null") }));
    });
    asking.on("error", reject);
    asking.end(body && JSON.stringify(body));
  });
}

async function recall() {
  if (sidecar) {
    const { status, body } = await ask("GET", `${checkpoints}/latest/state`);
    if (status === 200) {
      // It may be newer than the file: this died between the one and the other.
      write(body);
      return body;
    }
  }
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { done: [] };
}

async function keep(memory) {
  if (sidecar) {
    const { status, body } = await ask("POST", checkpoints, { state: memory });
    if (status !== 201) throw new Error(`the sidecar did not keep it: ${body?.detail}`);
  }
  write(memory);
}

function write(memory) {
  // Written beside it and renamed: whoever reads the memory finds the old one or the new one.
  writeFileSync(`${path}.new`, JSON.stringify(memory));
  renameSync(`${path}.new`, path);
}

const memory = await recall();
console.log(`attempt ${attempt}: goes on after step ${memory.done.length}`);
while (memory.done.length < steps) {
  await pause(1000 * Number(process.env.PAUSE ?? 0.3));
  memory.done.push(memory.done.length + 1);
  await keep(memory);
  console.log(`  step ${memory.done.at(-1)}`);
  if (memory.done.length === Math.floor(steps / 2) && attempt === 1) {
    throw new Error("a bug that comes once");
  }
}
console.log(`did ${memory.done.join(",")}`);
