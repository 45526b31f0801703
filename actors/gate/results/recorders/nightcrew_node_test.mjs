// A reporter for `node --test`: prints what the reporter `spec` prints, and records every test's outcome.
import { spec as Spec } from 'node:test/reporters';
import recording from './nightcrew_recorder.cjs';

const { Recorder, nameOf } = recording;

export default async function* report(source) {
  const recorder = Recorder.start('node');
  const spec = new Spec();
  const titles = [];
  for await (const event of source) {
    const { data } = event;
    if (event.type === 'test:start') titles.splice(data.nesting, Infinity, data.name);
    if (event.type === 'test:pass' || event.type === 'test:fail') {
      const isSkipped = data.skip !== undefined || data.todo !== undefined;
      const isFile = data.details?.type !== 'suite' && data.file !== undefined && nameOf(data.file) === nameOf(data.name);
      if (data.details?.type !== 'suite' || event.type === 'test:fail') {
        const outcome = isSkipped ? 'skipped' : { 'test:pass': 'passed', 'test:fail': 'failed' }[event.type];
        const id = [...titles.slice(0, data.nesting), data.name].join(' > ');
        const file = data.file === undefined ? '' : nameOf(data.file);
        if (!isFile || outcome === 'failed') recorder?.add(isFile ? file : `${file} > ${id}`, isFile ? 'error' : outcome);
      }
    }
    spec.write(event);
    for (let text = spec.read(); text !== null; text = spec.read()) yield text;
  }
  spec.end();
  for (let text = spec.read(); text !== null; text = spec.read()) yield text;
  recorder?.finish();
}
