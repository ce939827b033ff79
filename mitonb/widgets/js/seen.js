// Which objects are shown: all, all but the hidden ones, or the isolated ones alone. A way of looking: labels never change by it.

/**
 * @typedef {{all: boolean, alone: boolean, ids: number[], shows: (id: number) => boolean}} Seen
 *   ids: those that are shown where `alone`, else those that are not
 */

/** @param {number[]} hidden @param {number[]} isolated @returns {Seen} */
export function seenOf(hidden, isolated) {
  const gone = new Set(hidden);
  const alone = isolated.length > 0;
  const kept = new Set(isolated.filter((id) => !gone.has(id)));
  return {
    all: !alone && !gone.size, alone, ids: [...(alone ? kept : gone)],
    shows: (id) => !id || (alone ? kept.has(id) : !gone.has(id)),
  };
}

/** In words; "" where all are shown. @param {Seen} seen @param {boolean} drawn whether labels are drawn at all */
export function seenText({ all, alone, ids }, drawn) {
  if (!drawn) return "Labels are hidden (V)";
  if (all) return "";
  const what = ids.length === 1 ? `object ${ids[0]}` : `${ids.length} objects`;
  return alone ? `Only ${what} shown` : `${what[0].toUpperCase()}${what.slice(1)} hidden`;
}

/** What is selected after a click. @param {number[]} selected @param {number} id @param {boolean} more */
export function nextSelection(selected, id, more) {
  if (!id) return more ? selected : [];
  if (!more) return [id];
  return selected.includes(id) ? selected.filter((i) => i !== id) : [...selected, id];
}
