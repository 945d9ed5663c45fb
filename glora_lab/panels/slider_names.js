// A slider of ipywidgets has a label beside it, and its handle has no name: a screen reader says "slider" and a
// number. Here every handle in the panel is given the words of its label, those that come later too.
// `element` is the output that this runs in, which lies in the panel.
const name = (panel) => {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const words = handle.closest(".widget-slider, .widget-hslider, .widget-vslider")?.querySelector(".widget-label")?.textContent;
    if (words && handle.getAttribute("aria-label") !== words) handle.setAttribute("aria-label", words);
  }
};

const begin = (looks) => {
  const panel = element.closest(".glora-panel");
  if (panel) {
    new MutationObserver(() => name(panel)).observe(panel, { childList: true, subtree: true });
    name(panel);
  } else if (looks) setTimeout(begin, 100, looks - 1); // not on the page yet
};

begin(600);
