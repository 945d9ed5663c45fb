// A slider of ipywidgets has a label beside it, and its handle has no name: a screen reader says "slider" and a
// number. Here every handle in the panel is given the words of its label, those that come later too.
// `element` is the output that this runs in, which lies in the panel. A picture changes the panel hundreds of times
// as it is drawn: the handles are looked for once after it.
const name = (panel) => {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const words = handle.closest(".widget-slider, .widget-hslider, .widget-vslider")?.querySelector(".widget-label")?.textContent;
    if (words && handle.getAttribute("aria-label") !== words) handle.setAttribute("aria-label", words);
  }
};

const begin = (looks) => {
  const panel = element.closest(".glora-panel");
  if (panel) {
    let waiting = false;
    const soon = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => { waiting = false; name(panel); }, 200);
    };
    new MutationObserver(soon).observe(panel, { childList: true, subtree: true });
    name(panel);
  } else if (looks) setTimeout(begin, 100, looks - 1); // not on the page yet
};

begin(600);
