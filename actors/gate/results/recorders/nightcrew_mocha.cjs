// Loaded by mocha's --require. Listens to its runner, whatever reporter prints.
'use strict';
const path = require('node:path');
const fs = require('node:fs');
const { Recorder, nameOf } = require('./nightcrew_recorder.cjs');

const script = fs.realpathSync(process.argv[1]);
const mocha = require(path.join(script.slice(0, script.lastIndexOf(`${path.sep}mocha${path.sep}`)), 'mocha'));
const { run } = mocha.Runner.prototype;
const recorder = Recorder.start('mocha');

if (recorder !== null) {
  mocha.Runner.prototype.run = function recorded(...args) {
    const name = (test) => `${test.file ? nameOf(test.file) : ''} > ${test.titlePath().join(' > ')}`;
    const planned = [];
    this.suite.eachTest((test) => planned.push(test));
    const seen = new Set();
    const on = (event, outcome) =>
      this.on(event, (test) => {
        seen.add(test);
        recorder.add(name(test), outcome(test));
      });
    on('pass', () => 'passed');
    on('pending', () => 'skipped');
    on('fail', (test) => (test.type === 'hook' ? 'error' : 'failed'));
    this.once('end', () => {
      // After a hook that failed, the tests that it was for do not begin.
      for (const test of planned) if (!seen.has(test)) recorder.add(name(test), 'error');
      recorder.finish();
    });
    return run.apply(this, args);
  };
}
