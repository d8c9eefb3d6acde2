/* Long work of a widget (class Work in work.py): how far it is, and a button that cancels it.

   progressOf(link, box, say, act): shows it in `box`; `say(text)` says how it ended; `act(running)` is called when it begins
     and when it ends */

import { button, make } from "./parts.js";

export function progressOf(link, box, say, act) {
  let working = false;
  link.on("job", ({ text, done, total, running }) => {
    const said = make("span", { text: total ? `${text}: ${done} of ${total}` : text });
    const bar = make("progress", { "aria-label": text, ...(total ? { max: total, value: done } : {}) });
    if (running && working && box.childElementCount) { // the button keeps its focus
      box.children[0].replaceWith(said);
      box.children[1].replaceWith(bar);
      return;
    }
    const cancel = button("Cancel", `Cancel: ${text}`, () => {
      cancel.disabled = true; // the work looks up now and then
      cancel.textContent = "cancelling …";
      link.tell("cancel");
    });
    box.replaceChildren(...(running ? [said, bar, cancel] : []));
    say(running ? "" : text);
    working = running;
    act(running);
  });
}
