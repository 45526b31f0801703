// A reporter for jest that records every test's outcome.
'use strict';
const { Recorder, nameOf } = require('./nightcrew_recorder.cjs');

const OUTCOMES = { passed: 'passed', failed: 'failed' };

module.exports = class {
  #recorder = Recorder.start('jest');

  onRunComplete(_contexts, results) {
    if (this.#recorder === null) return;
    for (const suite of results.testResults) {
      const file = nameOf(suite.testFilePath);
      if (suite.testExecError || (suite.failureMessage && suite.testResults.length === 0)) {
        this.#recorder.add(file, 'error');
      }
      for (const test of suite.testResults) {
        this.#recorder.add(`${file} > ${[...test.ancestorTitles, test.title].join(' > ')}`, OUTCOMES[test.status] || 'skipped');
      }
    }
    this.#recorder.finish();
  }
};
