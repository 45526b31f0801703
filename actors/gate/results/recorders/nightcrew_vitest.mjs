// A reporter for vitest (1 and newer) that records every test's outcome.
import recording from './nightcrew_recorder.cjs';

const { Recorder, nameOf } = recording;

export default class {
  #recorder = Recorder.start('vitest');
  #isOver = false;

  // vitest 3 and newer.
  onTestRunEnd(modules, errors) {
    for (const module of modules) {
      const file = nameOf(module.moduleId);
      if (module.errors().length > 0) this.#add(file, 'error');
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        this.#add(`${file} > ${test.fullName}`, state === 'passed' || state === 'failed' ? state : 'skipped');
      }
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) this.#add(`${file} > ${suite.fullName}`, 'error');
      }
    }
    this.#finish(errors);
  }

  // vitest 1 and 2.
  onFinished(files = [], errors = []) {
    const visit = (task, name) => {
      const state = task.result?.state;
      if (task.type === 'suite') {
        if (state === 'fail' && task.tasks.length === 0) this.#add(name, 'error');
        for (const inner of task.tasks) visit(inner, `${name} > ${inner.name}`);
      } else {
        this.#add(name, { pass: 'passed', fail: 'failed' }[state] ?? 'skipped');
      }
    };
    if (!this.#isOver) {
      for (const file of files) visit({ ...file, type: 'suite' }, nameOf(file.filepath));
      this.#finish(errors);
    }
  }

  #add(test, outcome) {
    this.#recorder?.add(test, outcome);
  }

  #finish(errors) {
    if (this.#isOver) return;
    this.#isOver = true;
    if (errors.length > 0) this.#add('unhandled errors', 'error');
    this.#recorder?.finish();
  }
}
