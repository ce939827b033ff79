// What the save pill says: never greener than the truth.

const GONE = "The kernel was restarted. Edits wait here and are sent when the cell is run again; do not reload the page before.";
const LOST = "The kernel was restarted. These labels were in memory only and are lost: run the cell again to begin anew. With path=… a project file keeps them.";
const LATE = "The kernel does not answer. Edits are kept here and sent again, also after a restart, when the cell is run again on this page.";
const LATE_IN_MEMORY = "The kernel does not answer. Edits are kept here and sent again; a restart loses what is in memory only.";

/**
 * @param {{kind: string, text: string}} save what the session says
 * @param {number} pending edits without an answer @param {boolean} late the kernel has not answered for long
 * @param {boolean} readOnly @param {boolean} [cut] the kernel was restarted, and the cell not run again
 */
export function pillOf(save, pending, late, readOnly, cut = false) {
  const memory = save.kind === "memory";
  if (cut && memory) return { kind: "unsaved", text: "lost with the kernel", title: LOST };
  if (cut) return { kind: "unsaved", text: `run the cell again${pending ? ` (${pending} waiting)` : ""}`, title: GONE };
  if (late) {
    const title = memory ? LATE_IN_MEMORY : LATE;
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
