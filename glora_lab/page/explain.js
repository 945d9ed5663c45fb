// Whatever of a panel is pointed at, or reached with the keyboard, explains itself in one sentence: a title, of the thing
// itself, of what it is in, or of the label beside it (where ipywidgets puts a control's). The browser would show it to a
// pointer alone, and late. Within an equation the arrow keys lead from symbol to symbol.
const PANEL = ".glora-panel, .glora-equation";
const REST = 250, LINGER = 150; // milliseconds: before it is shown to a pointer, and until it is gone

const begin = () => {
  const tip = Object.assign(document.createElement("div"), { id: "glora-tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  tip.setAttribute("popover", "manual"); // above everything, a panel that fills the window too
  document.body.append(tip);
  let shown = null, waiting = 0, quiet = null;

  const labelOf = (node) =>
    node.matches(".jupyter-widgets") && node.querySelector(":scope > .widget-label[title], :scope > label[title]");
  const titleOf = (node) => {
    const words = node?.getAttribute("title") ?? "";
    return words === "null" || words === "undefined" ? "" : words;
  };
  // What explains the node: [the element that it is about, those whose titles say it].
  const explained = (node) => {
    const option = node.closest(".widget-toggle-button[title]");
    for (let at = node; at && !at.matches(PANEL); at = at.parentElement) {
      const label = labelOf(at);
      if (label && titleOf(label)) return [option ?? at, option ? [label, option] : [label]];
      if (titleOf(at) && at !== option) return [at, [at]];
    }
    return option ? [option, [option]] : null;
  };

  const hide = () => {
    clearTimeout(waiting);
    if (!shown) return;
    for (const [node, words] of shown.titles) if (!node.hasAttribute("title")) node.setAttribute("title", words);
    shown.focused?.removeAttribute("aria-describedby");
    shown = null;
    if (tip.matches(":popover-open")) tip.hidePopover();
    tip.hidden = true;
  };
  const show = (about, sources, focused) => {
    hide();
    const titles = sources.map((node) => [node, titleOf(node)]);
    tip.textContent = about.dataset.gloraKeys ?? titles.map(([, words]) => words).join(" ");
    if (!tip.textContent) return;
    for (const [node] of titles) node.removeAttribute("title"); // or the browser shows it a second time
    shown = { about, titles, focused };
    focused?.setAttribute("aria-describedby", tip.id);
    tip.hidden = false;
    tip.showPopover?.();
    const place = about.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const above = place.top - own.height - 3; // where the code is, and not the controls that come next
    tip.style.top = `${above > 0 && !about.dataset.gloraKeys ? above : Math.min(place.bottom + 3, innerHeight - own.height - 3)}px`;
    tip.style.left = `${Math.max(4, Math.min(place.left, innerWidth - own.width - 8))}px`;
  };

  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType === "touch" || tip.contains(target)) return clearTimeout(waiting);
    const found = target.closest?.(PANEL) && explained(target);
    if (found && found[0] === quiet) return;
    quiet = null;
    if (shown && found?.[0] === shown.about) return clearTimeout(waiting);
    clearTimeout(waiting);
    if (shown?.focused) return; // the keyboard's stays
    if (found) waiting = setTimeout(() => show(...found), shown ? 0 : REST);
    else waiting = setTimeout(hide, LINGER);
  });
  document.addEventListener("pointerdown", ({ target }) => {
    quiet = (target.closest?.(PANEL) && explained(target)?.[0]) ?? null; // who works with a thing sees what is below it
    hide();
  }, true);
  document.addEventListener("focusin", ({ target }) => {
    const seen = target.closest?.(PANEL) && target.matches(":focus-visible");
    const found = seen && (target.dataset.gloraKeys ? [target, []] : explained(target)); // a picture says its keys
    if (found) show(...found, target);
    else if (shown?.focused) hide();
  });
  document.addEventListener("focusout", () => shown?.focused && hide());
  document.addEventListener("scroll", () => shown && !shown.focused && hide(), true);

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const symbol = event.target.closest?.(".glora-symbol"), step = STEPS[event.key];
    if (!symbol || !step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const all = [...symbol.closest(".glora-equation").querySelectorAll(".glora-symbol")];
    const next = all[Math.min(Math.max(all.indexOf(symbol) + step, 0), all.length - 1)];
    for (const one of all) one.tabIndex = one === next ? 0 : -1;
    next.focus();
  });
};

if (!document.getElementById("glora-tip")) begin();
