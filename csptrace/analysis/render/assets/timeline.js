// Live handles over time: a line for each process that is chosen.

const LINES = 8;
const lineColour = (index) => `light-dark(oklch(0.56 0.19 ${(265 + index * 137.5) % 360}), oklch(0.76 0.15 ${(265 + index * 137.5) % 360}))`;

function steps(points) {
  const pairs = [];
  for (let index = 0; index < points.length; index += 2) pairs.push([points[index], points[index + 1]]);
  return pairs;
}

function niceTicks(most, wanted) {
  const raw = most / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let value = 0; value <= most * 1.0001; value += size) ticks.push(value);
  return ticks;
}

function timeTicks(most) {
  const sizes = [1, 10, 100, 1e3, 1e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 15e6, 3e7, 6e7, 12e7, 3e8, 6e8, 9e8, 18e8, 36e8, 72e8, 216e8, 432e8, 864e8, 2 * 864e8, 7 * 864e8];
  const size = sizes.find((candidate) => most / candidate <= 9) || most / 8;
  const ticks = [];
  for (let value = 0; value <= most; value += size) ticks.push(value);
  return ticks;
}

function lineOf(pairs, offset, end, x, y) {
  let path = "";
  for (const [at, live] of pairs) {
    path += path ? `H${x(offset + at).toFixed(1)}V${y(live).toFixed(1)}` : `M${x(offset + at).toFixed(1)} ${y(live).toFixed(1)}`;
  }
  return path && `${path}H${x(Math.max(end, offset)).toFixed(1)}`;
}

function liveAt(pairs, at) {
  let low = 0;
  let high = pairs.length - 1;
  if (at < pairs[0][0]) return null;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pairs[middle][0] <= at) low = middle;
    else high = middle - 1;
  }
  return pairs[low][1];
}

function tracks() {
  const runs = new Map(DATA.runs.map((run) => [run.run, run]));
  const first = Math.min(...DATA.runs.map((run) => run.started), Infinity);
  return DATA.timelines.filter(({ points }) => points.length).map(({ run: id, points }) => {
    const run = runs.get(id);
    const pairs = steps(points);
    const last = pairs[pairs.length - 1];
    const length = Math.max(run ? (run.ended - run.started) * 1000 : 0, last[0]);
    return {
      name: run ? run.program : id, about: run ? `${run.host}, process ${run.pid}` : "",
      pairs, length, offset: run ? (run.started - first) * 1000 : 0,
      peak: run ? run.peak : Math.max(...pairs.map((pair) => pair[1])), end: run ? run.live : last[1],
    };
  }).sort((one, other) => other.peak - one.peak);
}

// The small picture at the top: the highest line of each moment, over all processes.
function spark() {
  const all = tracks();
  if (!all.length) return null;
  const [width, height] = [600, 62];
  const total = Math.max(...all.map((track) => track.offset + track.length), 1);
  const values = [];
  for (let step = 0; step <= 150; step += 1) {
    const at = (total * step) / 150;
    let sum = 0;
    for (const track of all) if (at >= track.offset && at <= track.offset + track.length) sum += liveAt(track.pairs, at - track.offset) || 0;
    values.push(sum);
  }
  const most = Math.max(...values, 1);
  const points = values.map((value, index) => `${((width * index) / 150).toFixed(1)} ${(height - 2 - ((height - 8) * value) / most).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("defs", svg("linearGradient", { id: "fade", x1: 0, y1: 0, x2: 0, y2: 1 },
      svg("stop", { offset: "0", "stop-color": "#6366f1", "stop-opacity": "0.38" }), svg("stop", { offset: "1", "stop-color": "#6366f1", "stop-opacity": "0.02" }))),
    svg("path", { d: `M0 ${height}L${points.join("L")}L${width} ${height}Z`, fill: "url(#fade)" }),
    svg("path", { d: `M${points.join("L")}`, fill: "none", stroke: "#6366f1", "stroke-width": 2, "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" }));
}

function makeTimeline() {
  const all = tracks();
  if (!all.length) return { element: h("div.card", h("div.nothing", h("strong", "No timeline"), "The logs hold no handle events (level count).")), update() {} };
  const chosen = new Set(all.slice(0, 5));
  let absolute = false;
  let cursor = null;
  const picture = svg("svg", { role: "img", tabindex: "0", "aria-label": "Live handles over time. Arrow keys move the cursor." });
  const tip = h("div.tip", { hidden: true });
  const speech = h("div.hidden", { role: "status" });
  const chart = h("div.chart", picture, tip, speech);
  const colours = new Map(all.map((track, index) => [track, lineColour(index)]));
  let scale = null;

  function draw() {
    const box = picture.getBoundingClientRect();
    if (!box.width) return;
    const [left, right, top, bottom] = [46, 12, 8, 28];
    const shown = all.filter((track) => chosen.has(track));
    const offset = (track) => (absolute ? track.offset : 0);
    const span = Math.max(...shown.map((track) => offset(track) + track.length), 1);
    const most = Math.max(...shown.map((track) => track.peak), 1);
    const x = (at) => left + ((box.width - left - right) * at) / span;
    const y = (live) => box.height - bottom - ((box.height - top - bottom) * live) / (most * 1.05);
    scale = { x, span, left, right, width: box.width, offset, shown };
    picture.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const lines = shown.map((track) => {
      const path = lineOf(track.pairs, offset(track), offset(track) + track.length, x, y);
      const colour = colours.get(track);
      const area = shown.length === 1 ? svg("path", { d: `${path}V${y(0)}H${x(offset(track) + track.pairs[0][0])}Z`, css: { fill: colour, opacity: "0.14" } }) : null;
      return svg("g", area, svg("path", { d: path, fill: "none", "stroke-width": 1.8, "stroke-linejoin": "round", css: { stroke: colour } }));
    });
    picture.replaceChildren(
      svg("g", { class: "lines" }, niceTicks(most, 6).filter((value) => Number.isInteger(value)).map((value) => [
        svg("line", { x1: left, x2: box.width - right, y1: y(value), y2: y(value) }),
        svg("text", { x: left - 9, y: y(value) + 4, "text-anchor": "end" }, number(value))]).flat()),
      svg("g", timeTicks(span).map((at) => svg("text", { x: x(at), y: box.height - 8, "text-anchor": at ? "middle" : "start" }, at ? duration(at * 1000) : "0"))),
      ...lines,
      svg("line", { class: "cross", y1: top, y2: box.height - bottom, visibility: "hidden" }));
    if (cursor !== null) point(cursor);
  }

  function point(at) {
    cursor = Math.max(0, Math.min(scale.span, at));
    const cross = picture.querySelector(".cross");
    const place = scale.x(cursor);
    cross.setAttribute("x1", place);
    cross.setAttribute("x2", place);
    cross.setAttribute("visibility", "visible");
    const values = scale.shown.map((track) => [track, cursor - scale.offset(track) > track.length ? null : liveAt(track.pairs, cursor - scale.offset(track))])
      .filter(([, live]) => live !== null).sort((one, other) => other[1] - one[1]).slice(0, 12);
    tip.replaceChildren();
    fill(tip, [h("strong", duration(Math.round(cursor * 1000))), values.map(([track, live]) => h("div",
      h("i.swatch", { css: { width: "12px", height: "4px", "border-radius": "2px", background: colours.get(track) } }), `${track.name}, ${track.about}`, h("b", number(live))))]);
    tip.hidden = false;
    const room = chart.clientWidth - tip.offsetWidth - 12;
    tip.style.setProperty("left", `${Math.min(place + 28, room) > place ? place + 28 : Math.max(8, place - tip.offsetWidth - 4)}px`);
    speech.textContent = `${duration(Math.round(cursor * 1000))}: ${values.map(([track, live]) => `${track.name} ${live}`).join(", ")}`;
  }

  function hide() {
    cursor = null;
    tip.hidden = true;
    picture.querySelector(".cross")?.setAttribute("visibility", "hidden");
  }

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    point(((event.clientX - box.left - scale.left) / (scale.width - scale.left - scale.right)) * scale.span);
  });
  picture.addEventListener("pointerleave", hide);
  picture.addEventListener("blur", hide);
  picture.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    point((cursor === null ? (move > 0 ? 0 : scale.span) : cursor) + (move * scale.span) / 100);
  });

  const legend = h("div.legend", { role: "group", "aria-label": "Processes" }, all.slice(0, 400).map((track) => h("label",
    h("input", { type: "checkbox", checked: chosen.has(track), onchange(event) {
      if (event.currentTarget.checked) chosen.add(track);
      else chosen.delete(track);
      draw();
    } }),
    h("i.swatch", { css: { background: colours.get(track) } }),
    h("span.name", track.name, h("small", track.about)),
    h("span.number", `peak ${number(track.peak)}`, track.end ? h("small.rise", h("br"), `${number(track.end)} at end`) : null))));

  new ResizeObserver(draw).observe(chart);
  return {
    element: h("section.card", h("div.title", h("h2", "Live handles"), h("span.soft", `${plural(all.length, "process").replace("processs", "processes")}, highest peak first`),
      h("span.end", segmented("Time", [[false, "since each start"], [true, "wall clock"]], false, (value) => { absolute = value; hide(); draw(); }))),
    h("div.timeline", chart, legend)),
    update: draw,
  };
}
