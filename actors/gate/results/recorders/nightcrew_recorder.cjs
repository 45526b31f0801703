// Writes one test run's results into a file that ends with a mark of its own; see nightcrew_recorder.py.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const ORDER = ['skipped', 'passed', 'failed', 'error'];

class Recorder {
  // Null if no results are wanted. Takes the key out of the environment before any test is loaded.
  static start(runner) {
    const folder = process.env.NIGHTCREW_RESULTS;
    const key = process.env.NIGHTCREW_RESULTS_KEY || '';
    delete process.env.NIGHTCREW_RESULTS;
    delete process.env.NIGHTCREW_RESULTS_KEY;
    return folder ? new Recorder(runner, folder, key) : null;
  }

  #key;
  #path;
  #head;
  #tests = new Map();

  constructor(runner, folder, key) {
    this.#key = key;
    this.#path = path.join(folder, `${runner}-${process.pid}-${crypto.randomBytes(8).toString('hex')}.jsonl`);
    this.#head = `${JSON.stringify({ runner })}\n`;
    fs.writeFileSync(this.#path, this.#head, { flag: 'wx' });
  }

  // A failure is never replaced by something better.
  add(test, outcome) {
    const known = this.#tests.get(test);
    if (known === undefined || ORDER.indexOf(outcome) > ORDER.indexOf(known)) this.#tests.set(test, outcome);
  }

  finish() {
    const lines = [...this.#tests].map(([id, outcome]) => JSON.stringify({ id, outcome }));
    const body = lines.map((line) => `${line}\n`).join('');
    const end = crypto.createHmac('sha256', this.#key).update(this.#head + body).digest('hex');
    fs.appendFileSync(this.#path, `${body}${JSON.stringify({ end })}\n`);
  }
}

// A test file's name, the same in every checkout.
const nameOf = (file) => path.relative(process.cwd(), fs.existsSync(file) ? fs.realpathSync(file) : file);

module.exports = { Recorder, nameOf };
