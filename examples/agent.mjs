#!/usr/bin/env node
// An agent in JavaScript, with what Node brings along. It does its steps one after the other,
// remembers them in a file, and throws half-way at its first attempt. Try it:
//
//   stateward run --state memory.json --restart always -- node examples/agent.mjs memory.json
//
// STEPS is how many there are (6), PAUSE how long one takes in seconds (0.3).

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

const path = process.argv[2] ?? "memory.json";
const steps = Number(process.env.STEPS ?? 6);
const attempt = Number(process.env.STATEWARD_ATTEMPT ?? 1);
const memory = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { done: [] };

console.log(`attempt ${attempt}: goes on after step ${memory.done.length}`);
while (memory.done.length < steps) {
  await pause(1000 * Number(process.env.PAUSE ?? 0.3));
  memory.done.push(memory.done.length + 1);
  // Written beside it and renamed: whoever reads the memory finds the old one or the new one.
  writeFileSync(`${path}.new`, JSON.stringify(memory));
  renameSync(`${path}.new`, path);
  console.log(`  step ${memory.done.at(-1)}`);
  if (memory.done.length === Math.floor(steps / 2) && attempt === 1) {
    throw new Error("a bug that comes once");
  }
}
console.log(`did ${memory.done.join(",")}`);
