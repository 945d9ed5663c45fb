// A k×k grid of cells. Colours, words and names come from Python; here they are laid out, and one is selected.
// The cells stay the same elements while k does, so that the keyboard's focus survives a new picture.

const make = (tag, name, parent, text = "") => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
};

const STEPS = {
  ArrowUp: (m, n) => [m - 1, n],
  ArrowDown: (m, n) => [m + 1, n],
  ArrowLeft: (m, n) => [m, n - 1],
  ArrowRight: (m, n) => [m, n + 1],
  Home: (m) => [m, 0],
  End: (m, _, last) => [m, last],
  PageUp: (_, n) => [0, n],
  PageDown: (_, n, last) => [last, n],
};

function render({ model, el }) {
  const root = make("div", "glora-blocks", el);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys for its own cells
  const title = make("p", "glora-blocks-title", root);
  const notes = make("div", "glora-blocks-notes", root);
  const map = make("div", "glora-blocks-map", root);
  let cells = [];

  const select = (m, n) => {
    model.set("selected", [m, n]);
    model.save_changes();
  };

  const build = ({ k, axes, legend }) => {
    map.replaceChildren();
    make("div", "glora-blocks-m", map, axes.m);
    const down = make("div", "glora-blocks-ticks-m", map);
    const board = make("div", "glora-blocks-board", map);
    board.setAttribute("role", "grid");
    board.style.gridTemplateColumns = board.style.gridTemplateRows = `repeat(${k}, minmax(0, 1fr))`;
    board.classList.toggle("glora-blocks-fine", k > 4);
    const bar = make("div", "glora-blocks-legend", map);
    const across = make("div", "glora-blocks-ticks-n", map);
    make("div", "glora-blocks-n", map, axes.n);
    for (const part of [down, across, bar, ...map.querySelectorAll(".glora-blocks-m, .glora-blocks-n")])
      part.setAttribute("aria-hidden", "true");
    const every = Math.max(1, Math.floor(k / 8));
    for (const ticks of [down, across]) for (let at = 0; at < k; at++) make("span", "", ticks, at % every ? "" : at);
    make("span", "", bar, legend.to);
    make("div", "glora-blocks-scale", bar);
    make("span", "", bar, legend.from);
    make("div", "glora-blocks-legend-text", bar, legend.text);
    cells = Array.from({ length: k }, (_, m) => {
      const row = make("div", "glora-blocks-row", board);
      row.setAttribute("role", "row");
      return Array.from({ length: k }, (_, n) => {
        const cell = make("div", "glora-blocks-cell", row);
        cell.setAttribute("role", "gridcell");
        cell.dataset.block = `${m},${n}`;
        cell.addEventListener("click", () => {
          cell.focus();
          select(m, n);
        });
        return cell;
      });
    });
  };

  const paint = () => {
    const grid = model.get("grid");
    if (!grid.cells) return;
    const focused = root.contains(document.activeElement);
    const rebuilt = grid.k !== cells.length;
    if (rebuilt) build(grid);
    title.replaceChildren();
    make("b", "", title, grid.layer);
    title.append(`: ${grid.finding}`);
    notes.replaceChildren();
    for (const text of grid.notes) make("p", "", notes, text);
    const board = map.querySelector(".glora-blocks-board");
    board.setAttribute("aria-label", `${grid.sentence} ${grid.axes.m} down, ${grid.axes.n} across.`);
    const bar = map.querySelector(".glora-blocks-legend");
    bar.firstChild.textContent = grid.legend.to;
    bar.querySelector(".glora-blocks-scale").style.background = `linear-gradient(to top, ${grid.legend.colors})`;
    grid.cells.forEach((row, m) =>
      row.forEach(({ color, ink, words, name }, n) => {
        const cell = cells[m][n];
        cell.style.background = color;
        cell.style.color = ink;
        cell.setAttribute("aria-label", name);
        cell.title = name;
        cell.replaceChildren();
        for (const word of words) make("span", "", cell, word);
      })
    );
    mark(rebuilt && focused);
  };

  const mark = (focus = root.contains(document.activeElement)) => {
    const [atM, atN] = model.get("selected");
    cells.forEach((row, m) =>
      row.forEach((cell, n) => {
        const chosen = m === atM && n === atN;
        cell.setAttribute("aria-selected", String(chosen));
        cell.tabIndex = chosen ? 0 : -1;
        if (chosen && focus) cell.focus();
      })
    );
  };

  const press = (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const last = cells.length - 1;
    const [m, n] = step(...model.get("selected"), last).map((at) => Math.min(Math.max(at, 0), last));
    select(m, n);
  };

  const moved = () => mark();
  map.addEventListener("keydown", press);
  model.on("change:grid", paint);
  model.on("change:selected", moved);
  paint();
  return () => {
    model.off("change:grid", paint);
    model.off("change:selected", moved);
  };
}

export default { render };
