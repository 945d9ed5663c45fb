// The trials of a search. Places, colours and words come from Python; here points are drawn, and one is chosen: by a
// click, with the left and right keys by the number of parameters, with the others along the front. A limit is a line
// that moves by itself, without the points being sent again.

const make = (tag, name, parent, text = "") => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
};

const NEAR = { click: 18, point: 10 }; // pixels
const within = (at, last) => Math.min(Math.max(at, 0), last);

// The next along `list`, places in rising order of parameters, from the place `from`, which need not be in it.
const along = (list, order, from, step) => {
  if (!list.length) return -1;
  const rank = new Map(order.map((place, at) => [place, at]));
  const here = rank.get(from) ?? -1;
  const beyond = step > 0 ? list.find((place) => rank.get(place) > here) : list.findLast((place) => rank.get(place) < here);
  return beyond ?? (step > 0 ? list.at(-1) : list[0]);
};

const STEPS = {
  ArrowRight: ({ order }, from) => along(order, order, from, 1),
  ArrowLeft: ({ order }, from) => along(order, order, from, -1),
  ArrowUp: ({ order, front }, from) => along(front, order, from, 1),
  ArrowDown: ({ order, front }, from) => along(front, order, from, -1),
  Home: ({ front }) => front[0] ?? -1,
  End: ({ front }) => front.at(-1) ?? -1,
};

function render({ model, el }) {
  const root = make("div", "glora-trials", el);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys for its own cells
  const title = make("p", "glora-trials-title", root);
  const note = make("p", "glora-trials-note", root);
  note.setAttribute("role", "status");
  const body = make("div", "glora-trials-body", root);
  const words = { y: make("div", "glora-trials-y", body), x: make("div", "glora-trials-x", body) };
  const marks = { y: make("div", "glora-trials-up", body), x: make("div", "glora-trials-across", body) };
  const board = make("div", "glora-trials-board", body);
  const canvas = make("canvas", "", board);
  const legend = make("ul", "glora-trials-legend", root);
  const says = make("p", "glora-trials-says", root);
  const tip = make("div", "glora-trials-tip", board);
  tip.hidden = true;
  for (const part of [...Object.values(words), ...Object.values(marks), canvas, tip]) part.setAttribute("aria-hidden", "true");
  board.tabIndex = 0;
  board.setAttribute("role", "slider");

  const points = () => model.get("points");
  const place = (at) => {
    const { x, y } = points();
    return [x[at] * board.clientWidth, (1 - y[at]) * board.clientHeight];
  };

  // Behind the points a line for the limit, over them the lines, and the chosen one over all.
  const draw = () => {
    const { clientWidth: wide, clientHeight: tall } = board;
    if (!wide || !points().x) return;
    const { x, front, ranks, known, colors, marks: { y: across } } = points();
    const sharp = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(wide * sharp), Math.round(tall * sharp)];
    const context = canvas.getContext("2d");
    context.scale(sharp, sharp);
    const stroke = (color, width, dash, path) => {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      path();
      context.stroke();
    };
    const join = (list) => () => list.forEach((at) => context.lineTo(...place(at)));
    const dots = (list, color, radius, alpha = 1) => {
      context.fillStyle = color;
      context.globalAlpha = alpha;
      for (const at of list) {
        const [left, top] = place(at);
        context.beginPath();
        context.arc(left, top, radius, 0, 2 * Math.PI);
        context.fill();
      }
      context.globalAlpha = 1;
    };
    context.globalAlpha = 0.2;
    for (const [at] of across) stroke("#808080", 1, [], () => { context.moveTo(0, (1 - at) * tall); context.lineTo(wide, (1 - at) * tall); });
    context.globalAlpha = 1;
    const limit = model.get("limit") * wide;
    stroke(colors.limit, 2, [6, 4], () => { context.moveTo(limit, 0); context.lineTo(limit, tall); });
    dots(x.map((_, at) => at), colors.trials, 3, 0.7);
    stroke(colors.ranks, 2, [2, 3], join(ranks));
    dots(ranks, colors.ranks, 4);
    stroke(colors.front, 2, [], join(front));
    dots(front, colors.front, 4);
    dots(known.map(([at]) => at), colors.known, 5);
    const chosen = model.get("chosen");
    if (chosen >= 0 && chosen < x.length) stroke(colors.chosen, 3, [], () => context.arc(...place(chosen), 9, 0, 2 * Math.PI));
    root.dataset.drawn = `${x.length} ${chosen}`;
  };

  // Names of known methods, of which one that would lie over another is left out: pointing tells it.
  const name = () => {
    for (const old of board.querySelectorAll(".glora-trials-name")) old.remove();
    const taken = [];
    for (const [at, text] of points().known) {
      const [left, top] = place(at);
      const label = make("span", "glora-trials-name", board, text);
      label.setAttribute("aria-hidden", "true");
      const [wide, tall] = [label.offsetWidth, label.offsetHeight];
      const box = { left: within(left - wide / 2, board.clientWidth - wide - 2), top: within(top + 7, board.clientHeight - tall - 2) };
      const over = ([other, width, height]) =>
        Math.abs(box.left + wide / 2 - other.left - width / 2) < (wide + width) / 2 && Math.abs(box.top + tall / 2 - other.top - height / 2) < (tall + height) / 2;
      if (box.left < 0 || taken.some(over)) { label.remove(); continue; }
      taken.push([box, wide, tall]);
      Object.assign(label.style, { left: `${box.left}px`, top: `${box.top}px` });
    }
  };

  const nearest = ({ clientX, clientY }, most) => {
    const { left, top, width } = board.getBoundingClientRect();
    const scale = width / (board.offsetWidth || 1); // a panel that fills the window is drawn larger
    const [x, y] = [(clientX - left) / scale - board.clientLeft, (clientY - top) / scale - board.clientTop];
    let [found, best] = [-1, most];
    (points().x ?? []).forEach((_, at) => {
      const [across, down] = place(at);
      const far = Math.hypot(across - x, down - y);
      if (far < best) [found, best] = [at, far];
    });
    return found;
  };

  const choose = (at) => {
    if (at < 0) return;
    model.set("chosen", at);
    model.save_changes();
  };

  const point = (event) => {
    const at = nearest(event, NEAR.point);
    tip.hidden = at < 0;
    if (at < 0) return;
    tip.textContent = points().words[at];
    const [left, top] = place(at);
    const { offsetWidth: wide, offsetHeight: tall } = tip;
    tip.style.left = `${within(left + 10, board.clientWidth - wide)}px`;
    tip.style.top = `${within(top > tall + 12 ? top - tall - 12 : top + 12, board.clientHeight - tall)}px`;
  };

  const mark = () => {
    const { order, words: named = [] } = points();
    const at = model.get("chosen");
    board.setAttribute("aria-valuemin", "0");
    board.setAttribute("aria-valuemax", String(Math.max(named.length - 1, 0)));
    board.setAttribute("aria-valuenow", String(Math.max((order ?? []).indexOf(at), 0)));
    board.setAttribute("aria-valuetext", named[at] ?? "no trial is chosen");
    note.textContent = model.get("note");
    draw();
  };

  const paint = () => {
    const { finding, says: sentence, axes, marks: at, legend: shown, colors } = points();
    if (!axes) return;
    title.textContent = finding;
    says.textContent = sentence;
    board.setAttribute("aria-label", `${finding}. Left and right lead from trial to trial by parameters, up and down along the front.`);
    for (const axis of ["x", "y"]) words[axis].textContent = axes[axis];
    marks.x.replaceChildren();
    marks.y.replaceChildren();
    for (const [along, text, always] of at.x)
      make("span", always ? "" : "glora-trials-between", marks.x, text).style.left = `${100 * along}%`;
    for (const [along, text] of at.y) make("span", "", marks.y, text).style.bottom = `${100 * along}%`;
    legend.replaceChildren();
    for (const [kind, text] of shown) {
      const item = make("li", "", legend);
      const sign = make("i", `glora-trials-${kind}`, item);
      if (kind === "chosen") sign.style.border = `3px solid ${colors[kind]}`;
      else sign.style.background = colors[kind];
      item.append(text);
    }
    mark();
    name();
  };

  const press = (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (points().order) choose(step(points(), model.get("chosen")));
  };

  const resized = new ResizeObserver(() => {
    if (!points().axes) return;
    draw();
    name();
  });
  resized.observe(board);
  board.addEventListener("keydown", press);
  board.addEventListener("click", (event) => choose(nearest(event, NEAR.click)));
  board.addEventListener("pointermove", point);
  board.addEventListener("pointerleave", () => { tip.hidden = true; });
  model.on("change:points", paint);
  model.on("change:chosen change:limit change:note", mark);
  paint();
  return () => {
    resized.disconnect();
    model.off("change:points", paint);
    model.off("change:chosen change:limit change:note", mark);
  };
}

export default { render };
