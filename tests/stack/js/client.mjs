// What the client for JavaScript (trino-client) is made to do through the gateway. Prints `ok NAME` for each.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

// The package is in a folder of its own, outside the repository.
const {BasicAuth, Trino} = createRequire(process.env.JS_MODULES)('trino-client');

const connect = (user, password) =>
  Trino.create({
    server: process.env.GATEWAY_URL,
    catalog: 'lake',
    schema: 'silver',
    auth: new BasicAuth(user, password),
    ssl: {ca: readFileSync(process.env.GATEWAY_CA)},
  });

const signedIn = () => connect(process.env.GATEWAY_USER, process.env.GATEWAY_PASSWORD);
const trino = signedIn();

const all = async (sql, client = trino) => {
  const rows = [];
  for await (const page of await client.query(sql)) {
    if (page.error) throw new Error(`${page.error.errorName}: ${page.error.message}`);
    rows.push(...(page.data ?? []));
  }
  return rows;
};

// A query that has more rows than anybody takes: its id once it runs, and what gives its pages.
const underWay = async () => {
  const numbers = 'UNNEST(sequence(1, 10000))';
  const pages = await trino.query(`SELECT a FROM ${numbers} t (a), ${numbers} u (b), ${numbers} v (c)`);
  for (;;) {
    const {value, done} = await pages.next();
    assert(!done && !value.error, JSON.stringify(value));
    if (value.stats.state === 'RUNNING') return {id: value.id, pages};
  }
};

// How the rest of it ends.
const end = async pages => {
  for (;;) {
    const {value, done} = await pages.next();
    if (value?.error) return value.error.errorName;
    if (done) return 'FINISHED';
  }
};

const cases = {
  async rows() {
    const [row] = await all('SELECT count(*), count(DISTINCT region), min(ssn) FROM customers');
    assert.deepEqual(row.slice(0, 2), [120, 1]);
    assert.match(row[2], /^nnn-nn-\d{4}$/);
  },
  async prepared() {
    const client = signedIn();
    await all('PREPARE p FROM SELECT region FROM customers WHERE id = ?', client);
    assert.deepEqual(await all('EXECUTE p USING 1', client), [['EU']]);
  },
  async session() {
    const client = signedIn();
    await all('USE tpch.tiny', client);
    assert.deepEqual(await all('SELECT count(*) FROM nation', client), [[25]]);
  },
  async errors() {
    await assert.rejects(all('SELECT nope FROM customers'), /COLUMN_NOT_FOUND: line 1:8: Column 'nope' cannot be resolved/);
    const wrong = connect(process.env.GATEWAY_USER, 'not the password');
    await assert.rejects(all('SELECT 1', wrong), /401/);
  },
  async cancel() {
    const {id, pages} = await underWay();
    assert.deepEqual(await trino.cancel(id), {id});
    assert.equal(await end(pages), 'USER_CANCELED');
    // What has ended stays as it ended.
    await trino.cancel(id);
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log(`ok ${name}`);
}
