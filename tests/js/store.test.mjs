// What the pages of a widget share, with a kernel of three lines at the other end.
import assert from "node:assert/strict";
import test from "node:test";
import { Store } from "../../mitonb/widgets/js/store.js";

globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};

/** A page on a kernel: its store, what it sent, a way to answer it, and a way to let its kernel die. */
function page(t, kernel) {
  const sent = [];
  const heard = {};
  let alive = true;
  const model = {
    get: () => 0, set() {}, save_changes() {}, off() {},
    on: (name, callback) => { heard[name] = callback; },
    send: (message) => {
      if (!alive) throw new Error("closed");
      sent.push(structuredClone(message));
    },
  };
  const store = new Store(model);
  t.after(() => {
    for (const box of [store.outbox, ...store.outboxes]) box.entries.length = 0;
    store.dispose();
  });
  const state = { save: { kind: "saved", text: "saved" }, project: "cell", kernel, read_only: false, fresh: 9, listens: false };
  return {
    store, sent,
    async hear(message) {
      heard["msg:custom"]({ ...state, ...message }, []);
      await store.queue;
    },
    welcome() {
      return this.hear({ kind: "state", client: store.client, seq: 0, last: 0, extras: [], info: { shape: [1, 9, 9], voxel_size: null } });
    },
    die: () => { alive = false; },
  };
}

const dot = { axis: "xy", index: 0, points: [1, 1], radius: 0, rule: { after: 7, only: null } };

test("strokes that waited through a restart reach the next kernel, which may give their new label another number", async (t) => {
  const old = page(t, "first");
  await old.welcome();
  old.store.seq = 57;
  old.die();
  old.store.commit(dot, { op: "paint", id: 7 });
  const next = page(t, "second");
  await next.welcome();
  const edits = next.sent.filter((message) => message.kind === "edit");
  // 57 was said by a kernel that is gone: the new one has counted from 0 since.
  assert.deepEqual(edits.map((m) => [m.client, m.cseq, m.id, m.seen]), [[old.store.client, 1, 7, 0]]);
  assert.deepEqual([old.store.waiting, next.store.waiting], [0, 1]);
});

test("a view whose kernel died twice keeps what is drawn in it until a kernel takes it", async (t) => {
  const one = page(t, "first");
  await one.welcome();
  one.die();
  one.store.commit(dot, { op: "paint", id: 7 });
  const two = page(t, "second");
  await two.welcome();
  two.die();
  const three = page(t, "third");
  await three.welcome();
  // Drawn where nobody listens any more, after its own outbox was found empty.
  two.store.commit(dot, { op: "paint", id: 8 });
  assert.equal(two.store.waiting + three.store.waiting, 2);
  await three.welcome();
  const ids = three.sent.filter((message) => message.kind === "edit").map((message) => message.id);
  assert.deepEqual([...new Set(ids)], [7, 8]);
});
