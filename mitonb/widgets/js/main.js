// The viewer's front end. anywidget calls the factory once for each widget model, and render once for each view of it.

import "./viewer.css";
import { Store } from "./store.js";
import { View } from "./view.js";

export { showKept } from "./standin.js"; // for a page of its own

export default () => {
  /** @type {Store | undefined} */
  let store;
  return {
    /** @param {{model: import("./store.js").Model}} context */
    initialize({ model }) {
      store = new Store(model);
      const own = store;
      return () => own.dispose();
    },
    /** @param {{model: import("./store.js").Model, el: HTMLElement}} context */
    render({ model, el }) {
      const view = new View(/** @type {Store} */ (store), model, el);
      return () => view.dispose();
    },
  };
};
