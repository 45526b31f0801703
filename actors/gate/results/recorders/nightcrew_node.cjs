// Loaded into every Node of a check. Gives jest, vitest and mocha one more reporter on their command line.
'use strict';
if (process.env.NIGHTCREW_RESULTS && process.argv[1] && require('node:worker_threads').isMainThread) {
  const fs = require('node:fs');
  let script = process.argv[1];
  try {
    script = fs.realpathSync(script);
  } catch {
    // A script that does not exist is reported by Node itself.
  }
  const own = (name) => `${__dirname}/${name}`;
  if (/[\\/](?:jest|jest-cli)[\\/]bin[\\/]jest(?:\.js)?$|[\\/]react-scripts[\\/]scripts[\\/]test\.js$/.test(script)) {
    process.argv.push('--reporters=default', `--reporters=${own('nightcrew_jest.cjs')}`);
  } else if (/[\\/]vitest[\\/]vitest\.mjs$/.test(script)) {
    process.argv.push('--reporter=default', `--reporter=${own('nightcrew_vitest.mjs')}`);
  } else if (/[\\/]mocha[\\/](?:bin[\\/]_?mocha(?:\.js)?|lib[\\/]cli[\\/]cli\.js)$/.test(script)) {
    process.argv.splice(2, 0, '--require', own('nightcrew_mocha.cjs'));
  }
}
