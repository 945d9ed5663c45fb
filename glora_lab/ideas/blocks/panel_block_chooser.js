// LoRA's two factors cut into k×k pairs. Colours, words and names come from Python; here pieces are laid out, moved from
// one cut to the next, and a block is selected. Where motion is unwanted the next cut stands there at once.
// The cells over the picture stay the same elements while k does, so that the keyboard's focus survives a new picture.

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
const MOVES = 900; // milliseconds
const GAP = 4; // pixels between blocks, and a quarter of it between a block and its factors
const still = () => document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches;
const between = (from, to, t) => from + (to - from) * t;
const eased = (t) => t * t * (3 - 2 * t);

// A matrix of colour numbers as an image, one pixel a number.
const painted = ({ rows, columns, bytes }, palette) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const image = new ImageData(columns, rows);
  const colors = palette.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)).forEach((number, at) =>
    image.data.set([...colors[number], 255], 4 * at)
  );
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
};

// Where a share of a matrix lies at k: blocks are counted along both sides, and the factors stand before them.
const cell = (k, size, at) => at * ((size - (k - 1) * GAP) / k + GAP);
const place = (k, size, share, part, m, n, down, across) => {
  const side = (size - (k - 1) * GAP) / k;
  const [thin, gap] = [share * side, GAP / 4];
  const long = side - thin - gap;
  const [x, y] = [cell(k, size, n), cell(k, size, m)];
  const rest = (from, length, whole) => [from + whole[0] * length, (whole[1] - whole[0]) * length];
  const [left, wide] = part === "B" ? rest(x, thin, across) : rest(x + thin + gap, long, across);
  const [top, tall] = part === "A" ? rest(y, thin, down) : rest(y + thin + gap, long, down);
  return [left, top, wide, tall];
};

// The shares from 0 to 1 between which no cut at either k falls.
const shares = (one, other) => {
  const every = [one, other].flatMap((k) => Array.from({ length: k + 1 }, (_, at) => at / k));
  const ends = [...new Set(every)].sort((a, b) => a - b);
  return ends.slice(1).map((to, at) => [ends[at], to]);
};

// Every piece of B and A that moves as one from the cut at k to the cut at `next`, with its places at both: the rows of
// either factor are blocks m, its columns blocks n.
const pieces = (k, next, size, share) => {
  const at = (cuts, part, down, across) => {
    const [m, n] = [down, across].map(([from, to]) => Math.floor(((from + to) / 2) * cuts));
    return place(cuts, size, share, part, m, n, down.map((end) => end * cuts - m), across.map((end) => end * cuts - n));
  };
  const every = shares(k, next);
  const squares = every.flatMap((down) => every.map((across) => [down, across]));
  return squares.flatMap(([down, across]) =>
    ["B", "A"].map((part) => ({ part, down, across, from: at(k, part, down, across), to: at(next, part, down, across) }))
  );
};

const drawPart = (context, image, [top, bottom], [left, right], [x, y, wide, tall]) => {
  const { width, height } = image;
  const source = [left * width, top * height, (right - left) * width, (bottom - top) * height];
  context.drawImage(image, ...source, x, y, wide, tall);
};

const drawBlocks = (context, cut, size, alpha) => {
  context.globalAlpha = alpha;
  const { k, share } = cut.grid;
  for (let m = 0; m < k; m++)
    for (let n = 0; n < k; n++)
      drawPart(context, cut.delta, [m / k, (m + 1) / k], [n / k, (n + 1) / k], place(k, size, share, "delta", m, n, [0, 1], [0, 1]));
  context.globalAlpha = 1;
};

function render({ model, el }) {
  const root = make("div", "glora-cut", el);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys for its own cells
  const title = make("p", "glora-cut-title", root);
  const notes = make("div", "glora-cut-notes", root);
  const body = make("div", "glora-cut-body", root);
  const map = make("div", "glora-cut-map", body);
  const chart = make("div", "glora-cut-chart", body);
  const legend = make("p", "glora-cut-legend", root);
  let [cells, now, before, frame, columns] = [[], null, null, 0, []];

  const select = (m, n) => {
    model.set({ selected: [m, n], opened: true });
    model.save_changes();
  };

  const build = ({ k, axes, colors }) => {
    map.replaceChildren();
    const words = [make("div", "glora-cut-m", map, axes.m), make("div", "glora-cut-n", map, axes.n)];
    const [down, across] = [make("div", "glora-cut-ticks-m", map), make("div", "glora-cut-ticks-n", map)];
    const board = make("div", "glora-cut-board", map);
    make("canvas", "", board);
    const grid = make("div", "glora-cut-grid", board);
    grid.setAttribute("role", "grid");
    grid.style.gridTemplateColumns = grid.style.gridTemplateRows = `repeat(${k}, minmax(0, 1fr))`;
    for (const part of [...words, down, across, board.firstChild]) part.setAttribute("aria-hidden", "true");
    const every = Math.max(1, Math.floor(k / 8));
    for (const [ticks, shades] of [[down, colors.m], [across, colors.n]])
      for (let at = 0; at < k; at++) make("span", "", ticks, at % every ? "" : at).style.borderColor = shades[at];
    cells = Array.from({ length: k }, (_, m) => {
      const row = make("div", "glora-cut-row", grid);
      row.setAttribute("role", "row");
      return Array.from({ length: k }, (_, n) => {
        const block = make("div", "glora-cut-cell", row);
        block.setAttribute("role", "gridcell");
        block.dataset.block = `${m},${n}`;
        block.addEventListener("click", () => {
          block.focus();
          select(m, n);
        });
        return block;
      });
    });
  };

  const buildChart = ({ ranks }) => {
    chart.replaceChildren();
    make("div", "glora-cut-rank", chart);
    const bars = make("div", "glora-cut-bars", chart);
    columns = ranks.map(({ k }) => {
      const column = make("button", "glora-cut-k", bars);
      make("span", "glora-cut-number", column);
      make("span", "glora-cut-bar", column);
      make("span", "", column, k);
      column.addEventListener("click", () => {
        model.set("k", k);
        model.save_changes();
      });
      return column;
    });
    make("div", "", chart, "k, blocks per side");
  };

  // The rank is that of the cut that is there or on its way: it climbs as the pieces travel.
  const drawRank = (t) => {
    const { ranks, full, rank, k, method } = now.grid;
    const climbed = Math.round(between(before.grid.rank, rank, t));
    chart.firstChild.textContent = `rank of ΔW: ${climbed}`;
    ranks.forEach((row, at) => {
      const here = row.k === k;
      const [high, words] = [here ? climbed : row.rank, `k = ${row.k}: rank ${row.rank}`];
      columns[at].title = `${words}. Press to cut so.`;
      columns[at].setAttribute("aria-label", words);
      columns[at].setAttribute("aria-pressed", String(here));
      columns[at].querySelector(".glora-cut-number").textContent = high;
      const bar = columns[at].querySelector(".glora-cut-bar");
      bar.style.height = `${(200 * high) / full}px`;
      bar.style.background = here ? method : "#808080";
    });
  };

  const draw = (t) => {
    const canvas = map.querySelector("canvas");
    const size = canvas.clientWidth;
    if (!size) return;
    const sharp = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * sharp);
    const context = canvas.getContext("2d");
    context.scale(sharp, sharp);
    context.imageSmoothingEnabled = false;
    if (t < 0.5) drawBlocks(context, before, size, 1 - 2 * t);
    if (t > 0.5) drawBlocks(context, now, size, 2 * t - 1);
    for (const { part, down, across, from, to } of pieces(before.grid.k, now.grid.k, size, now.grid.share))
      drawPart(context, now[part], down, across, from.map((end, at) => between(end, to[at], t)));
    drawRank(t);
    root.dataset.cut = t === 1 ? now.grid.k : "moving";
  };

  const play = () => {
    cancelAnimationFrame(frame);
    if (still() || before.grid.k === now.grid.k) return draw(1);
    let began;
    const step = (time) => {
      began ??= time;
      const t = Math.min((time - began) / MOVES, 1);
      draw(eased(t));
      if (t < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  };

  const paint = () => {
    const grid = model.get("grid");
    if (!grid.names) return;
    const focused = map.contains(document.activeElement);
    const rebuilt = grid.k !== cells.length;
    if (rebuilt) build(grid);
    const same = now && JSON.stringify(now.grid.ranks.map(({ k }) => k)) === JSON.stringify(grid.ranks.map(({ k }) => k));
    const image = (part) => painted(grid[part], grid.palette);
    const next = { grid, B: image("B"), A: image("A"), delta: image("delta") };
    [before, now] = [now ?? next, next];
    if (!same) buildChart(grid);
    title.textContent = grid.finding;
    legend.textContent = grid.legend;
    notes.replaceChildren();
    for (const text of grid.notes) make("p", "", notes, text);
    map.querySelector("[role=grid]").setAttribute("aria-label", `${grid.sentence} ${grid.axes.m} down, ${grid.axes.n} across.`);
    grid.names.forEach((row, m) =>
      row.forEach((name, n) => {
        cells[m][n].setAttribute("aria-label", name);
        cells[m][n].title = name;
      })
    );
    mark(rebuilt && focused);
    play();
  };

  const mark = (focus = map.contains(document.activeElement)) => {
    const [atM, atN] = model.get("selected");
    root.classList.toggle("glora-cut-open", model.get("opened"));
    cells.forEach((row, m) =>
      row.forEach((block, n) => {
        const chosen = m === atM && n === atN;
        block.setAttribute("aria-selected", String(chosen));
        block.tabIndex = chosen ? 0 : -1;
        if (chosen && focus) block.focus();
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
  const resized = new ResizeObserver(() => now && root.dataset.cut !== "moving" && draw(1));
  resized.observe(map);
  map.addEventListener("keydown", press);
  model.on("change:grid", paint);
  model.on("change:selected change:opened", moved);
  paint();
  return () => {
    cancelAnimationFrame(frame);
    resized.disconnect();
    model.off("change:grid", paint);
    model.off("change:selected change:opened", moved);
  };
}

export default { render };
