// What the save pill says: never greener than the truth.

/**
 * @param {{kind: string, text: string}} save what the session says
 * @param {number} pending edits without an answer @param {boolean} late the kernel has not answered for long
 * @param {boolean} readOnly
 */
export function pillOf(save, pending, late, readOnly) {
  if (late) {
    const title = "The kernel does not answer. Edits are kept here and sent again.";
    return { kind: "unsaved", text: `not saved: no answer (${pending})`, title };
  }
  if (pending) return { kind: "saving", text: `saving ${pending}`, title: "On the way to the kernel" };
  if (save.kind === "unsaved") {
    const text = readOnly ? "look only" : save.text.length > 40 ? "not saved: see why" : save.text;
    return { kind: "unsaved", text, title: save.text };
  }
  if (save.kind === "memory") {
    return { kind: "memory", text: "in memory only", title: "Nothing is on disk: save the session to keep your work." };
  }
  return { kind: save.kind, text: save.text, title: save.text };
}
